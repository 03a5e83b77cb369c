//! Size classes and spans: small objects out of a buddy system's blocks.
//!
//! ```text
//! heap     |  span of 48 bytes  |  run  |  span of 512 bytes  |   free   |
//!          |o|o| |o|o|o| ...    |       |o| |o| ...           |          |
//! spans    [d][ ][ ][ ][ ][ ][ ] ...   one descriptor a granule; a span uses its first granule's
//! rooms    48: 1000000...  512: 0000010...   one bit a class and granule: span with a free object
//! ```
//!
//! An allocation takes the lowest free object of its class's current span. When that is full, the span with
//! room at the lowest address becomes the current one: low addresses fill up and high ones run empty, so
//! that whole spans, and neighbouring ones, go back to the buddy system.
//!
//! Invariants:
//! - L1: each span in use has a valid descriptor (S1 to S3) at the index of its first granule.
//! - L2: the bit (class, granule) of `rooms` is set if and only if the span that starts at the granule is
//!   of the class and has a free object. The current span of a class may have its bit set and be full.
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
use crate::buddy::{Buddy, Granule, Order};
use class::{CLASSES, MAX_SPAN_ORDER};
use core::ptr::NonNull;

/// The most granules of a heap that has spans.
pub(crate) const MAX_SPAN_GRANULES: usize = MAX_BITS / 64;

const _: () = assert!(CLASSES <= 64);

/// The spans of one heap.
pub(crate) struct Slab {
    /// Address of granule 0.
    heap: NonNull<u8>,
    capacity: u32,
    /// The largest order of a span in this heap.
    max_span_order: u8,
    current: [NonNull<Span>; CLASSES],
    allocated: [u64; CLASSES],
    released: [u64; CLASSES],
    spans_in_use: u32,
    rooms: Bitmap,
    spans: NonNull<Span>,
}

/// An address is not the start of a live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Bytes of the descriptors and room bits for a heap of `capacity` granules, to be aligned for [`Span`].
pub(crate) const fn metadata_bytes(capacity: usize) -> usize {
    capacity * size_of::<Span>() + Bitmap::words(CLASSES * capacity) * size_of::<u64>()
}

