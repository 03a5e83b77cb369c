//! All heaps of all pools of the process, but for those in borrowed memory: to tell a pointer of another pool
//! from one of none.
//!
//! Invariants:
//! - R1: an entry is registered from before its heap hands out a block until after its pool has forgotten the heap. It
//!   is alive as long, and used under the registry's lock alone.
//! - R2: of any two registered regions that share memory one lies among the granules of the other.
//!
//! Lock order: a pool's lock first, then the registry's; no two pools' locks are held at once but over a fork.

use super::others::relax;
use crate::error::Error;
use core::ops::Range;
use core::ptr::NonNull;
use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A heap as the registry knows it; it lies in the heap's metadata, beside the heap.
pub(super) struct Entry {
    next: Option<NonNull<Entry>>,
    /// Where the region begins that was handed in: from when it is registered. A handle may lie before the heap.
    start: usize,
    /// The rest of the region.
    heap: Range<usize>,
    /// Where the heap's granules lie in it. What lies beside them is metadata.
    granules: Range<usize>,
}

impl Entry {
    /// Of a heap that lies there, as do its granules.
    pub(super) fn new(heap: Range<usize>, granules: Range<usize>) -> Entry {
        Entry { next: None, start: heap.start, heap, granules }
    }
}

struct Registry {
    first: Option<NonNull<Entry>>,
}

// SAFETY: entries are used under the lock alone (R1), by whichever thread holds it.
unsafe impl Send for Registry {}

static REGISTRY: SpinMutex<Registry> = SpinMutex::new(Registry { first: None });

/// Whether somebody has the lock.
pub(super) fn is_locked() -> bool {
    REGISTRY.is_locked()
}

fn lock<R: RelaxStrategy>() -> SpinMutexGuard<'static, Registry> {
    loop {
        if let Some(guard) = REGISTRY.try_lock() {
            return guard;
        }
        while REGISTRY.is_locked() {
            relax::<R>();
        }
    }
}

impl Registry {
    fn get(&mut self, entry: NonNull<Entry>) -> &mut Entry {
        // SAFETY: it is registered, so alive and ours while the registry is locked (R1).
        unsafe { &mut *entry.as_ptr() }
    }

    /// The link that leads on from `entry`; from `None`, to the first.
    fn link(&mut self, entry: Option<NonNull<Entry>>) -> &mut Option<NonNull<Entry>> {
        match entry {
            None => &mut self.first,
            Some(entry) => &mut self.get(entry).next,
        }
    }

    /// Checks that R2 holds once the `size` bytes at `start` are registered.
    fn check_apart(&mut self, start: usize, size: usize) -> Result<(), Error> {
        let end = start + size;
        let mut before = None;
        while let Some(at) = *self.link(before) {
            let &mut Entry { start: other, ref heap, ref granules, .. } = self.get(at);
            let apart = end <= other || heap.end <= start;
            let inside = granules.start <= start && end <= granules.end;
            if !apart && !inside {
                let other_size = heap.end - other;
                return Err(Error::HeapOverlaps { address: start, size, other, other_size });
            }
            before = Some(at);
        }
        Ok(())
    }
}

/// Makes a heap of the `size` bytes at `start`, and registers the entry that it may have. They share no memory with
/// a heap of another pool, but may lie among the granules of one. Nobody else registers anything until the heap is
/// made, so of two pools that are handed the same memory one gets it.
///
/// # Errors
/// `HeapOverlaps`, and those of `make`.
///
/// # Safety
/// R1 holds for the entry until it is unregistered.
pub(super) unsafe fn enter<R: RelaxStrategy, T>(
    start: usize,
    size: usize,
    make: impl FnOnce() -> Result<(T, Option<NonNull<Entry>>), Error>,
) -> Result<T, Error> {
    let mut registry = lock::<R>();
    registry.check_apart(start, size)?;
    let (heap, entry) = make()?;
    if let Some(entry) = entry {
        let next = registry.first.replace(entry);
        let entry = registry.get(entry);
        (entry.next, entry.start) = (next, start);
    }
    Ok(heap)
}

/// Takes an entry out of the registry, if it is there.
pub(super) fn unregister<R: RelaxStrategy>(entry: NonNull<Entry>) {
    let mut registry = lock::<R>();
    let mut before = None;
    while let Some(at) = *registry.link(before) {
        if at == entry {
            let next = registry.get(entry).next.take();
            *registry.link(before) = next;
            return;
        }
        before = Some(at);
    }
}

/// Whether a heap of any pool holds `address`.
pub(super) fn holds<R: RelaxStrategy>(address: usize) -> bool {
    let mut registry = lock::<R>();
    let mut before = None;
    while let Some(at) = *registry.link(before) {
        let entry = registry.get(at);
        if entry.heap.contains(&address) {
            return true;
        }
        before = Some(at);
    }
    false
}

/// Takes the lock over a fork.
pub(super) fn lock_for_fork<R: RelaxStrategy>() {
    core::mem::forget(lock::<R>());
}

/// Releases the lock that [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread took it, or the thread that the calling process is a fork of.
pub(super) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRY.force_unlock() }
}
