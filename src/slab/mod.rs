//! Size classes and spans: small objects out of a buddy system's blocks.
//!
//! ```text
//! heap     |  span of 48 bytes  |  run  |  span of 512 bytes  |   free   |
//!          |o|o| |o|o|o| ...    |       |o| |o| ...           |          |
//! spans    [d][ ][ ][ ][ ][ ][ ] ...   one descriptor a granule; a span uses its first granule's
//! rooms    48: 1000000...  512: 0000010...   one bit a class and granule: span with a free object
//! ```
//!
//! An allocation takes the lowest free object of its class's current span. Spans with room at lower addresses
//! come before others: low addresses fill up and high ones run empty, so that whole spans, and neighbouring
//! ones, go back to the buddy system. The span whose turn comes after the current one is at hand as well,
//! since under steady load spans are full again as soon as an object of them is released.
//!
//! Invariants:
//! - L1: each span in use has a valid descriptor (S1 to S3) at the index of its first granule.
//! - L2: the bit (class, granule) of `rooms` is set if and only if the span that starts at the granule is
//!   of the class, has a free object, and is neither the current nor the next one. The next span of a class
//!   has a free object and is not the current one. `rooms_of` counts the bits of each class.
//! - L3: a span without live objects is the current one of its class; others are released.
//! - L4: for each class, `allocated - released` is the number of live objects in its spans;
//!   `spans_in_use` is the number of spans.
//!
//! Cost: a bounded number of bitmap searches and buddy operations.

mod check;
pub(crate) mod class;
mod span;
#[cfg(test)]
mod tests;

pub(crate) use class::{ClassId, MAX_OBJECT, SPAN_GRANULE_SHIFT};
pub(crate) use span::{Place, Span};

use crate::bits::{Bitmap, MAX_BITS};
use crate::buddy::{Buddy, Granule, MAX_GRANULES, Order};
use class::{CLASSES, MAX_SPAN_ORDER};
use core::ptr::NonNull;

// The room bits of the largest heap fit a bitmap.
const _: () = assert!(CLASSES * MAX_GRANULES <= MAX_BITS);

/// The spans of one heap.
pub(crate) struct Slab {
    /// Address of granule 0.
    heap: NonNull<u8>,
    capacity: u32,
    /// The largest order of a span in this heap.
    max_span_order: u8,
    /// The span that each class's objects are taken from; [`span::NO_SPAN`] where there is none.
    current: [NonNull<Span>; CLASSES],
    /// The span to take them from when the current one is full.
    next: [Option<NonNull<Span>>; CLASSES],
    allocated: [u64; CLASSES],
    released: [u64; CLASSES],
    spans_in_use: u32,
    /// Number of bits of each class in `rooms`.
    rooms_of: [u32; CLASSES],
    rooms: Bitmap,
    spans: NonNull<Span>,
}

/// An address is not the start of a live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Bytes of the room bits for a heap of `capacity` granules, to be aligned for `u64`.
pub(crate) const fn room_bytes(capacity: usize) -> usize {
    Bitmap::words(CLASSES * capacity) * size_of::<u64>()
}

impl Slab {
    /// The spans, none so far, of the heap whose granule 0 is at `heap`.
    ///
    /// # Safety
    /// `rooms` is aligned for `u64` and points to [`room_bytes`]`(capacity)` zeroed bytes, `spans` to a
    /// descriptor a granule, not initialised; for the life of the slab both are valid and used by it alone.
    /// `capacity` is at most [`MAX_GRANULES`]. Every call gets the same buddy system,
    /// whose granules are the `1 << SPAN_GRANULE_SHIFT` bytes each from `heap` on; an address that is a
    /// multiple of a block size is one in granules from the buddy's origin.
    pub(crate) unsafe fn new(
        rooms: NonNull<u8>,
        spans: NonNull<Span>,
        heap: NonNull<u8>,
        capacity: u32,
    ) -> Slab {
        // SAFETY: the caller's promise.
        let rooms = unsafe { Bitmap::new(rooms.cast(), CLASSES * capacity as usize) };
        // A small heap can't afford a large span for each class: at most 1/64 of it.
        let max_span_order = (capacity / 64).max(1).ilog2().min(MAX_SPAN_ORDER as u32) as u8;
        Slab {
            heap,
            capacity,
            max_span_order,
            current: [span::NO_SPAN.get(); CLASSES],
            next: [None; CLASSES],
            allocated: [0; CLASSES],
            released: [0; CLASSES],
            spans_in_use: 0,
            rooms_of: [0; CLASSES],
            rooms,
            spans,
        }
    }

