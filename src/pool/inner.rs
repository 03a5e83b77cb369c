//! What the pool's lock guards.
//!
//! Invariants:
//! - P2: `capacity` and `used` are the sums of the heaps' bytes, and of those in spans and runs.
//! - P3: `home` is a heap of the set that is not draining, and what is `at_hand` is the home heap's: nothing if the
//!   pool is hardened, and no span to release objects of if spans can have owners.

use super::heap::{Fresh, Heap, Live, Request};
use super::heaps::Heaps;
use super::{GrowFn, LowMemoryFn, registry};
use crate::error::Error;
use crate::slab::{ClassId, Refused, Slab, Slots, SpanMap};
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr::NonNull;
use spin::RelaxStrategy;

/// What a callback is given back; the C border needs three words.
pub type Context = [*mut c_void; 3];

/// A function and what it is given.
pub(super) struct Callback<F> {
    pub(super) function: F,
    pub(super) context: Context,
}

impl<F: Copy> Copy for Callback<F> {}
impl<F: Copy> Clone for Callback<F> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A way in which a heap may serve a request from a number of bytes.
type ServeFn = fn(&mut Heap, Request, usize) -> Option<Fresh>;

/// What is allocated and released at once.
#[derive(PartialEq)]
struct AtHand {
    slots: NonNull<Slots>,
    map: SpanMap,
}

impl AtHand {
    const NOTHING: AtHand = AtHand { slots: Slots::none(), map: SpanMap::EMPTY };
}

/// See the module.
pub(super) struct Inner<R: RelaxStrategy> {
    pub(super) heaps: Heaps,
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
    pub(super) low_memory: Option<Callback<LowMemoryFn<R>>>,
    low_memory_threshold: usize,
    low_memory_armed: bool,
    pub(super) grow: Option<Callback<GrowFn<R>>>,
    /// Callbacks that run now.
    pub(super) callbacks: u32,
    /// What the heaps of a hardened pool begin to take objects at random with.
    seed: Option<u64>,
    /// Whether a span ever got an owner.
    has_owners: bool,
    relax: PhantomData<fn() -> R>,
}

// SAFETY: the heaps are used through the set alone (P1), and whoever set a callback promised that any thread
// may call it.
unsafe impl<R: RelaxStrategy> Send for Inner<R> {}

/// The limit of a pool that has none.
pub(super) const NO_LIMIT: usize = usize::MAX;

impl<R: RelaxStrategy> Inner<R> {
    pub(super) const fn new() -> Self {
        Inner {
            heaps: Heaps::new(),
            home: None,
            at_hand: AtHand::NOTHING,
            capacity: 0,
            used: 0,
            peak_used: 0,
            limit: NO_LIMIT,
            generation: 0,
            failures: 0,
            misuses: 0,
            low_memory: None,
            low_memory_threshold: 0,
            low_memory_armed: true,
            grow: None,
            callbacks: 0,
            seed: None,
            has_owners: false,
            relax: PhantomData,
        }
    }

