//! What goes back to the system: all that is free, or, by rounds of decay, what has been free for a while.

use super::MemoryPool;
use super::heap::Heap;
use super::inner::Inner;
use crate::armour::Region;
use core::ptr::NonNull;
use spin::RelaxStrategy;

impl<R: RelaxStrategy> Inner<R> {
    pub(super) fn trim(&mut self) -> usize {
        self.empty_stashes();
        self.settle();
        let mut bytes = 0;
        self.for_each_heap(|pool, heap| bytes += pool.heaps.get_mut(heap).purge());
        bytes
    }

    fn begin_decay(&mut self) {
        self.decay_stashes();
        self.settle();
        self.for_each_heap(|pool, heap| pool.heaps.get_mut(heap).begin_decay());
    }

    /// Purges some more of what this round is to. Says whether there is more.
    fn decay(&mut self) -> bool {
        let mut more = false;
        self.for_each_heap(|pool, heap| more |= pool.heaps.get_mut(heap).decay());
        more
    }

    /// Bytes that could be purged, free or in stashes.
    pub(super) fn purgeable(&self) -> usize {
        self.free_purgeable() + self.stashed_bytes()
    }

    pub(super) fn free_purgeable(&self) -> usize {
        self.heaps.iter().map(|heap| self.heaps.get(heap).purgeable()).sum()
    }

    pub(super) fn purge_if_worthwhile(&mut self, heap: NonNull<Heap>) {
        self.heaps.get_mut(heap).purge_if_worthwhile(self.used);
    }
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Gives memory back to the system that heaps got from it and have free; says how many bytes. Cost: a step a
    /// free block, and a call of the system.
    pub fn trim(&self) -> usize {
        if self.has_armours() {
            self.empty_rack();
        }
        self.lock().trim()
    }

    /// Makes a part of a block read as zero, by giving its pages back to the system if it has at least so many bytes
    /// that this is `worth_purging`. The lock is not held meanwhile.
    ///
    /// # Safety
    /// Nobody uses the part.
    pub(super) unsafe fn wipe(&self, part: Region, worth_purging: usize) {
        let backing = if part.len < worth_purging {
            None
        } else {
            let inner = self.lock();
            let heap = inner.find(part.start.addr().get());
            heap.and_then(|heap| inner.heaps.get(heap).backing())
        };
        // SAFETY: the caller's promise.
        unsafe {
            match backing {
                Some(backing) => backing.wipe(part),
                None => part.start.write_bytes(0, part.len),
            }
        }
    }
}

/// Rounds of decay, for a thread of our own.
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Begins a round: it is to purge what has been free since the one before.
    pub(crate) fn begin_decay(&self) {
        self.inner.lock_by_ours().begin_decay();
    }

    /// Purges some more of it; the lock is held for about a millisecond. Says whether there is more.
    pub(crate) fn decay(&self) -> bool {
        self.inner.lock_by_ours().decay()
    }

    /// Calls `is_last`, under the lock, with the bytes that could be purged, free or in stashes. If it says so, who does
    /// the rounds has to be told again of what is put into stashes.
    pub(crate) fn end_decay(&self, is_last: impl FnOnce(usize) -> bool) -> bool {
        let inner = self.inner.lock_by_ours();
        let is_last = is_last(inner.purgeable());
        if is_last {
            inner.forget_stashes();
        }
        is_last
    }

    /// Who did the rounds is no more.
    pub(crate) fn forget_stashes(&self) {
        self.lock().forget_stashes();
    }
}
