//! Size classes and spans: small objects out of a buddy system's blocks.
//!
//! ```text
//! heap     |  span of 48 bytes  |  run  |  span of 512 bytes  |   free   |
//!          |o|o| |o|o|o| ...    |       |o| |o| ...           |          |
//! numbers  1  1  1  1           0  0    7  7  7               0  ...      a granule: its span's descriptor
//! spans    [-][d][ ][ ][ ][ ][ ][d] ...                                   a descriptor for each first granule
//! rooms    48: 1000000...  512: 0000001...      one bit a class and granule: span with a free object
//! ```
//!
//! An allocation takes the lowest free object of a word of its class's current span. Spans with room at lower
//! addresses come before others: low addresses fill up and high ones run empty, so that whole spans, and
//! neighbouring ones, go back to the buddy system. The span whose turn comes after the current one is at hand as
//! well, since under steady load spans are full again as soon as an object of them is released.
//!
//! A cache takes spans out of the slab and gives them back; those are its own meanwhile (see `span`).
//!
//! Invariants:
//! - L1: each span in use has a valid descriptor (S1, S2), the one whose number all its granules have; the
//!   granules of other blocks have number 0.
//! - L2: the bit (class, granule) of `rooms` is set if and only if the span that starts at the granule is
//!   of the class, the pool's, has a free object, and is neither the current nor the next one. The next span
//!   of a class has a free object and is not the current one. `rooms_of` counts the bits of each class.
//! - L3: of the pool's spans one without live objects is the current one of its class; others are released, once nothing
//!   of them is noted that is not collected.
//! - L4: `released` counts, for each class, the objects that were released until their span was last settled;
//!   `spans_in_use` is the number of spans.
//!
//! Cost: a bounded number of bitmap searches and buddy operations.

mod check;
pub(crate) mod class;
mod dice;
mod map;
mod owned;
pub(crate) mod remote;
mod rooms;
mod slot;
mod span;
#[cfg(test)]
mod tests;

pub use class::MAX_OBJECT;
pub(crate) use class::{CLASSES, ClassId, SPAN_GRANULE_SHIFT};
pub(crate) use dice::Dice;
pub(crate) use map::{Annex, SpanMap, alignment as map_alignment, bytes as map_bytes};
pub(crate) use owned::{Freed, Posted, post, release_remote};
pub(crate) use slot::{Slot, Slots};
pub(crate) use span::{Collected, Place, Refused, Span, State};

use crate::bits::{Bitmap, MAX_BITS};
use crate::buddy::{Buddy, Extent, Granule, Kind, MAX_GRANULES, Order};
use class::MAX_SPAN_ORDER;
use core::ptr::{NonNull, null};

// The room bits of the largest heap fit a bitmap.
const _: () = assert!(CLASSES * MAX_GRANULES <= MAX_BITS);

mod atomic {
    pub(super) use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence,
    };
    use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

    /// A sequentially consistent fence behind an atomic read-modify-write, which on x86-64 is one itself.
    #[inline(always)]
    pub(super) fn fence_after_update() {
        if cfg!(target_arch = "x86_64") { compiler_fence(SeqCst) } else { fence(SeqCst) }
    }
}

/// The spans of one heap.
pub(crate) struct Slab {
    map: SpanMap,
    /// Where the objects of each class are taken from.
    slots: Slots,
    /// The span to take them from when the current one is full.
    next: [Option<NonNull<Span>>; CLASSES],
    /// The largest order of a span in this heap.
    max_span_order: u8,
    spans_in_use: u32,
    released: [u64; CLASSES],
    /// Number of bits of each class in `rooms`.
    rooms_of: [u32; CLASSES],
    rooms: Bitmap,
    /// The last number that was given to a span.
    newest_number: u32,
    /// The first of the numbers that have no span any more, 0 if there is none; the descriptor of each has the next.
    free_number: u32,
    /// Where objects are taken at random: of a hardened pool.
    dice: Option<Dice>,
}

/// Bytes of the room bits for a heap of `capacity` granules, to be aligned for `u64`.
pub(crate) const fn room_bytes(capacity: usize) -> usize {
    Bitmap::words(CLASSES * capacity) * size_of::<u64>()
}

