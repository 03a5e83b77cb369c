//! Forking: only the calling thread lives on in the child. The caches of the others stay as they were at
//! that moment, in the midst of anything; the child never uses them again, but their spans are sound, bit by
//! bit, and go to the pool as objects of them are released.

use super::{Cache, caches, spot, tls};
use crate::sampled;
use crate::system::{self, MemoryPool, default_pool, untouchable_pool};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

/// Takes every lock, so that a fork finds nothing half-way through a change.
pub fn before_fork() {
    core::mem::forget(caches::lock());
    spot::before_fork();
    default_pool().lock_for_fork();
    untouchable_pool().lock_for_fork();
    MemoryPool::lock_registry();
    sampled::before_fork();
}

/// Releases what [`before_fork`] took, in the parent.
///
/// # Safety
/// The calling thread called `before_fork`.
pub unsafe fn after_fork_in_parent() {
    // SAFETY: the caller's promise.
    unsafe {
        sampled::after_fork();
        MemoryPool::unlock_registry();
        untouchable_pool().unlock_after_fork();
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
    // SAFETY: the caller's promise.
    unsafe { after_fork_in_parent() };
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
