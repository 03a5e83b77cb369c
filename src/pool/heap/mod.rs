//! One heap: a region of memory, the buddy system and the spans over it.
//!
//! Addresses become granules and back only here and in the slab layer.
//!
//! Invariants:
//! - H1: granule 0 is at a multiple of the granule; it and the next `buddy.end()` granules are memory that
//!   may be read and written, and that the pool alone hands out.
//! - H2: the buddy's origin is at a multiple of `MAX_GRANULES` granules, so that a block of `n` bytes is at a
//!   multiple of `n`.
//! - H3: `live_runs` and `live_run_granules` count the runs in use, which are all blocks but the objects
//!   in spans.

mod layout;

pub(crate) use layout::{MAX_RESERVATION, Reservation, reserved_metadata_bytes};

use super::registry::Entry;
use crate::armour::Region;
use crate::buddy::{Broken, Buddy, Extent, Granule, Kind, Order, Sweep, Tag};
use crate::error::Error;
use crate::slab::{
    ClassId, MAX_OBJECT, Place, Refused, SPAN_GRANULE_SHIFT, Slab, Span, remote::Inbox,
};
use core::ptr::NonNull;

/// Bytes of which every block's address is a multiple.
pub const MIN_ALIGNMENT: usize = 16;

/// The most bytes of a block.
pub const MAX_SIZE: usize = isize::MAX as usize;

/// What an allocation asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) size: usize,
    /// A power of two.
    pub(crate) alignment: usize,
}

/// How a heap's memory comes from the system and goes back to it.
pub(crate) struct Backing {
    /// Makes memory usable that the heap has reserved; false if the system refuses.
    pub(crate) commit: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Gives the pages of free memory back: what is read there next is zero. False if the system refuses.
    pub(crate) purge: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Is told how many free bytes could be purged. Whether somebody will, soon, if they stay free.
    pub(crate) decays: fn(usize) -> bool,
    /// Gives back a heap's whole reservation and its metadata.
    pub(crate) release: unsafe fn(Reservation),
}

/// A block that is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) size: usize,
    /// The run it is, unless it is an object of a span.
    run: Option<Granule>,
}