impl Slab {
    /// The spans, none so far, of the heap that the map is of.
    ///
    /// # Safety
    /// `rooms` is aligned for `u64` and points to [`room_bytes`] zeroed bytes for the map's granules, which
    /// for the life of the slab are valid and used by it alone, as what the map says is. Every call gets the
    /// same buddy system, whose granules are those of the map; an address that is a multiple of a block size
    /// is one in granules from the buddy's origin.
    pub(crate) unsafe fn new(rooms: NonNull<u8>, map: SpanMap) -> Slab {
        let capacity = map.granules();
        // SAFETY: the caller's promise.
        let rooms = unsafe { Bitmap::new(rooms.cast(), CLASSES * capacity) };
        // A small heap can't afford a large span for each class: at most 1/64 of it.
        let max_span_order = (capacity / 64).max(1).ilog2().min(MAX_SPAN_ORDER as u32) as u8;
        Slab {
            map,
            slots: Slots::new(),
            next: [None; CLASSES],
            max_span_order,
            spans_in_use: 0,
            released: [0; CLASSES],
            rooms_of: [0; CLASSES],
            rooms,
            newest_number: 0,
            free_number: 0,
            dice: None,
        }
    }

    /// How spans are found from addresses.
    #[inline]
    pub(crate) fn map(&self) -> &SpanMap {
        &self.map
    }

    /// Where objects are allocated from, for whoever has the pool's lock.
    ///
    /// # Safety
    /// The slab is one.
    pub(crate) unsafe fn slots_of(slab: NonNull<Slab>) -> NonNull<Slots> {
        // SAFETY: the caller's promise.
        unsafe { NonNull::new_unchecked(&raw mut (*slab.as_ptr()).slots) }
    }

    /// The current span of a class.
    fn current(&self, id: ClassId) -> Option<NonNull<Span>> {
        self.slots.of(id).span(self.map.has_owners())
    }

    /// Allocates an object from the current span of its class.
    #[inline]
    pub(crate) fn alloc(&self, id: ClassId) -> Option<NonNull<u8>> {
        self.slots.of(id).alloc()
    }

    /// Allocates an object from a span of its class that has room, the current one first.
    #[inline(never)]
    pub(crate) fn alloc_from_other(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        if self.find_room(id) { self.pick(id) } else { None }
    }

    /// [`Slab::alloc`], at random in a slab that has dice.
    fn pick(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        match &mut self.dice {
            None => self.alloc(id),
            Some(dice) => self.slots.of(id).alloc_at_random(dice),
        }
    }

    /// Takes objects at random from now on.
    pub(crate) fn set_dice(&mut self, seed: u64) {
        self.dice = Some(Dice::new(seed));
    }

    /// Allocates an object from any span of its class that has room, or from a new one, for which up to
    /// `budget` granules may be taken.
    pub(crate) fn alloc_slow(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        self.alloc_from_other(id).or_else(|| self.alloc_from_new(buddy, id, budget))
    }

