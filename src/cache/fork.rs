//! Forking: only the calling thread lives on in the child. The caches of the others stay as they were at
//! that moment, in the midst of anything; the child never uses them again, but their spans are sound, bit by
//! bit, and go to the pool as objects of them are released.

use super::{Cache, caches, spot, tls};
use crate::sampled;
use crate::system::{self, MemoryPool, default_pool, untouchable_pools};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;

/// Forks under way for which no lock was taken: one inside another, if signals interrupt. Used where there is a single
/// thread.
static WITHOUT_LOCKS: AtomicU32 = AtomicU32::new(0);

/// Takes every lock, so that a fork finds nothing half-way through a change.
///
/// In a program with a single thread, apart from ours, one that a thread of the program has is the caller's own: a signal
/// handler forks that has interrupted us. Nobody would ever release it, so none is taken then, and the child may do what
/// it may in a handler: no more than the handler itself, which does not allocate. If it goes on where the handler
/// returns, it has the locks that were taken there, and waits for ever for what our thread had.
pub fn before_fork(has_single_thread: bool) {
    if has_single_thread && is_in_use() {
        WITHOUT_LOCKS.fetch_add(1, Relaxed);
        return;
    }
    core::mem::forget(caches::lock());
    spot::before_fork();
    default_pool().lock_for_fork();
    untouchable_pools().iter().for_each(MemoryPool::lock_for_fork);
    MemoryPool::lock_registry();
    sampled::before_fork();
}

/// Whether a thread of the program has one of the locks.
fn is_in_use() -> bool {
    caches::is_locked()
        || spot::is_locked()
        || default_pool().is_in_use()
        || untouchable_pools().iter().any(MemoryPool::is_in_use)
        || MemoryPool::is_registry_locked()
        || sampled::is_locked()
}

/// Whether the last fork under way took no locks, which it is no more.
fn went_without_locks() -> bool {
    let one_less = |forks: u32| forks.checked_sub(1);
    WITHOUT_LOCKS.fetch_update(Relaxed, Relaxed, one_less).is_ok()
}

/// Releases what [`before_fork`] took, in the parent.
///
/// # Safety
/// The calling thread called `before_fork`.
pub unsafe fn after_fork_in_parent() {
    if !went_without_locks() {
        // SAFETY: the caller's promise.
        unsafe { unlock() }
    }
}

/// # Safety
/// The calling thread took the locks by [`before_fork`], or is the copy of the one that did.
unsafe fn unlock() {
    // SAFETY: the caller's promise.
    unsafe {
        sampled::after_fork();
        MemoryPool::unlock_registry();
        untouchable_pools().iter().for_each(|pool| pool.unlock_after_fork());
        default_pool().unlock_after_fork();
        spot::after_fork();
        caches::force_unlock();
    }
}

/// Releases what [`before_fork`] took, in the child.
///
/// # Safety
/// The calling thread is the copy of the one that called `before_fork`.
pub unsafe fn after_fork_in_child() {
    if went_without_locks() {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { unlock() };
    default_pool().forget_callbacks();
    system::after_fork_in_child();
    sampled::after_fork_in_child();
    let own: *const Cache = tls::get();
    let mut at = NonNull::new(caches::lock().newest);
    while let Some(cache) = at {
        // SAFETY: caches are never freed.
        let cache = unsafe { cache.as_ref() };
        if !core::ptr::eq(cache, own) {
            // Those without a thread are idle already. The others remain so for ever: nobody takes them over.
            cache.inbox.set_idle(true);
        }
        at = NonNull::new(cache.older.load(Relaxed));
    }
}