    /// Adds the heap of `size` bytes at `start` that `make` makes. Other pools know of it if it is registered.
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
        registry::check_apart::<R>(start, size)?;
        let mut heap = make()?;
        if let Some(seed) = self.seed {
            // SAFETY: the heap is new, and nobody else knows it.
            let heap = unsafe { heap.as_mut() };
            heap.set_dice(seed ^ start as u64);
            heap.wipe();
        }
        // SAFETY: the heap is new, its region disjoint from the others', and it is removed from both before
        // it dies.
        unsafe {
            if registered {
                registry::register::<R>(heap.as_ref().entry());
            }
            self.heaps.insert(heap);
        }
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
        self.on_heap(heap, Heap::settle);
        let this = self.heaps.get(heap);
        if this.used_bytes() > 0 {
            let live = this.live_counts();
            let address = this.start();
            return Err(Error::HeapInUse { address, blocks: live.blocks, bytes: live.bytes });
        }
        self.forget_heap(heap);
        Ok(())
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
        registry::unregister::<R>(this.entry());
        let reservation = this.reservation();
        self.heaps.remove(heap);
        self.leave_home(heap);
        if let Some((backing, reservation)) = reservation {
            // SAFETY: the heap is in no set any more, so that nobody uses it.
            unsafe { (backing.release)(reservation) };
        }
    }

    /// Finds another home if `heap` is the one (P3).
    fn leave_home(&mut self, heap: NonNull<Heap>) {
        if self.home == Some(heap) {
            let other = self.heaps.iter().find(|&other| !self.heaps.get(other).draining);
            self.set_home(other);
        }
    }

    /// Makes `heap` the home unless there is one.
    fn need_home(&mut self, heap: NonNull<Heap>) {
        if self.home.is_none() {
            self.set_home(Some(heap));
        }
    }

    fn set_home(&mut self, home: Option<NonNull<Heap>>) {
        debug_assert!(
            home.is_none_or(|home| !self.heaps.get(home).draining),
            "P3: the home drains"
        );
        self.home = home;
        self.at_hand = self.at_hand_of(home);
    }

    /// What is at hand of a heap (P3).
    fn at_hand_of(&self, home: Option<NonNull<Heap>>) -> AtHand {
        let home = home.filter(|_| self.seed.is_none());
        let Some(slab) = home.and_then(|home| self.heaps.get(home).slab_pointer()) else {
            return AtHand::NOTHING;
        };
        // SAFETY: the slab lives as long as its heap, which is one of the pool's.
        let (slots, map) = unsafe { (Slab::slots_of(slab), *slab.as_ref().map()) };
        AtHand { slots, map: if self.has_owners { SpanMap::EMPTY } else { map } }
    }

    /// Spans can have owners from now on: whose one is, the other ways to release an object ask.
    pub(super) fn expect_owners(&mut self) {
        if !self.has_owners {
            self.has_owners = true;
            self.set_home(self.home);
        }
    }

    /// Takes objects at random, and only the slow way, from now on.
    pub(super) fn take_at_random(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.set_home(self.home);
        self.for_each_heap(|pool, heap| {
            let start = pool.heaps.get(heap).start() as u64;
            pool.heaps.get_mut(heap).set_dice(seed ^ start);
        });
    }

    pub(super) fn drain_heap(&mut self, address: usize) -> Result<(), Error> {
        let heap = self.heap_holding(address)?;
        self.heaps.get_mut(heap).draining = true;
        self.leave_home(heap);
        self.on_heap(heap, Heap::settle);
        Ok(())
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

    /// Allocates an object from a span of its class that has room, in the home heap.
    #[inline]
    pub(super) fn alloc_object(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let home = self.home?;
        self.heaps.get_mut(home).alloc_object(id)
    }

    /// Allocates an object when [`Inner::alloc_object`] found none, from a new span in the home heap.
    pub(super) fn alloc_from_new(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let budget = self.budget();
        self.on_heap(self.home?, |heap| heap.alloc_from_new(id, budget))
    }

    /// Takes the object for `size` bytes that the home heap has at hand.
    ///
    /// # Safety
    /// `size` is no more than [`MAX_OBJECT`](crate::slab::MAX_OBJECT).
    #[inline(always)]
    pub(super) unsafe fn alloc_at_hand(&self, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the slots are static, or live as long as their heap, which is one of the pool's (P3). The size is
        // the caller's promise.
        unsafe { self.at_hand.slots.as_ref().holding(size) }.alloc()
    }

    /// Releases the object at `address`, if the home heap has it at hand. Says whether
    /// [`Inner::after_release`] has something to do.
    #[inline(always)]
    pub(super) fn release_at_hand(&self, address: usize) -> Result<bool, Refused> {
        let span = self.at_hand.map.holding(address).ok_or(Refused)?;
        // SAFETY: the map has a descriptor for every granule of its heap, which is one of the pool's (P3).
        unsafe { span.as_ref() }.release(address)
    }

    /// The countdown has ended of the span that `address`, in the home heap, was just released of.
    pub(super) fn after_release(&mut self, address: usize) {
        let Some(home) = self.home else { return };
        let granules = self.heaps.get_mut(home).after_release(address);
        if granules > 0 {
            self.gained_granules(home, granules);
        }
    }

    /// Bytes that may still be taken from the heaps.
    fn budget(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Allocates from any heap.
    pub(super) fn alloc(&mut self, request: Request) -> Option<Fresh> {
        let home = self.home?;
        let budget = self.budget();
        if let Some(block) = self.on_heap(home, |heap| heap.alloc(request, budget)) {
            return Some(block);
        }
        let grow_and_alloc: ServeFn = |heap, request, budget| {
            if !heap.grow(request, budget) {
                return None;
            }
            heap.alloc(request, budget).or_else(|| heap.alloc_last(request, budget))
        };
        self.try_all_but(Some(home), request, Heap::alloc)
            .or_else(|| self.try_all_but(None, request, grow_and_alloc))
            .or_else(|| {
                self.settle();
                self.try_all_but(None, request, Heap::alloc)
            })
            .or_else(|| self.try_all_but(None, request, Heap::alloc_last))
    }

    /// Has `serve` try the heaps that don't drain, in the order they were added, but for one. The first that
    /// can becomes the home heap.
    fn try_all_but(
        &mut self,
        left_out: Option<NonNull<Heap>>,
        request: Request,
        serve: ServeFn,
    ) -> Option<Fresh> {
        let mut at = self.heaps.after(None);
        while let Some(heap) = at {
            if at != left_out
                && let Some(block) = self.ask(heap, |heap, budget| serve(heap, request, budget))
            {
                return Some(block);
            }
            at = self.heaps.after(at);
        }
        None
    }

    /// What the home heap answers, or else the first of all that answers something.
    pub(super) fn first_heap_that<T>(
        &mut self,
        mut serve: impl FnMut(&mut Heap, usize) -> Option<T>,
    ) -> Option<T> {
        let mut at = self.home;
        let mut result = self.ask(at?, &mut serve);
        at = self.heaps.after(None);
        while let Some(heap) = at
            && result.is_none()
        {
            result = self.ask(heap, &mut serve);
            at = self.heaps.after(at);
        }
        result
    }

    /// Has a heap serve something from the bytes it is given, unless it drains; if it can, it becomes the
    /// home heap.
    fn ask<T>(
        &mut self,
        heap: NonNull<Heap>,
        serve: impl FnOnce(&mut Heap, usize) -> Option<T>,
    ) -> Option<T> {
        if self.heaps.get(heap).draining {
            return None;
        }
        let budget = self.budget();
        let result = self.on_heap(heap, |heap| serve(heap, budget))?;
        if self.home != Some(heap) {
            self.set_home(Some(heap));
        }
        Some(result)
    }

    /// Merges all that can be merged in every heap.
    fn settle(&mut self) {
        self.for_each_heap(|pool, heap| pool.on_heap(heap, Heap::settle));
    }

    /// Why [`Inner::alloc`] found nothing.
    pub(super) fn refusal(&self, request: Request) -> Error {
        let Request { size, .. } = request;
        let heaps = self.heaps.iter().map(|heap| self.heaps.get(heap));
        let serving = heaps.filter(|heap| !heap.draining);
        // Where no heap could ever serve it, a new one would take the size at least.
        let least = serving.filter_map(|heap| heap.least_bytes(request)).min().unwrap_or(size);
        if least > self.budget() {
            return Error::LimitReached { size, used: self.used, limit: self.limit };
        }
        Error::OutOfMemory { size }
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

    /// Gives back what can be given back of a live block that holds `size` bytes where it is.
    pub(super) fn shrink(&mut self, heap: NonNull<Heap>, live: Live, size: usize) {
        self.on_heap(heap, |heap| heap.shrink(live, size));
        self.purge_if_worthwhile(heap);
    }

    fn purge_if_worthwhile(&mut self, heap: NonNull<Heap>) {
        self.heaps.get_mut(heap).purge_if_worthwhile(self.used);
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

    pub(super) fn set_limit(&mut self, bytes: Option<usize>) {
        self.limit = bytes.unwrap_or(NO_LIMIT);
    }

    pub(super) fn set_low_memory(
        &mut self,
        threshold: usize,
        callback: Option<Callback<LowMemoryFn<R>>>,
    ) {
        self.low_memory = callback;
        self.low_memory_threshold = threshold;
        self.low_memory_armed = true;
    }

    fn rearm_low_memory(&mut self) {
        if self.free_bytes() >= self.low_memory_threshold {
            self.low_memory_armed = true;
        }
    }

    /// What to call because free bytes have fallen below the threshold.
    pub(super) fn low_memory_due(&mut self) -> Option<(Callback<LowMemoryFn<R>>, usize)> {
        let free = self.free_bytes();
        if free >= self.low_memory_threshold || !self.low_memory_armed {
            return None;
        }
        self.low_memory_armed = false;
        self.low_memory.map(|callback| (callback, free))
    }

    pub(super) fn trim(&mut self) -> usize {
        self.settle();
        let mut bytes = 0;
        self.for_each_heap(|pool, heap| bytes += pool.heaps.get_mut(heap).purge());
        bytes
    }

    pub(super) fn begin_decay(&mut self) {
        self.for_each_heap(|pool, heap| pool.heaps.get_mut(heap).begin_decay());
    }

    /// Purges some more of what this round is to. Says whether there is more.
    pub(super) fn decay(&mut self) -> bool {
        let mut more = false;
        self.for_each_heap(|pool, heap| more |= pool.heaps.get_mut(heap).decay());
        more
    }

    /// Free bytes that could be purged.
    pub(super) fn purgeable(&self) -> usize {
        self.heaps.iter().map(|heap| self.heaps.get(heap).purgeable()).sum()
    }

    /// Whether P3 holds.
    pub(super) fn home_is_right(&self) -> bool {
        if self.at_hand != self.at_hand_of(self.home) {
            return false;
        }
        let serves = |heap: NonNull<Heap>| !self.heaps.get(heap).draining;
        match self.home {
            Some(home) => self.heaps.iter().any(|heap| heap == home) && serves(home),
            None => !self.heaps.iter().any(serves),
        }
    }
}
