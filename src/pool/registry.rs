//! All heaps of all pools of the process, but for those in borrowed memory: to tell a pointer of another pool
//! from one of none.
//!
//! Invariant R1: an entry is registered from before its heap hands out a block until after its pool has
//! forgotten the heap. It is alive as long, and used under the registry's lock alone.
//!
//! Lock order: a pool's lock first, then the registry's; no two pools' locks are held at once.

use crate::error::Error;
use core::ptr::NonNull;
use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A heap as the registry knows it; it lies in the heap's metadata, beside the heap.
pub(super) struct Entry {
    next: Option<NonNull<Entry>>,
    start: usize,
    size: usize,
}

impl Entry {
    /// For the heap of `size` bytes at `start`.
    pub(super) fn new(start: usize, size: usize) -> Entry {
        Entry { next: None, start, size }
    }
}

struct Registry {
    first: Option<NonNull<Entry>>,
}

// SAFETY: entries are used under the lock alone (R1), by whichever thread holds it.
unsafe impl Send for Registry {}

static REGISTRY: SpinMutex<Registry> = SpinMutex::new(Registry { first: None });

fn lock<R: RelaxStrategy>() -> SpinMutexGuard<'static, Registry> {
    loop {
        if let Some(guard) = REGISTRY.try_lock() {
            return guard;
        }
        while REGISTRY.is_locked() {
            R::relax();
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
}

/// Checks that the `size` bytes at `start` share no memory with a heap of another pool; they may lie inside a
/// block of one, behind its metadata.
///
/// # Errors
/// `HeapOverlaps`.
pub(super) fn check_apart<R: RelaxStrategy>(start: usize, size: usize) -> Result<(), Error> {
    let mut registry = lock::<R>();
    let end = start + size;
    let mut before = None;
    while let Some(at) = *registry.link(before) {
        let Entry { start: other, size: other_size, .. } = *registry.get(at);
        let apart = end <= other || other + other_size <= start;
        let inside = other < start && end <= other + other_size;
        if !apart && !inside {
            return Err(Error::HeapOverlaps { address: start, size, other, other_size });
        }
        before = Some(at);
    }
    Ok(())
}

/// Registers an entry.
///
/// # Safety
/// R1 holds for it until it is unregistered.
pub(super) unsafe fn register<R: RelaxStrategy>(entry: NonNull<Entry>) {
    let mut registry = lock::<R>();
    let first = registry.first.replace(entry);
    registry.get(entry).next = first;
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
        if address.wrapping_sub(entry.start) < entry.size {
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
