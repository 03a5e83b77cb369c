//! The pool's lock, which a pool for one thread does without.

use core::ops::{Deref, DerefMut};
use spin::RelaxStrategy;
use spin::mutex::SpinMutex;

/// A value behind a spin lock that waits the way `R` says, or, if it is for one thread, behind nothing.
pub(super) struct Lock<T, R> {
    mutex: SpinMutex<T, R>,
    single_threaded: bool,
}

/// Access to the value of a [`Lock`] until it is dropped.
pub(super) struct Guard<'lock, T, R> {
    lock: &'lock Lock<T, R>,
}

impl<T, R: RelaxStrategy> Lock<T, R> {
    pub(super) const fn new(value: T, single_threaded: bool) -> Lock<T, R> {
        Lock { mutex: SpinMutex::new(value), single_threaded }
    }

    /// Waits for the lock and takes it.
    #[inline]
    pub(super) fn lock(&self) -> Guard<'_, T, R> {
        if !self.single_threaded {
            match self.mutex.try_lock() {
                Some(guard) => core::mem::forget(guard),
                None => self.wait(),
            }
        }
        Guard { lock: self }
    }

    /// Takes the lock if nobody has it.
    #[inline(always)]
    pub(super) fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        if !self.single_threaded {
            core::mem::forget(self.mutex.try_lock()?);
        }
        Some(Guard { lock: self })
    }

    /// A guard again for one that was forgotten.
    ///
    /// # Safety
    /// The caller took the lock and forgot its guard.
    #[inline]
    pub(super) unsafe fn held(&self) -> Guard<'_, T, R> {
        Guard { lock: self }
    }

    #[cold]
    #[inline(never)]
    fn wait(&self) {
        core::mem::forget(self.mutex.lock());
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut()
    }

    /// Releases a lock whose guard was forgotten.
    ///
    /// # Safety
    /// The caller, or the thread that the calling process is a fork of, took the lock and forgot its guard.
    pub(super) unsafe fn force_unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.mutex.force_unlock() }
    }
}

impl<T, R: RelaxStrategy> Deref for Guard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard stands for the lock, or for the promise that there is one thread.
        unsafe { &*self.lock.mutex.as_mut_ptr() }
    }
}

impl<T, R: RelaxStrategy> DerefMut for Guard<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.mutex.as_mut_ptr() }
    }
}

impl<T, R> Drop for Guard<'_, T, R> {
    #[inline]
    fn drop(&mut self) {
        // Nothing changes where it was not taken because there is one thread.
        // SAFETY: `Lock::lock` took the lock and forgot the mutex's own guard.
        unsafe { self.lock.mutex.force_unlock() }
    }
}
