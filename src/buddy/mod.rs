//! One heap's granules under a binary buddy system, in index space: no pointer to user memory is known
//! here.
//!
//! ```text
//! order 2  [       free       ][                   ]    one bit a block, the orders one after another
//! order 1  [        ][        ][  free  ][         ]    in a single 64-ary bitmap, so that one search
//! order 0  [   ][   ][   ][   ][   ][   ][run][free]    from an order's first bit finds the smallest
//!                                                       block that is large enough, lowest address first
//! map      F2   .    .    .    F1   .    R0   F0        one byte a granule: the tag of the block it heads
//! ```
//!
//! A *run* is an allocation of any number of granules in a row. It is the canonical sequence of aligned blocks,
//! its *pieces*: the first one's granule is tagged `Run`, those of the others `Piece`. One that was released and is
//! *stashed* is tagged `Stashed`, and is in use otherwise; see `handover`. A *span* is a single block of which every
//! granule is tagged, so that its head is found from any address inside in constant time.
//!
//! Invariants, for the granules `[0, end)`:
//! - U1: the heads (granules tagged anything but `Inside`) cut the heap into blocks: a head of order `k` is
//!   followed by `2^k - 1` granules that are not heads (or, in a span, bear the span's own tag).
//! - U2: a block of order `k` starts at a multiple of `2^k` granules from the origin, which lies `lead`
//!   granules before granule 0.
//! - U3: a block is tagged `Free(k)` if and only if its bit of order `k` is set or it is `spares[k]`.
//! - U4: two free buddies of one order are merged, unless one of them is a spare.
//! - U5: a `Piece` follows a `Run`, a `Stashed` or a `Piece`; together they are the canonical pieces of their run.
//! - U6: `free` is the number of granules in free blocks.
//! - U7: where use is tracked, `touched` has a bit for each granule in use, and for each free one that was
//!   in use since it was last purged; the number of the latter is `Touched::free`.
//!
//! Cost: every operation is a bounded number of bitmap searches per order; nothing loops over the heap.
//! The algorithm is Knuth's (The Art of Computer Programming, volume 1, section 2.5), with the free lists
//! replaced by bitmaps outside the blocks.

mod check;
mod handover;
mod run;
mod shape;
mod stash;
mod tag;
#[cfg(test)]
mod tests;
mod touched;

pub(crate) use check::{Broken, require};
pub(crate) use run::Run;
pub(crate) use shape::{MAX_GRANULES, Shape};
pub(crate) use stash::Tags;
pub(crate) use tag::{Extent, Granule, Kind, Order, Tag};

use crate::bits::Bitmap;
use core::ptr::NonNull;
use handover::TagByte;
pub(crate) use touched::Sweep;
use touched::Touched;

mod atomic {
    pub(super) use core::sync::atomic::AtomicU8;
}

/// One released or cut off block of each order below this is kept aside, unmerged, for the next allocation of
/// its order: alternating allocation and release of one size would otherwise split and merge the whole ladder
/// of orders each time.
const SPARE_ORDERS: usize = 8;

const NO_SPARE: u32 = u32::MAX;

/// The buddy system of one heap.
pub(crate) struct Buddy {
    shape: Shape,
    /// Granules that exist now; more may come by [`Buddy::extend`].
    end: u32,
    /// U6.
    free: u32,
    spares: [u32; SPARE_ORDERS],
    bitmap: Bitmap,
    /// Position of each order's first bit; the entry after the last order's is the number of bits.
    begins: NonNull<u32>,
    map: NonNull<TagByte>,
    touched: Option<Touched>,
}

impl Buddy {
    /// A heap that has no granules yet.
    ///
    /// # Safety
    /// `metadata` is aligned for `u64` and points to [`Shape::metadata_bytes`] zeroed bytes, which for the
    /// life of the buddy are valid and used by it alone. `0 < shape.capacity <= MAX_GRANULES`, and
    /// `shape.lead < MAX_GRANULES`.
    pub(crate) unsafe fn new(metadata: NonNull<u8>, shape: Shape) -> Buddy {
        let bits = shape.bits();
        // SAFETY: the bitmap's words come first in the metadata, zeroed and ours (contract of `new`).
        let bitmap = unsafe { Bitmap::new(metadata.cast(), bits) };
        // SAFETY: `metadata_bytes` counts the orders' begins behind the bitmap's words.
        let begins = unsafe { metadata.add(shape.bitmap_bytes()) }.cast::<u32>();
        // SAFETY: `metadata_bytes` counts the map's bytes behind the begins.
        let map = unsafe { begins.add(shape.orders() + 1) }.cast();
        let mut begin = 0;
        for order in 0..=shape.orders() {
            // SAFETY: there is a begin for each order, and one more.
            unsafe { begins.add(order).write(begin) };
            begin += if order < shape.orders() { shape.blocks(order) } else { 0 };
        }
        let touched = shape.track_use.then(|| {
            // SAFETY: `metadata_bytes` counts the tracking words, aligned, behind the map.
            unsafe { Touched::new(metadata.add(shape.tracking_offset()).cast(), shape.capacity) }
        });
        let spares = [NO_SPARE; SPARE_ORDERS];
        Buddy { shape, end: 0, free: 0, spares, bitmap, begins, map, touched }
    }

