//! One heap: a region of memory, the buddy system and the spans over it.
//!
//! Addresses become granules and back only here and in the slab layer.
//!
//! Invariants:
//! - H1: granule 0 is at a multiple of the granule; it and the next `buddy.end()` granules are memory that
//!   may be read and written, and that the pool alone hands out.
//! - H2: the buddy's origin is at a multiple of `MAX_GRANULES` granules, so that a block of `n` bytes is at a
//!   multiple of `n`.
//! - H3: `live_runs` and `live_run_granules` count the runs in use, stashed ones among them, which are all blocks but
//!   the objects in spans.
//! - H4: what isn't in the heap's own mapping lies in one of the `places`, which lie in the heap.

mod blocks;
mod layout;
mod moved;
mod pages;

pub(crate) use blocks::{Fresh, Live, Request};
pub(crate) use layout::{MAX_RESERVATION, Reservation, ReservedMetadata};
pub(crate) use moved::Resized;
pub(crate) use pages::Backing;

use super::registry::Entry;
use crate::buddy::{Broken, Buddy, Extent, Granule, Kind, Sweep, Tags};
use crate::slab::{ClassId, Freed, Slab, Span, remote::Inbox};
use core::ptr::NonNull;
use moved::Places;

/// Bytes of which every block's address is a multiple.
pub const MIN_ALIGNMENT: usize = 16;

/// The most bytes of a block.
pub const MAX_SIZE: usize = isize::MAX as usize;

/// Links of the set that the heap is in; see `heaps`.
#[derive(Default)]
pub(super) struct Links {
    pub(super) next: Option<NonNull<Heap>>,
    pub(super) low: Option<NonNull<Heap>>,
    pub(super) high: Option<NonNull<Heap>>,
}

/// See the module.
pub(crate) struct Heap {
    pub(super) links: Links,
    /// As it was handed in.
    start: usize,
    size: usize,
    first: NonNull<u8>,
    buddy: Buddy,
    slab: Option<NonNull<Slab>>,
    backing: Option<&'static Backing>,
    metadata: NonNull<u8>,
    /// Bytes from `metadata` on.
    metadata_bytes: usize,
    live_runs: u32,
    live_run_granules: u32,
    runs_allocated: u64,
    /// Free bytes that were used are worth a purge when there are more than this.
    purge_above: usize,
    /// Granules that the present round of decay has yet to purge, and how far it is.
    decaying: u32,
    sweep: Sweep,
    /// How far the purge is of what is too much.
    excess: Sweep,
    places: Places,
    shift: u8,
    pub(super) draining: bool,
}

impl Heap {
    /// The heap as the registry knows it.
    pub(super) fn entry(&self) -> NonNull<Entry> {
        // SAFETY: the entry comes right behind the heap in the metadata (`Parts::new`).
        unsafe { self.metadata.add(size_of::<Heap>()).cast() }
    }

    /// What has to be given back with the heap, and how; `None` for a caller's memory.
    pub(super) fn reservation(&self) -> Option<(&'static Backing, Reservation)> {
        let reservation =
            Reservation { memory: self.first, size: self.size, metadata: self.metadata };
        Some((self.backing?, reservation))
    }