impl Slab {
    /// The spans, none so far, of the heap whose granule 0 is at `heap`.
    ///
    /// # Safety
    /// `metadata` is aligned for [`Span`] and points to [`metadata_bytes`]`(capacity)` zeroed bytes, which
    /// for the life of the slab are valid and used by it alone. Every call gets the same buddy system,
    /// whose granules are the `1 << SPAN_GRANULE_SHIFT` bytes each from `heap` on; an address that is a
    /// multiple of a block size is one in granules from the buddy's origin.
    pub(crate) unsafe fn new(metadata: NonNull<u8>, heap: NonNull<u8>, capacity: u32) -> Slab {
        let spans = metadata.cast::<Span>();
        // SAFETY: the room bits come behind the descriptors, zeroed and ours (contract of `new`).
        let rooms = unsafe {
            let words = spans.add(capacity as usize).cast();
            Bitmap::new(words, CLASSES * capacity as usize)
        };
        // A small heap can't afford a large span for each class: at most 1/64 of it.
        let max_span_order = (capacity / 64).max(1).ilog2().min(MAX_SPAN_ORDER as u32) as u8;
        Slab {
            heap,
            capacity,
            max_span_order,
            current: [span::NO_SPAN.get(); CLASSES],
            allocated: [0; CLASSES],
            released: [0; CLASSES],
            spans_in_use: 0,
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
        // SAFETY: a current span is in use (L1), or `NO_SPAN`, which has no object to take.
        let current = unsafe { self.current[id.index()].as_mut() };
        let object = current.alloc()?;
        self.allocated[id.index()] += 1;
        Some(object)
    }

    /// Allocates an object from another span: the lowest that has room, or a new one, for which up to
    /// `budget` granules may be taken.
    #[cold]
    #[inline(never)]
    pub(crate) fn alloc_slow(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        self.leave_current(id);
        let wanted = id.class().span_order.min(self.max_span_order);
        let head = self.first_room(id).or_else(|| self.new_span(buddy, id, wanted, budget))?;
        self.current[id.index()] = self.descriptor(head);
        self.alloc(id)
    }

    /// Allocates an object when neither its class nor the buddy system has the room that
    /// [`Slab::alloc_slow`] wants: from a smaller span, or else a free object of a larger class, up to
    /// twice the size.
    pub(crate) fn alloc_last(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        alignment: usize,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        self.release_empty(buddy);
        let class = id.class();
        let orders = (0..=class.span_order.min(self.max_span_order)).rev();
        let head = orders
            .filter(|&order| class.objects_in(order) > 0)
            .find_map(|order| self.new_span(buddy, id, order, budget));
        if let Some(head) = head {
            self.leave_current(id);
            self.current[id.index()] = self.descriptor(head);
            return self.alloc(id);
        }
        let most = 2 * class.size;
        id.and_larger()
            .map(|larger| (larger, larger.class().size))
            .take_while(|&(_, size)| size <= most)
            .filter(|&(_, size)| (size as usize).is_multiple_of(alignment))
            .find_map(|(larger, _)| {
                self.leave_current(larger);
                let head = self.first_room(larger)?;
                self.current[larger.index()] = self.descriptor(head);
                self.alloc(larger)
            })
    }

    /// Takes a full current span out of the spans with room. It stays the current one until there is
    /// another, which [`Slab::alloc`] bears: it is full.
    fn leave_current(&mut self, id: ClassId) {
        let current = self.current[id.index()];
        // SAFETY: a current span is in use (L1), or `NO_SPAN`; both can be read.
        let span = unsafe { current.as_ref() };
        if current != span::NO_SPAN.get() && !span.has_room() {
            let room = self.room(id, span.head(self.heap));
            self.rooms.clear(room);
        }
    }

    /// The span of the class with a free object at the lowest address.
    fn first_room(&self, id: ClassId) -> Option<Granule> {
        let first = self.room(id, Granule(0));
        let room = self.rooms.find_from(first)? - first;
        (room < self.capacity as usize).then_some(Granule(room as u32))
    }

    fn new_span(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        order: u8,
        budget: u32,
    ) -> Option<Granule> {
        let order = Order(order);
        if order.granules() > budget {
            return None;
        }
        let head = buddy.alloc_span(order)?;
        // SAFETY: the block lies in the heap, whose granules start at `heap` (contract of `new`).
        let base = unsafe { self.heap.add(head.index() << SPAN_GRANULE_SHIFT) };
        // SAFETY: the descriptor is one of ours, and its span has just been made: nobody uses it.
        unsafe { self.descriptor(head).write(Span::new(base, id, order)) };
        let room = self.room(id, head);
        self.rooms.set(room);
        self.spans_in_use += 1;
        Some(head)
    }

    /// Releases the object at `address` to the span of `order` that holds `granule`, the address's own.
    #[inline]
    pub(crate) fn release(
        &mut self,
        buddy: &mut Buddy,
        granule: Granule,
        order: Order,
        address: usize,
    ) -> Result<(), Refused> {
        let head = buddy.span_head(granule, order);
        let span = self.span(head);
        let free = span.release(address).ok_or(Refused)?;
        let (id, capacity) = (span.class(), span.capacity());
        self.released[id.index()] += 1;
        if free == 1 {
            self.was_full(buddy, head, id);
        }
        if free == capacity && self.current[id.index()] != self.descriptor(head) {
            self.retire(buddy, head);
        }
        Ok(())
    }

    /// A span that was full has room now: it becomes the current one if its address is lower.
    #[cold]
    #[inline(never)]
    fn was_full(&mut self, buddy: &mut Buddy, head: Granule, id: ClassId) {
        let room = self.room(id, head);
        self.rooms.set(room);
        let current = self.current[id.index()];
        if current == span::NO_SPAN.get() || self.descriptor(head) < current {
            self.leave_current(id);
            self.current[id.index()] = self.descriptor(head);
            // SAFETY: a current span is in use (L1), or `NO_SPAN`, which nothing is done to.
            let old = unsafe { current.as_ref() };
            if current != span::NO_SPAN.get() && old.is_empty() {
                self.retire(buddy, old.head(self.heap));
            }
        }
    }

    /// Gives a span's block back to the buddy system.
    #[cold]
    #[inline(never)]
    fn retire(&mut self, buddy: &mut Buddy, head: Granule) {
        let id = self.span_at(head).class();
        let room = self.room(id, head);
        self.rooms.clear(room);
        if self.current[id.index()] == self.descriptor(head) {
            self.current[id.index()] = span::NO_SPAN.get();
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