    /// Allocates an object from a new span of its class, of which no other span has room.
    pub(crate) fn alloc_from_new(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        budget: u32,
    ) -> Option<NonNull<u8>> {
        let span = self.new_span(buddy, id, self.span_order(id), budget)?;
        self.make_current(id, span);
        self.pick(id)
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
            self.make_current(id, span);
            return self.pick(id);
        }
        let most = 2 * class.size;
        id.and_larger()
            .map(|larger| (larger, larger.class().size))
            .take_while(|&(_, size)| size <= most)
            .filter(|&(_, size)| (size as usize).is_multiple_of(alignment))
            .find_map(|(larger, _)| self.pick(larger).or_else(|| self.alloc_from_other(larger)))
    }

    /// Order of the spans that a class gets in this heap.
    pub(crate) fn span_order(&self, id: ClassId) -> u8 {
        let class = id.class();
        class.span_order.min(self.max_span_order).max(class.least_span_order())
    }

    /// Makes a span with room the current one of its class, which has no other, or a full one.
    fn make_current(&mut self, id: ClassId, span: NonNull<Span>) {
        if let Some(full) = self.current(id) {
            self.settle(full, State::Full);
        }
        self.settle(span, State::Current);
        // SAFETY: a current span is in use (L1).
        let filled = self.slots.of(id).fill(unsafe { span.as_ref() }, || self.map.base_of(span));
        debug_assert!(filled);
    }

    /// Gives a span another state, and counts what was released of it (L4).
    fn settle(&mut self, span: NonNull<Span>, state: State) {
        // SAFETY: every caller has a span that is in use (L1).
        let span = unsafe { span.as_ref() };
        self.released[span.class().index()] += span.settle(state);
    }

    /// Makes a span, the pool's, all its objects free, which is neither the current nor the next one yet.
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
        let Some(number) = self.take_number(buddy.end()) else {
            buddy.release_span(head);
            return None;
        };
        self.spans_in_use += 1;
        Some(self.map.add(number, head, id, order))
    }

    /// A number for a span. There are as many as granules that are committed, of which descriptors can be written, so
    /// there is one for a span that has some, unless threads are about to post that many which have been given back (M4).
    fn take_number(&mut self, granules: u32) -> Option<u32> {
        let mut before: Option<&Span> = None;
        let mut number = self.free_number;
        while number != 0 {
            // SAFETY: descriptors of no span are initialised when they had one.
            let descriptor = unsafe { self.map.numbered(number).as_ref() };
            if !descriptor.has_notes() {
                match before {
                    None => self.free_number = descriptor.link(),
                    Some(before) => before.set_link(descriptor.link()),
                }
                return Some(number);
            }
            before = Some(descriptor);
            number = descriptor.link();
        }
        self.newest_number = self.map.number_after(self.newest_number, granules)?;
        // SAFETY: a descriptor may have any bits.
        unsafe { self.map.numbered(self.newest_number).as_ref() }.begin_without_notes();
        Some(self.newest_number)
    }

    /// Releases the object at `address`. Says how many granules became free: those of its span, if the object
    /// was the last.
    #[inline]
    pub(crate) fn release(&mut self, buddy: &mut Buddy, address: usize) -> Result<u32, Refused> {
        let span = self.map.holding(address).ok_or(Refused)?;
        // SAFETY: the map has a descriptor for every granule.
        let descriptor = unsafe { span.as_ref() };
        if !descriptor.is_owned_by(null()) {
            return Err(Refused);
        }
        Ok(if descriptor.release(address)? { self.due(buddy, span) } else { 0 })
    }

    /// The countdown has ended of the span that `address` was just released of. Says how many granules became
    /// free.
    pub(crate) fn after_release(&mut self, buddy: &mut Buddy, address: usize) -> u32 {
        self.map.holding(address).map_or(0, |span| self.due(buddy, span))
    }

    /// The countdown of one of the pool's spans has ended (S2). Says how many granules became free.
    #[inline(never)]
    fn due(&mut self, buddy: &mut Buddy, span: NonNull<Span>) -> u32 {
        // SAFETY: its object was live just now, so it is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        match descriptor.state() {
            State::Current => {
                self.settle(span, State::Current);
                0
            }
            State::Full if descriptor.capacity() > 1 => {
                let before = buddy.free();
                self.released[descriptor.class().index()] += descriptor.settle_with_one_free();
                self.gained_room(buddy, span);
                buddy.free() - before
            }
            _ => self.changed_room(buddy, span),
        }
    }

    /// One of the pool's spans that is not current has gained room, or lost its last object. Says how many
    /// granules became free.
    fn changed_room(&mut self, buddy: &mut Buddy, span: NonNull<Span>) -> u32 {
        let before = buddy.free();
        // SAFETY: the span is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        if descriptor.may_be_retired() {
            self.retire(buddy, span);
        } else if descriptor.state() == State::Full {
            self.settle(span, State::Room);
            self.gained_room(buddy, span);
        } else {
            self.settle(span, State::Room);
        }
        buddy.free() - before
    }

    /// Gives back the block of one of the pool's spans, all of whose objects are free.
    #[inline(never)]
    fn retire(&mut self, buddy: &mut Buddy, span: NonNull<Span>) {
        // SAFETY: the span is in use (L1).
        let id = unsafe { span.as_ref() }.class();
        if self.current(id) == Some(span) {
            self.slots.of(id).clear();
        } else if self.next[id.index()] == Some(span) {
            self.next[id.index()] = None;
        } else {
            let room = self.room_of(id, span);
            // A full span has none. What is not written to takes no memory.
            if self.rooms.test(room) {
                self.rooms_of[id.index()] -= 1;
                self.rooms.clear(room);
            }
        }
        self.retire_unlisted(buddy, span);
    }

    /// Gives a span's block back to the buddy system.
    fn retire_unlisted(&mut self, buddy: &mut Buddy, span: NonNull<Span>) {
        // SAFETY: the span is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        debug_assert!(descriptor.is_empty(), "L3: a span with live objects is given back");
        self.settle(span, State::Unused);
        self.spans_in_use -= 1;
        let (head, number) = self.map.remove(span);
        descriptor.set_link(core::mem::replace(&mut self.free_number, number));
        buddy.release_span(head);
    }

    /// Gives back the current spans that have no live object (L3).
    pub(crate) fn release_empty(&mut self, buddy: &mut Buddy) {
        for id in ClassId::all() {
            let Some(current) = self.current(id) else { continue };
            // SAFETY: a current span is in use (L1).
            let descriptor = unsafe { current.as_ref() };
            if descriptor.may_be_retired() {
                self.retire(buddy, current);
            }
        }
    }

    /// Releases every object of the span that starts at `head`, and the span.
    pub(crate) fn release_all(&mut self, buddy: &mut Buddy, head: Granule) {
        let span = self.map.descriptor(head);
        // SAFETY: the span is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        self.released[descriptor.class().index()] += descriptor.release_all() as u64;
        self.retire(buddy, span);
    }

    /// Number of spans.
    pub(crate) fn spans_in_use(&self) -> u32 {
        self.spans_in_use
    }

    /// The span that is an extent of the heap.
    pub(crate) fn span_of(&self, extent: Extent) -> Option<&Span> {
        // SAFETY: a span is in use where the buddy system has one (L1).
        (extent.kind == Kind::Span).then(|| unsafe { self.map.descriptor(extent.head).as_ref() })
    }

    /// Whether object `index` of a span is free; see [`Slab::counts_of`].
    pub(crate) fn is_free(&self, span: &Span, index: usize) -> bool {
        span.is_free(index) || self.is_noted(span, (index / 64, 1 << (index % 64)))
    }

    /// Whether a live object of the span starts at `address`.
    pub(crate) fn is_live(&self, span: &Span, address: usize) -> bool {
        let noted = |bit| self.is_noted(span, bit);
        span.place(address) == Place::Live && !span.bit_of(address).is_some_and(noted)
    }

    /// The live object that holds `address`, inside the span: its offset there, and its bytes.
    pub(crate) fn live_object(&self, span: &Span, address: usize) -> Option<(usize, usize)> {
        let (offset, bit) = span.object_holding(address)?;
        (!self.is_noted(span, bit)).then(|| (offset, span.object_size()))
    }

    /// Whether another thread than the span's owner released an object, and it is not collected.
    fn is_noted(&self, span: &Span, (word, bit): (usize, u64)) -> bool {
        let annex = self.map.annex(NonNull::from(span));
        annex.is_some_and(|annex| annex.remote.is_noted(word, bit))
    }

    /// Number of live objects of a span, and how many of it were released since it was settled. Exact unless
    /// another thread uses the span meanwhile.
    pub(crate) fn counts_of(&self, span: &Span) -> (usize, u64) {
        let annex = self.map.annex(NonNull::from(span));
        let (remote, settled) =
            annex.map_or((0, 0), |annex| (annex.remote.count(), annex.uncounted()));
        (span.live().saturating_sub(remote), span.released() + settled + remote as u64)
    }

    /// Objects released of spans of any class before those were settled.
    pub(crate) fn settled_releases(&self) -> u64 {
        self.released.iter().sum()
    }
}