/// A new block, and whether its bytes are known to be zero.
pub(crate) struct Fresh {
    pub(crate) address: NonNull<u8>,
    pub(crate) zeroed: bool,
}

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

    /// The size class that a request goes to in this heap, if to any.
    fn class_for(&self, request: Request) -> Option<ClassId> {
        self.slab.as_ref().and_then(|_| ClassId::aligned(request.alignment, request.size))
    }

    /// Granules and alignment of the run that a request needs.
    fn run_for(&self, request: Request) -> (u32, Order) {
        let granules = self.granules_in(request.size.saturating_add(self.granule() - 1)).max(1);
        let alignment = request.alignment.trailing_zeros().saturating_sub(self.shift as u32);
        (granules, Order(alignment as u8))
    }

    /// Allocates an object from a span of its class that has room.
    #[inline]
    pub(super) fn alloc_object(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let (slab, _) = self.slab_mut()?;
        slab.alloc(id).or_else(|| slab.alloc_from_other(id))
    }

    /// Allocates an object from a new span of its class, of which no other has room, taking up to `budget` bytes of
    /// free granules.
    pub(super) fn alloc_from_new(&mut self, id: ClassId, budget: usize) -> Option<NonNull<u8>> {
        let granules = self.granules_in(budget);
        let (slab, buddy) = self.slab_mut()?;
        slab.alloc_from_new(buddy, id, granules)
    }

    /// Allocates what is asked for from the place that suits it best, taking up to `budget` bytes of free
    /// granules.
    pub(super) fn alloc(&mut self, request: Request, budget: usize) -> Option<Fresh> {
        let granules = self.granules_in(budget);
        let Some(id) = self.class_for(request) else {
            return self.alloc_run(request, granules);
        };
        let (slab, buddy) = self.slab_mut()?;
        let object = slab.alloc_slow(buddy, id, granules)?;
        Some(Fresh { address: object, zeroed: false })
    }

    /// Allocates what [`Heap::alloc`] could not, from any place that will do, in a heap that has settled.
    pub(super) fn alloc_last(&mut self, request: Request, budget: usize) -> Option<Fresh> {
        let granules = self.granules_in(budget);
        let id = self.class_for(request)?;
        let (slab, buddy) = self.slab_mut()?;
        let object = slab.alloc_last(buddy, id, request.alignment, granules)?;
        Some(Fresh { address: object, zeroed: false })
    }

    fn alloc_run(&mut self, request: Request, budget: u32) -> Option<Fresh> {
        let (granules, alignment) = self.run_for(request);
        if granules > self.buddy.end() {
            return None;
        }
        let run = self.buddy.alloc_run(granules, alignment, budget)?;
        self.live_runs += 1;
        self.live_run_granules += run.granules;
        self.runs_allocated += 1;
        Some(Fresh { address: self.address_of(run.head), zeroed: run.fresh })
    }

    /// Releases the block that starts at `address`, unless it is in a span that has an owner. Says how many
    /// granules became free.
    #[inline]
    pub(super) fn release(&mut self, address: usize) -> Result<u32, Refused> {
        if let Some((slab, buddy)) = self.slab_mut()
            && let Ok(granules) = slab.release(buddy, address)
        {
            return Ok(granules);
        }
        self.release_run(address)
    }

    /// See [`Slab::after_release`].
    pub(super) fn after_release(&mut self, address: usize) -> u32 {
        self.slab_mut().map_or(0, |(slab, buddy)| slab.after_release(buddy, address))
    }

    #[inline(never)]
    fn release_run(&mut self, address: usize) -> Result<u32, Refused> {
        let granule = self.granule_at(address).ok_or(Refused)?;
        if self.address_of(granule).addr().get() != address {
            return Err(Refused);
        }
        let length = self.buddy.release_run(granule).ok_or(Refused)?;
        self.live_runs -= 1;
        self.live_run_granules -= length;
        Ok(length)
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

    /// Takes a span for an owner, who has taken so many of the class, with up to `budget` bytes of free granules.
    pub(super) fn take_span(
        &mut self,
        id: ClassId,
        budget: usize,
        owner: NonNull<Inbox>,
        taken: u8,
    ) -> Option<NonNull<Span>> {
        let granules = self.granules_in(budget);
        let (slab, buddy) = self.slab_mut()?;
        slab.take(buddy, id, granules, owner, taken)
    }

    /// Does something to a span of this heap, and says how many granules became free.
    pub(super) fn on_span(
        &mut self,
        span: NonNull<Span>,
        f: fn(&mut Slab, &mut Buddy, NonNull<Span>) -> u32,
    ) -> u32 {
        self.slab_mut().map_or(0, |(slab, buddy)| f(slab, buddy, span))
    }

    /// The live block that starts at `address`.
    pub(super) fn live(&self, address: usize) -> Option<Live> {
        let granule = self.granule_at(address)?;
        match self.buddy.tag(granule) {
            Tag::Span(_) => {
                let span = self.span_holding(address)?;
                let live = self.slab()?.is_live(span, address);
                live.then(|| Live { size: span.object_size(), run: None })
            }
            Tag::Run(_) if self.address_of(granule).addr().get() == address => {
                let size = self.bytes(self.buddy.run_at(granule));
                Some(Live { size, run: Some(granule) })
            }
            _ => None,
        }
    }

    /// Makes a live block hold `size` bytes where it is, taking up to `budget` bytes of free granules.
    /// False where it would have to move, to be large enough or not to waste more than half of it.
    pub(super) fn resize(&mut self, live: Live, size: usize, budget: usize) -> bool {
        let Some(head) = live.run else {
            let fits = size <= live.size;
            return fits
                && (size >= live.size / 2
                    || ClassId::holding(size).class().size as usize == live.size);
        };
        if self.slab.is_some() && size <= MAX_OBJECT {
            return false;
        }
        let (granules, _) = self.run_for(Request { size, alignment: 1 });
        if granules > self.buddy.end() {
            return false;
        }
        self.resize_run(head, self.granules_in(live.size), granules, self.granules_in(budget))
    }

    /// Gives back the tail of a live run behind `size` bytes.
    pub(super) fn shrink(&mut self, live: Live, size: usize) {
        let (granules, _) = self.run_for(Request { size, alignment: 1 });
        let length = self.granules_in(live.size);
        if let Some(head) = live.run.filter(|_| granules < length) {
            self.resize_run(head, length, granules, 0);
        }
    }

    fn resize_run(&mut self, head: Granule, length: u32, granules: u32, budget: u32) -> bool {
        let resized = self.buddy.resize_run(head, length, granules, budget);
        let Some(new_length) = resized else { return false };
        self.live_run_granules = self.live_run_granules - length + new_length;
        true
    }

    /// Why `address`, which [`Heap::holds`] and where no live block starts, can't be released.
    #[cold]
    pub(super) fn diagnose(&self, address: usize) -> Error {
        let pointer = address;
        let Some(granule) = self.granule_at(address) else { return Error::NotInPool { pointer } };
        let extent = self.buddy.covering(granule);
        match (extent.kind, self.slab()) {
            (Kind::Run, _) => {
                let block = self.address_of(extent.head).addr().get();
                Error::InteriorPointer { pointer, block, size: self.bytes(extent.granules) }
            }
            (Kind::Span, Some(slab)) => {
                let Some(span) = slab.span_of(extent) else { return Error::NotInPool { pointer } };
                let size = span.object_size();
                match span.place(address) {
                    // Released by another thread, and not collected.
                    Place::Live if !slab.is_live(span, address) => {
                        Error::AlreadyReleased { pointer, size }
                    }
                    Place::Live | Place::Padding => Error::NotInPool { pointer },
                    Place::Interior(offset) => {
                        let block = self.address_of(extent.head).addr().get() + offset;
                        Error::InteriorPointer { pointer, block, size }
                    }
                    Place::Free => Error::AlreadyReleased { pointer, size },
                }
            }
            _ => Error::AlreadyReleased { pointer, size: 0 },
        }
    }

    /// The fewest bytes of granules with which a request can be served; `None` if the heap never can.
    pub(super) fn least_bytes(&self, request: Request) -> Option<usize> {
        if let Some(id) = self.class_for(request) {
            return Some(self.bytes(Order(id.class().least_span_order()).granules()));
        }
        let (granules, _) = self.run_for(request);
        (granules <= self.buddy.capacity()).then(|| self.bytes(self.buddy.trimmed_length(granules)))
    }

    /// The granules of the block that serves a request best with up to `budget` bytes, and the order of the
    /// smallest that holds it; `None` if the heap can't have it.
    fn block_for(&self, request: Request, budget: usize) -> Option<(u32, Order)> {
        let least = self.least_bytes(request).filter(|&least| least <= budget)?;
        if let (Some(id), Some(slab)) = (self.class_for(request), self.slab()) {
            let order = Order(slab.span_order(id));
            let granules = order.granules().min(self.granules_in(budget));
            return Some((granules, order.min(Order::within(granules))));
        }
        let granules = self.granules_in(least);
        let (_, alignment) = self.run_for(request);
        (alignment <= Order::MAX).then(|| (granules, Order::holding(granules).max(alignment)))
    }

    /// Commits more of a reservation, enough to serve the request from `budget` bytes. False if there is no
    /// more.
    pub(super) fn grow(&mut self, request: Request, budget: usize) -> bool {
        const LEAST: u32 = (1 << 20) >> SPAN_GRANULE_SHIFT;
        const MOST: u32 = (64 << 20) >> SPAN_GRANULE_SHIFT;
        // Systems with pages larger than a granule commit those.
        const STEP: u32 = (64 << 10) >> SPAN_GRANULE_SHIFT;
        let Some(backing) = self.backing else { return false };
        let Some((granules, order)) = self.block_for(request, budget) else { return false };
        let (end, capacity) = (self.buddy.end(), self.buddy.capacity());
        // A whole block if the reservation has one, or else as much as could do with what is free before it.
        let needed = self.buddy.end_with_another(order).unwrap_or(end + granules).min(capacity);
        let generous = needed.max(end + (end / 8).clamp(LEAST, MOST));
        [generous, needed].into_iter().any(|wanted| {
            let new_end = wanted.next_multiple_of(STEP).min(capacity);
            let start = self.address_of(Granule(end));
            // SAFETY: the memory behind the last granule is reserved up to the capacity.
            let committed =
                new_end > end && unsafe { (backing.commit)(start, self.bytes(new_end - end)) };
            if committed {
                self.buddy.extend(new_end);
            }
            committed
        })
    }

    /// [`Heap::purge`], if there is enough to be worth it beside `used` bytes of the pool.
    #[inline]
    pub(super) fn purge_if_worthwhile(&mut self, used: usize) {
        /// Purging costs system calls now and page faults later.
        const SLACK: usize = 16 << 20;
        /// Decay takes care of what stays free; this bounds what it can't keep up with.
        const DECAYING_SLACK: usize = 256 << 20;
        let purgeable = self.bytes(self.buddy.purgeable());
        let decays = self.backing.is_some_and(|backing| (backing.decays)(purgeable));
        let slack = if decays { DECAYING_SLACK } else { SLACK };
        if purgeable > self.purge_above.max(slack + used / 4) {
            self.purge();
            // What the system refuses it would refuse again.
            let refused = self.bytes(self.buddy.purgeable());
            self.purge_above = if refused == 0 { 0 } else { refused + purgeable };
        }
    }

    /// Gives free pages back to the system, and says how many bytes.
    pub(super) fn purge(&mut self) -> usize {
        let purged = self.purge_some(&mut Sweep::default(), u32::MAX);
        self.bytes(purged)
    }

    /// Begins a round of decay: what has been free since the last one is to be purged.
    pub(super) fn begin_decay(&mut self) {
        self.decaying = self.buddy.take_idle();
        self.sweep = Sweep::default();
    }

    /// Purges some more of what this round is to. Says whether there is more.
    pub(super) fn decay(&mut self) -> bool {
        /// Takes less than a millisecond.
        const STEP: u32 = (4 << 20) >> SPAN_GRANULE_SHIFT;
        let mut sweep = self.sweep;
        let purged = self.purge_some(&mut sweep, self.decaying.min(STEP));
        self.sweep = sweep;
        self.decaying = if sweep.is_over() { 0 } else { self.decaying.saturating_sub(purged) };
        self.decaying > 0
    }

    /// Free bytes that could be purged.
    pub(super) fn purgeable(&self) -> usize {
        self.bytes(self.buddy.purgeable())
    }

    fn purge_some(&mut self, sweep: &mut Sweep, most: u32) -> u32 {
        let Some(backing) = self.backing else { return 0 };
        let (first, shift) = (self.first, self.shift);
        self.buddy.purge(sweep, most, |start, end| {
            // SAFETY: the granules lie in the heap (H1).
            let address = unsafe { first.add(start.index() << shift) };
            // SAFETY: they are free and committed.
            unsafe { (backing.purge)(address, (end.0 - start.0) as usize * (1 << shift)) }
        })
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

    /// Makes a part of a block read as zero; its pages go back to the system if they are many.
    ///
    /// # Safety
    /// It is part of a block of this heap, and nobody uses it.
    pub(super) unsafe fn wipe_block(&self, part: Region) {
        /// Fewer are as fast zeroed as they are got from the system again.
        const WORTH_PURGING: usize = 1 << 20;
        let Region { start, len } = part;
        let before = start.align_offset(1 << SPAN_GRANULE_SHIFT).min(len);
        let pages = (len - before) & !((1 << SPAN_GRANULE_SHIFT) - 1);
        // SAFETY: the caller's promise; all of it lies in the part.
        unsafe {
            let purged = self.backing.is_some_and(|backing| {
                pages >= WORTH_PURGING && (backing.purge)(start.add(before), pages)
            });
            if purged {
                start.write_bytes(0, before);
                start.add(before + pages).write_bytes(0, len - before - pages);
            } else {
                start.write_bytes(0, len);
            }
        }
    }

    /// Makes all memory of the heap read as zero, which has no blocks.
    pub(super) fn wipe(&mut self) {
        self.purge();
        if self.backing.is_none() || self.purgeable() > 0 {
            // SAFETY: the granules are the heap's (H1), and nobody uses them.
            unsafe { self.first.write_bytes(0, self.capacity_bytes()) };
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

    /// Live runs, their bytes, and how many were ever allocated.
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

    /// Checks the layers below.
    pub(super) fn check_layers(&self) -> Result<(), Broken> {
        self.buddy.check()?;
        self.slab().map_or(Ok(()), |slab| slab.check(&self.buddy))
    }
}
