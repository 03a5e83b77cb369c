//! The pool's invariants as code.

use super::MemoryPool;
use super::heap::Heap;
use super::inner::Inner;
use super::lock::Wait;
use super::others::relax;
use crate::buddy::{Broken, Granule, Kind, require};
use crate::error::Error;
use core::ptr::null;
use spin::RelaxStrategy;

impl Heap {
    /// Checks H1 to H4 and the layers below. Cost: a step a granule.
    fn check(&self) -> Result<(), Broken> {
        self.check_layers()?;
        let origin = Granule(0);
        let runs = self.extents().filter(|extent| matches!(extent.kind, Kind::Run | Kind::Stashed));
        let (blocks, granules) = runs.fold((0, 0), |(blocks, granules), extent| {
            (blocks + 1, granules + extent.granules as usize)
        });
        let counts = self.run_counts();
        let counted = (counts.0, counts.1) == (blocks, granules * self.granule());
        require(counted, "H3: the live runs are counted", origin)?;
        require(self.places_are_right(), "H4: noted places are the heap's", origin)?;
        let first = self.address_of(origin).addr().get();
        require(first.is_multiple_of(self.granule()), "H1: granule 0 is aligned", origin)
    }
}

impl<R: RelaxStrategy> Inner<R> {
    fn check(&self) -> Result<(), Error> {
        let (mut capacity, mut used) = (0, 0);
        for heap in self.heaps.iter() {
            let heap = self.heaps.get(heap);
            heap.check().map_err(|Broken { invariant, granule }| {
                let address = heap.address_of(granule).addr().get();
                Error::Corrupted { address, invariant }
            })?;
            capacity += heap.capacity_bytes();
            used += heap.used_bytes();
        }
        let pool = core::ptr::from_ref(self).addr();
        let broken = |invariant| Err(Error::Corrupted { address: pool, invariant });
        if (capacity, used) != (self.capacity, self.used) {
            return broken("P2: the pool's bytes are those of its heaps");
        }
        if !self.heaps.is_consistent() {
            return broken("P1: every heap is found by its address");
        }
        if !self.home_is_right() {
            return broken("P3: the home heap is one of the pool's");
        }
        Ok(())
    }
}

/// Proof.
///
/// ```
/// assert_eq!(heapmaster::default_pool().check(), Ok(()));
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Checks every invariant of every layer. Other threads wait meanwhile. Cost: a step a granule.
    ///
    /// # Errors
    /// `Corrupted`, with the first that does not hold. Of a hardened pool also `Overrun` and `Underrun`, with the
    /// first live block that something wrote beside, and `WrittenAfterRelease`, with the first that waits or is free
    /// and was written to; all of its free memory is read then.
    pub fn check(&self) -> Result<(), Error> {
        self.lock().check()?;
        if !self.has_armours() {
            return Ok(());
        }
        let wait = |_| {
            relax::<R>();
            true
        };
        let written = self.first_wound(&wait).or_else(|| self.first_stain(&wait));
        written.or_else(|| self.first_stain_of_free(null(), &wait)).map_or(Ok(()), Err)
    }

    /// The first live block, of those that wear an armour, that something wrote beside; none if the lock can't be had.
    pub(crate) fn first_wound(&self, wait: Wait<'_>) -> Option<Error> {
        if !self.is_hardened() {
            return self.first_wound_of_some(wait);
        }
        let mut address = 0;
        loop {
            let inner = self.inner.lock_while(wait)?;
            let block = inner.block_from(address)?;
            if let Some(error) = self.wound_of(block) {
                return Some(error);
            }
            address = block.address.addr() + block.size;
        }
    }
}