    /// Descriptor of the span that starts at `head`.
    #[inline]
    fn descriptor(&self, head: Granule) -> NonNull<Span> {
        debug_assert!(head.0 < self.capacity);
        // SAFETY: there is a descriptor for each granule below the capacity.
        unsafe { self.spans.add(head.index()) }
    }

    /// The span that starts at `head`, which must be one in use.
    #[inline]
    fn span(&mut self, head: Granule) -> &mut Span {
        // SAFETY: the descriptor is valid (L1) and, as `self` is borrowed, used by nobody else.
        unsafe { self.descriptor(head).as_mut() }
    }

    /// The span that starts at `head`, which must be one in use.
    #[inline]
    pub(crate) fn span_at(&self, head: Granule) -> &Span {
        // SAFETY: the descriptor is valid (L1), and written to only where `self` is borrowed mutably.
        unsafe { self.descriptor(head).as_ref() }
    }

    #[inline]
    fn room(&self, id: ClassId, head: Granule) -> usize {
        id.index() * self.capacity as usize + head.index()
    }

    /// Allocates an object from the current span of its class.
    #[inline]
    pub(crate) fn alloc(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let mut current = self.current[id.index()];
        // SAFETY: a current span is in use (L1), or `NO_SPAN`; both can be read.
        if !unsafe { current.as_ref() }.has_room() {
            return None;
        }
        // SAFETY: it has room, so it is not `NO_SPAN` but in use, and used by nobody else.
        let object = unsafe { current.as_mut() }.alloc()?;
        self.allocated[id.index()] += 1;
        Some(object)
    }

    /// Allocates an object from another span of its class that has room, the current one being full.
    #[inline(never)]
    pub(crate) fn alloc_from_other(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        if self.find_room(id) { self.alloc(id) } else { None }
    }

    /// Allocates an object from any span of its class that has room, or from a new one, for which up to
    /// `budget` granules may be taken.
    pub(crate) fn alloc_slow(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        let room = self.alloc(id).or_else(|| self.alloc_from_other(id));
        room.or_else(|| {
            let wanted = self.span_order(id);
            self.current[id.index()] = self.new_span(buddy, id, wanted, budget)?;
            self.alloc(id)
        })
    }

    /// Allocates an object when neither its class nor the buddy system has the room that
    /// [`Slab::alloc_slow`] wants: from a span of any size, or else a free object of a larger class, up to
    /// twice the size.
    pub(crate) fn alloc_last(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        alignment: usize,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        let class = id.class();
        let orders = (class.least_span_order()..=self.span_order(id)).rev();
        for order in orders {
            let Some(span) = self.new_span(buddy, id, order, budget) else { continue };
            self.current[id.index()] = span;
            return self.alloc(id);
        }
        let most = 2 * class.size;
        id.and_larger()
            .map(|larger| (larger, larger.class().size))
            .take_while(|&(_, size)| size <= most)
            .filter(|&(_, size)| (size as usize).is_multiple_of(alignment))
            .find_map(|(larger, _)| self.alloc(larger).or_else(|| self.alloc_from_other(larger)))
    }

    /// Order of the spans that a class gets in this heap.
    pub(crate) fn span_order(&self, id: ClassId) -> u8 {
        let class = id.class();
        class.span_order.min(self.max_span_order).max(class.least_span_order())
    }

    /// Replaces a full current span by one with room, if the class has any: the next, or else the lowest.
    fn find_room(&mut self, id: ClassId) -> bool {
        if let Some(next) = self.next[id.index()].take() {
            self.current[id.index()] = next;
            return true;
        }
        let Some(room) = self.first_room(id) else { return false };
        self.rooms.clear(room);
        self.rooms_of[id.index()] -= 1;
        let head = room - self.room(id, Granule(0));
        self.current[id.index()] = self.descriptor(Granule(head as u32));
        true
    }

    /// Makes a span, all its objects free, which is neither the current nor the next one yet.
    fn new_span(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        order: u8,
        budget: u32,
    ) -> Option<NonNull<Span>> {
        let order = Order(order);
        if order.granules() > budget {
            return None;
        }
        let head = buddy.alloc_span(order)?;
        // SAFETY: the block lies in the heap, whose granules start at `heap` (contract of `new`).
        let base = unsafe { self.heap.add(head.index() << SPAN_GRANULE_SHIFT) };
        // SAFETY: the descriptor is one of ours, and its span has just been made: nobody uses it.
        unsafe { self.descriptor(head).write(Span::new(base, id, order)) };
        self.spans_in_use += 1;
        Some(self.descriptor(head))
    }

