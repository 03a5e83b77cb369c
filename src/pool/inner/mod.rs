//! What the pool's lock guards.
//!
//! Invariants:
//! - P2: `capacity` and `used` are the sums of the heaps' bytes, and of those in spans and runs.
//! - P3: `home` is a heap of the set that is not draining, and what is `at_hand` is the home heap's: nothing if the
//!   pool is hardened, and no span to release objects of if spans can have owners.

mod home;

use super::heap::{Heap, Live, Request, Resized};
use super::heaps::Heaps;
use super::limits::{Callback, GrowFn, LowMemoryFn, NO_LIMIT};
use super::registry;
use super::stash::Stash;
use super::stats::Told;
use crate::error::Error;
use crate::slab::Refused;
use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};
use home::AtHand;
use spin::RelaxStrategy;

/// See the module.
pub(super) struct Inner<R: RelaxStrategy> {
    pub(super) heaps: Heaps,
    /// The stash that was enlisted last.
    pub(super) stashes: *mut Stash,
    home: Option<NonNull<Heap>>,
    at_hand: AtHand,
    pub(super) capacity: usize,
    pub(super) used: usize,
    pub(super) peak_used: usize,
    pub(super) limit: usize,
    /// How many heaps were ever added.
    pub(super) generation: u64,
    pub(super) failures: u64,
    pub(super) misuses: u64,
    pub(super) told: Told,
    pub(super) low_memory: Option<Callback<LowMemoryFn<R>>>,
    pub(super) low_memory_threshold: usize,
    pub(super) low_memory_armed: bool,
    pub(super) grow: Option<Callback<GrowFn<R>>>,
    /// Callbacks that run now.
    pub(super) callbacks: u32,
    /// What the heaps of a hardened pool begin to take objects at random with.
    seed: Option<u64>,
    /// Whether spans may have owners: somebody has asked how they are found.
    has_owners: bool,
    /// The last object that was found to be released by two threads, until the next who collects tells it.
    pub(super) late: Option<Error>,
    relax: PhantomData<fn() -> R>,
}

// SAFETY: the heaps are used through the set alone (P1), whoever set a callback promised that any thread may call
// it, and of a stash others than its thread use what is atomic, and what is set before it is enlisted.
unsafe impl<R: RelaxStrategy> Send for Inner<R> {}

impl<R: RelaxStrategy> Inner<R> {
    pub(super) const fn new() -> Self {
        Inner {
            heaps: Heaps::new(),
            stashes: null_mut(),
            home: None,
            at_hand: AtHand::NOTHING,
            capacity: 0,
            used: 0,
            peak_used: 0,
            limit: NO_LIMIT,
            generation: 0,
            failures: 0,
            misuses: 0,
            told: Told::NOTHING,
            low_memory: None,
            low_memory_threshold: 0,
            low_memory_armed: true,
            grow: None,
            callbacks: 0,
            seed: None,
            has_owners: false,
            late: None,
            relax: PhantomData,
        }
    }

    /// Adds the heap that `make` makes in the `size` bytes at `start`. Other pools know of them if they are registered.
    pub(super) fn add_heap(
        &mut self,
        start: usize,
        size: usize,
        registered: bool,
        make: impl FnOnce() -> Result<NonNull<Heap>, Error>,
    ) -> Result<(), Error> {
        if let Some(other) = self.heaps.overlapping(start, size) {
            let other = self.heaps.get(other);
            let (other, other_size) = (other.start(), other.size());
            return Err(Error::HeapOverlaps { address: start, size, other, other_size });
        }
        // SAFETY: the heap is taken out of the registry before it dies.
        let mut heap = unsafe {
            registry::enter::<R, _>(start, size, || {
                let heap = make()?;
                // SAFETY: the heap has just been made.
                Ok((heap, registered.then(|| heap.as_ref().entry())))
            })
        }?;
        if let Some(seed) = self.seed {
            // SAFETY: the heap is new, and nobody else knows it.
            let heap = unsafe { heap.as_mut() };
            heap.set_dice(seed ^ start as u64);
            heap.wipe();
        }
        // SAFETY: the heap is new, its region disjoint from the others', and it is removed before it dies.
        unsafe { self.heaps.insert(heap) };
        self.generation += 1;
        self.need_home(heap);
        self.capacity += self.heaps.get(heap).capacity_bytes();
        self.rearm_low_memory();
        Ok(())
    }