    /// Position of the first bit of `order`, or for the order after the last the number of bits.
    #[inline]
    fn begin(&self, order: usize) -> u32 {
        debug_assert!(order <= self.shape.orders());
        // SAFETY: there is a begin for each order, and one more.
        unsafe { self.begins.add(order).read() }
    }

    /// Granules that exist.
    #[inline]
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// Granules that can exist.
    pub(crate) fn capacity(&self) -> u32 {
        self.shape.capacity
    }

    /// Granules in free blocks.
    #[inline]
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    #[inline]
    pub(crate) fn tag(&self, granule: Granule) -> Tag {
        Tag::from_byte(self.byte(granule).get())
    }

    #[inline]
    fn byte(&self, granule: Granule) -> &TagByte {
        debug_assert!(granule.0 < self.shape.capacity);
        // SAFETY: the map has a byte for each granule below the capacity.
        unsafe { self.map.add(granule.index()).as_ref() }
    }

    #[inline]
    fn set_tag(&mut self, granule: Granule, tag: Tag) {
        self.byte(granule).set(tag.to_byte());
    }

    fn fill_tags(&mut self, head: Granule, order: Order, tag: Tag) {
        debug_assert!(head.0 + order.granules() <= self.end);
        for granule in head.0..head.0 + order.granules() {
            self.set_tag(Granule(granule), tag);
        }
    }

    /// The tags, for threads that have no lock.
    pub(crate) fn tags(&self) -> Tags {
        // SAFETY: the map has a byte for each granule below the capacity, and lives as long as the heap.
        unsafe { Tags::new(self.map, self.shape.capacity) }
    }

    /// The granule's distance from the origin, in which alignment is counted (U2).
    #[inline]
    fn offset(&self, granule: Granule) -> u32 {
        granule.0 + self.shape.lead
    }

    /// Position of the bit of the block that starts `from_origin` granules after the origin.
    #[inline]
    fn position(&self, from_origin: u32, order: Order) -> usize {
        let block = (from_origin >> order.0) - self.shape.first_block(order.index());
        (self.begin(order.index()) + block) as usize
    }

    /// The free block with the first bit from `position` on, which is not before those of `order`: of the
    /// smallest order that has one, at the lowest address; spares left out. With the position of its bit.
    #[inline]
    fn free_block_from(&self, position: usize, order: Order) -> Option<(usize, Granule, Order)> {
        let position = self.bitmap.find_from(position)?;
        let mut index = order.index();
        while position >= self.begin(index + 1) as usize {
            index += 1;
        }
        let found = Order(index as u8);
        Some((position, self.block_at(position as u32, found), found))
    }

    /// The lowest free block of the smallest order from `order` up that has one, spares left out; see
    /// [`Buddy::free_block_from`].
    #[inline]
    fn find(&self, order: Order) -> Option<(usize, Granule, Order)> {
        self.free_block_from(self.begin(order.index()) as usize, order)
    }

    /// Head of the block of `order` whose bit is at `position`.
    #[inline]
    fn block_at(&self, position: u32, order: Order) -> Granule {
        let index = order.index();
        let block = position - self.begin(index) + self.shape.first_block(index);
        Granule((block << order.0) - self.shape.lead)
    }

    /// The free blocks of `order`, spares left out, in the order of their addresses.
    fn free_blocks(&self, order: Order) -> impl Iterator<Item = Granule> {
        let mut position = self.begin(order.index()) as usize;
        core::iter::from_fn(move || {
            let (found, head, found_order) = self.free_block_from(position, order)?;
            position = found + 1;
            (found_order == order).then_some(head)
        })
    }

    /// Makes a block free as it is, without looking at its buddy.
    #[inline]
    fn insert(&mut self, head: Granule, order: Order) {
        let position = self.position(self.offset(head), order);
        debug_assert!(!self.bitmap.test(position), "U3: the block is free already");
        self.set_tag(head, Tag::Free(order));
        self.bitmap.set(position);
    }

