//! Forks while other threads use the pool: its locks, and the registry's, are held across them.

use super::{MemoryPool, registry};
use spin::RelaxStrategy;

/// Forking with the pool in use by other threads: for `pthread_atfork`, whose handlers both sides run.
///
/// ```
/// static POOL: heapmaster::MemoryPool = heapmaster::MemoryPool::system();
///
/// POOL.before_fork();
/// // fork()
/// // SAFETY: this thread has called `before_fork`.
/// unsafe { POOL.after_fork() };
/// assert!(POOL.alloc(10).is_ok());
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Takes the pool's locks and the registry's, so that a fork finds neither half-way through a change. Until
    /// [`MemoryPool::after_fork`] nobody, the caller included, can use the pool, or add a heap to another. There is one
    /// registry: called of a second pool meanwhile, this waits until the first is released.
    pub fn before_fork(&self) {
        self.lock_for_fork();
        Self::lock_registry();
    }

    /// Releases what [`MemoryPool::before_fork`] took: in the parent, and in the child.
    ///
    /// # Safety
    /// The calling thread called `before_fork`, or it is the copy of the thread that did.
    pub unsafe fn after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            Self::unlock_registry();
            self.unlock_after_fork();
        }
        // In the child those of other threads don't run. In the parent some more may run at once for it.
        self.forget_callbacks();
    }

    /// In the child of a fork: what ran in the parent's other threads does not run here.
    pub(crate) fn forget_callbacks(&self) {
        self.lock().callbacks = 0;
    }

    /// Whether a thread of the program has one of the pool's locks.
    pub(crate) fn is_in_use(&self) -> bool {
        self.growth.is_the_programs() || self.inner.is_the_programs()
    }

    /// Whether somebody has the registry's lock.
    pub(crate) fn is_registry_locked() -> bool {
        registry::is_locked()
    }

    /// Takes the pool's locks alone.
    pub(crate) fn lock_for_fork(&self) {
        core::mem::forget(self.growth.lock());
        core::mem::forget(self.lock());
    }

    /// Releases what [`MemoryPool::lock_for_fork`] took.
    ///
    /// # Safety
    /// As for [`MemoryPool::after_fork`].
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.inner.force_unlock();
            self.growth.force_unlock();
        }
    }

    /// Takes the lock of the registry, which comes after those of all pools.
    pub(crate) fn lock_registry() {
        registry::lock_for_fork::<R>();
    }

    /// Releases what [`MemoryPool::lock_registry`] took.
    ///
    /// # Safety
    /// As for [`MemoryPool::after_fork`].
    pub(crate) unsafe fn unlock_registry() {
        // SAFETY: the caller's promise.
        unsafe { registry::unlock_after_fork() }
    }
}