    pub(super) fn heap_holding(&self, address: usize) -> Result<NonNull<Heap>, Error> {
        self.heaps.holding(address).ok_or(Error::HeapUnknown { address })
    }

    pub(super) fn remove_heap(&mut self, address: usize) -> Result<(), Error> {
        let heap = self.heap_holding(address)?;
        self.empty_stashes();
        self.on_heap(heap, Heap::settle);
        let this = self.heaps.get(heap);
        if this.used_bytes() > 0 || self.is_known_to_caches(heap) {
            let live = this.live_counts();
            let address = this.start();
            return Err(Error::HeapInUse { address, blocks: live.blocks, bytes: live.bytes });
        }
        self.close_stashes(heap);
        self.forget_heap(heap);
        Ok(())
    }

    /// Whether caches look into the heap for whatever a program releases.
    pub(super) fn is_known_to_caches(&self, heap: NonNull<Heap>) -> bool {
        self.has_owners && self.owners_heap() == Some(heap)
    }

    pub(super) fn remove_all_heaps(&mut self) {
        while let Some(heap) = self.heaps.after(None) {
            self.forget_heap(heap);
        }
    }

    fn forget_heap(&mut self, heap: NonNull<Heap>) {
        let this = self.heaps.get(heap);
        self.capacity -= this.capacity_bytes();
        self.used -= this.used_bytes();
        self.told = Told::NOTHING;
        registry::unregister::<R>(this.entry());
        let reservation = this.reservation();
        self.heaps.remove(heap);
        self.leave_home(heap);
        if let Some((backing, reservation)) = reservation {
            // SAFETY: the heap is in no set any more, so that nobody uses it.
            unsafe { (backing.release)(reservation) };
        }
    }

    pub(super) fn drain_heap(&mut self, address: usize) -> Result<(), Error> {
        let heap = self.heap_holding(address)?;
        self.heaps.get_mut(heap).draining = true;
        self.leave_home(heap);
        self.close_stashes(heap);
        self.on_heap(heap, Heap::settle);
        Ok(())
    }

    /// Whether nothing more is allocated from the heap that holds `address`.
    pub(super) fn drains(&self, address: usize) -> bool {
        self.find(address).is_some_and(|heap| self.heaps.get(heap).draining)
    }

    pub(super) fn reset(&mut self) {
        self.for_each_heap(|pool, heap| {
            pool.on_heap(heap, Heap::reset);
            pool.heaps.get_mut(heap).draining = false;
            pool.need_home(heap);
        });
        if self.seed.is_some() {
            self.for_each_heap(|pool, heap| pool.heaps.get_mut(heap).wipe());
        }
        self.trim();
    }

    /// Calls `f` with each heap, in the order they were added.
    pub(super) fn for_each_heap(&mut self, mut f: impl FnMut(&mut Self, NonNull<Heap>)) {
        let mut at = self.heaps.after(None);
        while let Some(heap) = at {
            f(self, heap);
            at = self.heaps.after(at);
        }
    }

    /// Does something to a heap, and keeps the books of its bytes (P2).
    fn on_heap<T>(&mut self, heap: NonNull<Heap>, f: impl FnOnce(&mut Heap) -> T) -> T {
        let this = self.heaps.get_mut(heap);
        let (capacity, used) = (this.capacity_bytes(), this.used_bytes());
        let result = f(this);
        let (new_capacity, new_used) = (this.capacity_bytes(), this.used_bytes());
        self.capacity = self.capacity - capacity + new_capacity;
        self.used = self.used - used + new_used;
        debug_assert!(self.used <= self.capacity, "P2: more is used than there is");
        self.peak_used = self.peak_used.max(self.used);
        self.rearm_low_memory();
        result
    }

