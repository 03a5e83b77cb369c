//! Which heap serves a request: the home heap, of which objects are at hand, or else another, which is the home from
//! then on (P3).

use super::Inner;
use crate::error::Error;
use crate::pool::heap::{Fresh, Heap, Request};
use crate::slab::{ClassId, Refused, Slab, Slots, SpanMap};
use core::ptr::NonNull;
use spin::RelaxStrategy;

/// A way in which a heap may serve a request from a number of bytes.
type ServeFn = fn(&mut Heap, Request, usize) -> Option<Fresh>;

/// What is allocated and released at once.
#[derive(PartialEq)]
pub(super) struct AtHand {
    slots: NonNull<Slots>,
    map: SpanMap,
}

impl AtHand {
    pub(super) const NOTHING: AtHand = AtHand { slots: Slots::none(), map: SpanMap::EMPTY };
}

impl<R: RelaxStrategy> Inner<R> {
    /// Makes `heap` the home unless there is one.
    pub(super) fn need_home(&mut self, heap: NonNull<Heap>) {
        if self.home.is_none() {
            self.set_home(Some(heap));
        }
    }

    /// Finds another home if `heap` is the one (P3).
    pub(super) fn leave_home(&mut self, heap: NonNull<Heap>) {
        if self.home == Some(heap) {
            let other = self.heaps.iter().find(|&other| !self.heaps.get(other).draining);
            self.set_home(other);
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
    pub(in crate::pool) fn expect_owners(&mut self) {
        if !self.has_owners {
            self.has_owners = true;
            self.set_home(self.home);
        }
    }

    /// Takes objects at random, and only the slow way, from now on.
    pub(in crate::pool) fn take_at_random(&mut self, seed: u64) {
        self.seed = Some(seed);
        self.set_home(self.home);
        self.for_each_heap(|pool, heap| {
            let start = pool.heaps.get(heap).start() as u64;
            pool.heaps.get_mut(heap).set_dice(seed ^ start);
        });
    }

    /// Takes the object for `size` bytes that the home heap has at hand.
    ///
    /// # Safety
    /// `size` is no more than [`MAX_OBJECT`](crate::slab::MAX_OBJECT).
    #[inline(always)]
    pub(in crate::pool) unsafe fn alloc_at_hand(&self, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the slots are static, or live as long as their heap, which is one of the pool's (P3). The size is
        // the caller's promise.
        unsafe { self.at_hand.slots.as_ref().holding(size) }.alloc()
    }

    /// Releases the object at `address`, if the home heap has it at hand. Says whether
    /// [`Inner::after_release`] has something to do.
    #[inline(always)]
    pub(in crate::pool) fn release_at_hand(&self, address: usize) -> Result<bool, Refused> {
        let span = self.at_hand.map.holding(address).ok_or(Refused)?;
        // SAFETY: the map has a descriptor for every granule of its heap, which is one of the pool's (P3).
        unsafe { span.as_ref() }.release(address)
    }

    /// The countdown has ended of the span that `address`, in the home heap, was just released of.
    pub(in crate::pool) fn after_release(&mut self, address: usize) {
        let Some(home) = self.home else { return };
        let granules = self.heaps.get_mut(home).after_release(address);
        if granules > 0 {
            self.gained_granules(home, granules);
        }
    }

    /// Allocates an object from a span of its class that has room, in the home heap.
    #[inline]
    pub(in crate::pool) fn alloc_object(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let home = self.home?;
        self.heaps.get_mut(home).alloc_object(id)
    }

    /// Allocates an object when [`Inner::alloc_object`] found none, from a new span in the home heap.
    pub(in crate::pool) fn alloc_from_new(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let budget = self.budget();
        self.on_heap(self.home?, |heap| heap.alloc_from_new(id, budget))
    }

    /// Allocates from any heap.
    pub(in crate::pool) fn alloc(&mut self, request: Request) -> Option<Fresh> {
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
    pub(in crate::pool) fn first_heap_that<T>(
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

    /// Why [`Inner::alloc`] found nothing.
    pub(in crate::pool) fn refusal(&self, request: Request) -> Error {
        let Request { size, .. } = request;
        let heaps = self.heaps.iter().map(|heap| self.heaps.get(heap));
        let serving = heaps.filter(|heap| !heap.draining);
        // Where no heap could ever serve it, a new one would take the size at least.
        let needed = serving.filter_map(|heap| heap.least_bytes(request)).min().unwrap_or(size);
        if needed > self.budget() {
            return Error::LimitReached { size, needed, used: self.used, limit: self.limit };
        }
        Error::OutOfMemory { size }
    }

    /// Whether P3 holds.
    pub(in crate::pool) fn home_is_right(&self) -> bool {
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