    /// Takes a free block, spare or not, out of the free ones. Its head's tag is left to the caller.
    #[inline]
    fn remove(&mut self, head: Granule, order: Order) {
        debug_assert_eq!(self.tag(head), Tag::Free(order), "U3: the block is not free");
        match self.spares.get_mut(order.index()) {
            Some(spare) if *spare == head.0 => *spare = NO_SPARE,
            _ => self.bitmap.clear(self.position(self.offset(head), order)),
        }
    }

    /// Makes a block free and merges it with its buddies (U4). Its granules are tagged `Inside`.
    fn merge(&mut self, head: Granule, order: Order) {
        let mut start = self.offset(head);
        let mut order = order;
        while order.index() + 1 < self.shape.orders() {
            let buddy = start ^ order.granules();
            let position = self.position(buddy, order);
            if !self.bitmap.test(position) {
                break;
            }
            self.bitmap.clear(position);
            self.set_tag(Granule(buddy - self.shape.lead), Tag::Inside);
            start &= !order.granules();
            order.0 += 1;
        }
        self.insert(Granule(start - self.shape.lead), order);
    }

    /// Makes the granules `[start, end)`, tagged `Inside`, free blocks that merge with what is beside them.
    fn merge_range(&mut self, start: Granule, end: Granule) {
        for (head, order) in self.pieces(start, end) {
            self.merge(head, order);
        }
    }

    /// Releases one block: it becomes the spare of its order, and the spare before it is merged.
    #[inline]
    fn release_block(&mut self, head: Granule, order: Order) {
        self.free += order.granules();
        debug_assert!(self.free <= self.end, "U6: more granules are free than there are");
        self.note_release(order.granules());
        let Some(spare) = self.spares.get_mut(order.index()) else {
            self.set_tag(head, Tag::Inside);
            return self.merge(head, order);
        };
        // The lower of two stays spare, so that high addresses run empty.
        let (kept, displaced) = (head.0.min(*spare), head.0.max(*spare));
        *spare = kept;
        self.set_tag(Granule(kept), Tag::Free(order));
        if displaced != NO_SPARE {
            self.set_tag(Granule(displaced), Tag::Inside);
            self.merge(Granule(displaced), order);
        }
    }

    /// Merges the spares, so that every block is as large as it can be.
    pub(crate) fn merge_spares(&mut self) {
        for index in 0..SPARE_ORDERS {
            let spare = core::mem::replace(&mut self.spares[index], NO_SPARE);
            if spare != NO_SPARE {
                self.set_tag(Granule(spare), Tag::Inside);
                self.merge(Granule(spare), Order(index as u8));
            }
        }
    }

    /// Takes a block of exactly `order`, splitting a larger one if need be.
    fn take(&mut self, order: Order) -> Option<Granule> {
        if order.index() >= self.shape.orders() {
            return None;
        }
        if let Some(head) = self.take_spare(order) {
            self.free -= order.granules();
            return Some(head);
        }
        let (head, found) =
            self.take_smallest(order).or_else(|| self.take_smallest_of_merged(order))?;
        self.split(head, found, order);
        Some(head)
    }

    /// Takes the spare of `order` out of the free blocks, if there is one.
    #[inline]
    fn take_spare(&mut self, order: Order) -> Option<Granule> {
        let spare = self.spares.get_mut(order.index()).filter(|spare| **spare != NO_SPARE)?;
        Some(Granule(core::mem::replace(spare, NO_SPARE)))
    }

    /// Takes a block of the smallest order from `order` up that has one out of the free blocks: the lowest, or else
    /// the spare.
    #[inline(always)]
    fn take_smallest(&mut self, order: Order) -> Option<(Granule, Order)> {
        let spare = (order.index()..SPARE_ORDERS).find(|&index| self.spares[index] != NO_SPARE);
        let spare = spare.map(|index| Order(index as u8));
        match self.find(order) {
            Some((position, head, found)) if spare.is_none_or(|spare| found <= spare) => {
                self.bitmap.clear(position);
                Some((head, found))
            }
            _ => spare.and_then(|order| Some((self.take_spare(order)?, order))),
        }
    }

    /// [`Buddy::take_smallest`], where that found nothing: merging the spares may make a block that is large enough.
    #[cold]
    fn take_smallest_of_merged(&mut self, order: Order) -> Option<(Granule, Order)> {
        self.merge_spares();
        self.take_smallest(order)
    }