    /// Releases the object at `address` to the span of `order` that holds `granule`, the address's own. Says
    /// how many granules became free: those of the span, if the object was its last.
    #[inline]
    pub(crate) fn release(
        &mut self,
        buddy: &mut Buddy,
        granule: Granule,
        order: Order,
        address: usize,
    ) -> Result<u32, Refused> {
        let head = buddy.span_head(granule, order);
        let span = self.span(head);
        let free = span.release(address).ok_or(Refused)?;
        let (id, capacity) = (span.class(), span.capacity());
        self.released[id.index()] += 1;
        // The current span's room matters to nobody until it is full.
        if (free == 1 || free == capacity) && self.current[id.index()] != self.descriptor(head) {
            return Ok(self.changed_room(buddy, head, id, free == capacity));
        }
        Ok(0)
    }

    /// An object was released of a span that was full, or that has no live object any more, and is not the
    /// current one. Says how many granules became free.
    #[inline(never)]
    fn changed_room(&mut self, buddy: &mut Buddy, head: Granule, id: ClassId, empty: bool) -> u32 {
        let before = buddy.free();
        if empty {
            self.retire(buddy, head);
        } else {
            self.gained_room(buddy, head, id);
        }
        buddy.free() - before
    }

    /// A span that was full has room now: it takes its place by address before the
    /// current or the next one, or among the others.
    fn gained_room(&mut self, buddy: &mut Buddy, head: Granule, id: ClassId) {
        let mut span = self.descriptor(head);
        let current = self.current[id.index()];
        if span < current && current != span::NO_SPAN.get() {
            self.current[id.index()] = span;
            // SAFETY: it was the current span, so in use (L1).
            let displaced = unsafe { current.as_ref() };
            if !displaced.has_room() {
                return;
            }
            if displaced.is_empty() {
                return self.retire(buddy, displaced.head(self.heap));
            }
            span = current;
        }
        match self.next[id.index()] {
            Some(next) if next < span => self.add_room(id, span),
            Some(next) => {
                self.next[id.index()] = Some(span);
                self.add_room(id, next);
            }
            // Others may be lower.
            None if self.first_room(id).is_some_and(|lowest| lowest < self.room_of(id, span)) => {
                self.add_room(id, span);
            }
            None => self.next[id.index()] = Some(span),
        }
    }

    /// The bit of the lowest span with room that is neither the current nor the next one.
    #[inline]
    fn first_room(&self, id: ClassId) -> Option<usize> {
        if self.rooms_of[id.index()] == 0 {
            return None;
        }
        self.rooms.find_from(self.room(id, Granule(0)))
    }

    /// The bit of a span of the class.
    fn room_of(&self, id: ClassId, span: NonNull<Span>) -> usize {
        // SAFETY: the span is in use (L1).
        self.room(id, unsafe { span.as_ref() }.head(self.heap))
    }

    /// Adds a span to those with room.
    fn add_room(&mut self, id: ClassId, span: NonNull<Span>) {
        let room = self.room_of(id, span);
        self.rooms.set(room);
        self.rooms_of[id.index()] += 1;
    }

    /// Gives a span's block back to the buddy system.
    #[inline(never)]
    fn retire(&mut self, buddy: &mut Buddy, head: Granule) {
        let id = self.span_at(head).class();
        let span = self.descriptor(head);
        if self.current[id.index()] == span {
            self.current[id.index()] = span::NO_SPAN.get();
        } else if self.next[id.index()] == Some(span) {
            self.next[id.index()] = None;
        } else {
            let room = self.room(id, head);
            // A full span has none.
            self.rooms_of[id.index()] -= u32::from(self.rooms.test(room));
            self.rooms.clear(room);
        }
        self.spans_in_use -= 1;
        buddy.release_span(head);
    }

    /// Gives back the current spans that have no live object (L3).
    pub(crate) fn release_empty(&mut self, buddy: &mut Buddy) {
        for id in ClassId::all() {
            let current = self.current[id.index()];
            // SAFETY: a current span is in use (L1), or `NO_SPAN`; both can be read.
            let span = unsafe { current.as_ref() };
            if current != span::NO_SPAN.get() && span.is_empty() {
                let head = span.head(self.heap);
                self.retire(buddy, head);
            }
        }
    }

    /// Releases every object of the span that starts at `head`, and the span.
    pub(crate) fn release_all(&mut self, buddy: &mut Buddy, head: Granule) {
        let span = self.span(head);
        let live = span.free_all();
        let id = span.class();
        self.released[id.index()] += live as u64;
        self.retire(buddy, head);
    }

    /// Number of spans.
    pub(crate) fn spans_in_use(&self) -> u32 {
        self.spans_in_use
    }

    /// How many objects of each class were allocated and released so far, with the class's size.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        ClassId::all().map(|id| {
            (id.class().size as usize, self.allocated[id.index()], self.released[id.index()])
        })
    }
}