    /// Bytes that may still be taken from the heaps.
    fn budget(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Merges all that can be merged in every heap.
    pub(super) fn settle(&mut self) {
        self.for_each_heap(|pool, heap| pool.on_heap(heap, Heap::settle));
    }

    pub(super) fn free_bytes(&self) -> usize {
        self.capacity - self.used
    }

    /// The heap that holds `address`.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<NonNull<Heap>> {
        match self.home {
            Some(home) if self.heaps.get(home).holds(address) => Some(home),
            _ => self.heaps.holding(address),
        }
    }

    /// Releases the block that starts at `address`.
    #[inline]
    pub(super) fn release(&mut self, address: usize) -> Result<(), Refused> {
        let heap = self.find(address).ok_or(Refused)?;
        match self.heaps.get_mut(heap).release(address) {
            Ok(0) => Ok(()),
            Ok(granules) => {
                self.gained_granules(heap, granules);
                Ok(())
            }
            Err(Refused) => self.release_owned(heap, address),
        }
    }

    /// A release has made granules free.
    #[inline(never)]
    pub(super) fn gained_granules(&mut self, heap: NonNull<Heap>, granules: u32) {
        let this = self.heaps.get_mut(heap);
        self.used -= granules as usize * this.granule();
        self.purge_if_worthwhile(heap);
        self.rearm_low_memory();
    }

    /// The live block that starts at `address`, and its heap.
    pub(super) fn live(&self, address: usize) -> Option<(NonNull<Heap>, Live)> {
        let heap = self.find(address)?;
        Some((heap, self.heaps.get(heap).live(address)?))
    }

    /// Makes a live block hold `size` bytes where it is; false if it has to move.
    pub(super) fn resize(&mut self, heap: NonNull<Heap>, live: Live, size: usize) -> bool {
        // A block that outgrows a draining heap moves out.
        let budget = if self.heaps.get(heap).draining { 0 } else { self.budget() };
        let stays = self.on_heap(heap, |heap| heap.resize(live, size, budget));
        self.purge_if_worthwhile(heap);
        stays
    }

    /// Has a live block move that is requested to hold more bytes than it can where it is, if that can be without
    /// copying, or a new block of its heap is the one to copy it to.
    pub(super) fn move_run(
        &mut self,
        heap: NonNull<Heap>,
        live: Live,
        request: Request,
    ) -> Option<Resized> {
        if self.heaps.get(heap).draining {
            return None;
        }
        let budget = self.budget();
        // Of several heaps another may have room.
        let may_grow = self.heaps.iter().nth(1).is_none();
        let resized = self.on_heap(heap, |heap| heap.move_run(live, request, budget, may_grow));
        self.purge_if_worthwhile(heap);
        resized
    }

    /// Gives back what can be given back of a live block that holds `size` bytes where it is.
    pub(super) fn shrink(&mut self, heap: NonNull<Heap>, live: Live, size: usize) {
        self.on_heap(heap, |heap| heap.shrink(live, size));
        self.purge_if_worthwhile(heap);
    }

    pub(super) fn owns(&self, address: usize) -> bool {
        self.find(address).is_some()
    }

    /// Why `address`, where no live block starts, can't be released.
    #[cold]
    #[inline(never)]
    pub(super) fn misuse(&mut self, address: usize) -> Error {
        self.count_misuse();
        if let Some(heap) = self.find(address) {
            return self.heaps.get(heap).diagnose(address);
        }
        if registry::holds::<R>(address) {
            Error::OtherPool { pointer: address }
        } else {
            Error::NotInPool { pointer: address }
        }
    }

    /// A live block of `size` bytes can't have been allocated with `given`.
    #[cold]
    pub(super) fn size_mismatch(&mut self, pointer: usize, given: usize, size: usize) -> Error {
        self.count_misuse();
        Error::SizeMismatch { pointer, given, size }
    }

    pub(super) fn count_misuse(&mut self) {
        self.misuses += 1;
    }

    pub(super) fn count_failure(&mut self) {
        self.failures += 1;
    }

    pub(super) fn take_back_failure(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }
}