    /// Cuts a block that was removed from the free ones down to `order`: the upper halves become free, spares where
    /// there is none, which takes less than a bit, and no page of metadata where those come as they are written to.
    fn split(&mut self, head: Granule, from: Order, order: Order) {
        for half in (order.0..from.0).rev().map(Order) {
            let upper = head.plus(half.granules());
            match self.spares.get_mut(half.index()) {
                Some(spare) if *spare == NO_SPARE => {
                    *spare = upper.0;
                    self.set_tag(upper, Tag::Free(half));
                }
                _ => self.insert(upper, half),
            }
        }
        self.free -= order.granules();
    }

    /// The canonical pieces of `[start, end)`: the largest aligned block that fits, again and again.
    fn pieces(
        &self,
        start: Granule,
        end: Granule,
    ) -> impl Iterator<Item = (Granule, Order)> + use<> {
        let lead = self.shape.lead;
        let mut at = start;
        core::iter::from_fn(move || {
            let left = end.0.checked_sub(at.0).filter(|&left| left > 0)?;
            let order = Order((at.0 + lead).trailing_zeros().min(left.ilog2()) as u8);
            let piece = (at, order);
            at = at.plus(order.granules());
            Some(piece)
        })
    }

    /// Allocates a span: one block, each granule of which is tagged.
    pub(crate) fn alloc_span(&mut self, order: Order) -> Option<Granule> {
        let head = self.take(order)?;
        self.fill_tags(head, order, Tag::Span(order));
        self.note_use(head, order.granules());
        Some(head)
    }

    /// Releases the span whose first granule is `head`.
    pub(crate) fn release_span(&mut self, head: Granule) {
        let Tag::Span(order) = self.tag(head) else { unreachable!() };
        self.fill_tags(head, order, Tag::Inside);
        self.release_block(head, order);
    }

    /// First granule of the span of `order` that holds `granule`.
    #[inline]
    pub(crate) fn span_head(&self, granule: Granule, order: Order) -> Granule {
        let start = self.offset(granule) & !(order.granules() - 1);
        Granule(start - self.shape.lead)
    }

    /// The smallest end of the heap with which a block of `order` starts at or behind the end it has now;
    /// `None` if the capacity doesn't suffice.
    pub(crate) fn end_with_another(&self, order: Order) -> Option<u32> {
        let size = 1u64.checked_shl(order.0 as u32)?;
        let start = (self.end as u64 + self.shape.lead as u64).next_multiple_of(size);
        let end = start + size - self.shape.lead as u64;
        (end <= self.shape.capacity as u64).then_some(end as u32)
    }

    /// Adds the granules `[end, new_end)` as free ones.
    pub(crate) fn extend(&mut self, new_end: u32) {
        debug_assert!(self.end <= new_end && new_end <= self.shape.capacity);
        let old_end = core::mem::replace(&mut self.end, new_end);
        self.free += new_end - old_end;
        self.merge_range(Granule(old_end), Granule(new_end));
    }

    /// Granules in the largest free block; 0 if there is none.
    pub(crate) fn largest_free(&mut self) -> u32 {
        self.merge_spares();
        (0..self.shape.orders())
            .rev()
            .find(|&order| {
                let found = self.bitmap.find_from(self.begin(order) as usize);
                found.is_some_and(|position| position < self.begin(order + 1) as usize)
            })
            .map_or(0, |order| 1 << order)
    }

    /// The block, run or span that starts at `head`, which must be the start of one.
    pub(crate) fn extent_at(&self, head: Granule) -> Extent {
        let (granules, kind) = match self.tag(head) {
            Tag::Free(order) => (order.granules(), Kind::Free),
            Tag::Span(order) => (order.granules(), Kind::Span),
            Tag::Run(_) => (self.run_at(head), Kind::Run),
            Tag::Stashed(_) => (self.run_at(head), Kind::Stashed),
            Tag::Piece(_) | Tag::Inside => unreachable!(),
        };
        Extent { head, granules, kind }
    }

    /// The block, run or span that holds `granule`. Cost: a step an order and a piece.
    pub(crate) fn covering(&self, granule: Granule) -> Extent {
        let mut head = self.head_of(granule);
        while let Tag::Piece(_) = self.tag(head) {
            head = self.head_of(Granule(head.0 - 1));
        }
        self.extent_at(head)
    }

    /// Head of the block (not the run) that holds `granule`: by U1 and U2 it is the granule with some low
    /// bits of its distance from the origin cleared.
    fn head_of(&self, granule: Granule) -> Granule {
        if let Tag::Span(order) = self.tag(granule) {
            return self.span_head(granule, order);
        }
        let from_origin = self.offset(granule);
        let mut mask = !0;
        loop {
            let head = Granule((from_origin & mask) - self.shape.lead);
            if self.tag(head) != Tag::Inside {
                return head;
            }
            mask <<= 1;
        }
    }
}