    /// Address of the region that was handed in.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes of the region that was handed in.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether the region that was handed in holds `address`.
    #[inline]
    pub(crate) fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.size
    }

    /// Bytes of a granule.
    pub(crate) fn granule(&self) -> usize {
        1 << self.shift
    }

    fn bytes(&self, granules: u32) -> usize {
        (granules as usize) << self.shift
    }

    /// Whole granules in so many bytes, or more than any heap has.
    fn granules_in(&self, bytes: usize) -> u32 {
        u32::try_from(bytes >> self.shift).unwrap_or(u32::MAX)
    }

    /// The granule that holds `address`, if there is one.
    #[inline]
    pub(super) fn granule_at(&self, address: usize) -> Option<Granule> {
        let granule = address.wrapping_sub(self.first.addr().get()) >> self.shift;
        (granule < self.buddy.end() as usize).then_some(Granule(granule as u32))
    }

    #[inline]
    pub(super) fn address_of(&self, granule: Granule) -> NonNull<u8> {
        debug_assert!(granule.0 <= self.buddy.end());
        // SAFETY: the granule lies in the heap, or is the one behind its last (H1).
        unsafe { self.first.add(granule.index() << self.shift) }
    }

    #[inline]
    pub(super) fn slab_mut(&mut self) -> Option<(&mut Slab, &mut Buddy)> {
        let slab = self.slab.as_mut()?;
        // SAFETY: the slab lives in the heap's metadata as long as the heap, and is borrowed with it.
        Some((unsafe { slab.as_mut() }, &mut self.buddy))
    }

    /// The slab, for whoever has the pool's lock.
    pub(super) fn slab_pointer(&self) -> Option<NonNull<Slab>> {
        self.slab
    }

    pub(super) fn slab(&self) -> Option<&Slab> {
        // SAFETY: as in `slab_mut`.
        self.slab.as_ref().map(|slab| unsafe { slab.as_ref() })
    }

    /// The span that holds `address`.
    pub(super) fn span_holding(&self, address: usize) -> Option<&Span> {
        let granule = self.granule_at(address)?;
        self.slab()?.span_of(self.buddy.covering(granule))
    }

    /// Whether this is one of the heap's descriptors.
    pub(super) fn has_descriptor(&self, span: NonNull<Span>) -> bool {
        span.addr().get().wrapping_sub(self.metadata.addr().get()) < self.metadata_bytes
    }

    /// Address of granule 0, and the tags of the runs that threads can stash; `None` if spans of this heap have no
    /// owners, or it drains.
    pub(super) fn shared_runs(&self) -> Option<(NonNull<u8>, Tags)> {
        self.slab().filter(|slab| slab.map().has_owners() && !self.draining)?;
        Some((self.first, self.buddy.tags()))
    }

    /// Takes a span for an owner, who has taken so many of the class, with up to `budget` bytes of free granules;
    /// `None` if spans of this heap have no owners.
    pub(super) fn take_span(
        &mut self,
        id: ClassId,
        budget: usize,
        owner: NonNull<Inbox>,
        taken: u8,
    ) -> Option<NonNull<Span>> {
        let granules = self.granules_in(budget);
        let (slab, buddy) = self.slab_mut().filter(|(slab, _)| slab.map().has_owners())?;
        slab.take(buddy, id, granules, owner, taken)
    }

    /// Does something to a span of this heap, and says what became free.
    pub(super) fn on_span(
        &mut self,
        span: NonNull<Span>,
        f: fn(&mut Slab, &mut Buddy, NonNull<Span>) -> Freed,
    ) -> Freed {
        self.slab_mut().map_or(Freed::default(), |(slab, buddy)| f(slab, buddy, span))
    }

    /// Merges all that can be merged: spares, and spans that have no live object.
    pub(super) fn settle(&mut self) {
        if let Some((slab, buddy)) = self.slab_mut() {
            slab.release_empty(buddy);
        }
        self.buddy.merge_spares();
    }

    /// Releases every block.
    pub(super) fn reset(&mut self) {
        let mut at = Granule(0);
        while at.0 < self.buddy.end() {
            // Not the block that starts there: the last release may have merged it with others.
            let extent = self.buddy.covering(at);
            at = extent.head.plus(extent.granules);
            match extent.kind {
                Kind::Free => {}
                Kind::Run => _ = self.buddy.release_run(extent.head),
                Kind::Stashed => _ = self.buddy.reclaim_run(extent.head),
                Kind::Span => {
                    let (slab, buddy) = self.slab_mut().expect("a span is in a heap with spans");
                    slab.release_all(buddy, extent.head);
                }
            }
        }
        (self.live_runs, self.live_run_granules) = (0, 0);
        self.settle();
    }

    /// Takes objects at random from now on.
    pub(super) fn set_dice(&mut self, seed: u64) {
        if let Some((slab, _)) = self.slab_mut() {
            slab.set_dice(seed);
        }
    }

    /// Start of the region that was handed in.
    pub(super) fn memory(&self) -> *mut u8 {
        // A caller's region begins before the metadata; of the two the region's pointer may reach there.
        let base = if self.backing.is_some() { self.first } else { self.metadata };
        base.as_ptr().with_addr(self.start)
    }

    /// Bytes of metadata, of which a reservation's are backed as it grows.
    pub(super) fn metadata_bytes(&self) -> usize {
        let (end, capacity) = (self.buddy.end() as u128, self.buddy.capacity() as u128);
        (self.metadata_bytes as u128 * end).div_ceil(capacity) as usize
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.bytes(self.buddy.end())
    }

    /// Bytes in spans and runs.
    pub(super) fn used_bytes(&self) -> usize {
        self.bytes(self.buddy.end() - self.buddy.free())
    }

    pub(super) fn largest_free_bytes(&mut self) -> usize {
        let granules = self.buddy.largest_free();
        self.bytes(granules)
    }

    /// Live runs, stashed ones among them, their bytes, and how many were ever allocated.
    pub(super) fn run_counts(&self) -> (usize, usize, u64) {
        (self.live_runs as usize, self.bytes(self.live_run_granules), self.runs_allocated)
    }

    pub(super) fn end_granule(&self) -> u32 {
        self.buddy.end()
    }

    /// The granule that holds `address`, or the first if it lies below.
    pub(super) fn granule_at_or_first(&self, address: usize) -> Option<Granule> {
        self.granule_at(address.max(self.first.addr().get()))
    }

    /// The extent that holds `granule`, which may be one behind the last.
    pub(super) fn extent_covering(&self, granule: Granule) -> Option<Extent> {
        (granule.0 < self.buddy.end()).then(|| self.buddy.covering(granule))
    }

    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        self.buddy.extents(Granule(0))
    }

    /// Whether H4 holds, as far as the books say.
    pub(super) fn places_are_right(&self) -> bool {
        self.places.lie_below(self.buddy.end())
    }

    /// Checks the layers below.
    pub(super) fn check_layers(&self) -> Result<(), Broken> {
        self.buddy.check()?;
        self.slab().map_or(Ok(()), |slab| slab.check(&self.buddy))
    }
}
