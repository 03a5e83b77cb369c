//! The pool's lock, which a pool for one thread does without.

use super::others::relax;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use spin::RelaxStrategy;

/// A value behind a spin lock that waits the way `R` says, or, if it is for one thread, behind nothing.
///
/// It is taken by setting a bit, which takes two instructions, with the test; the compare-and-swap of `spin`'s
/// own mutex takes four.
#[repr(C)]
pub(super) struct Lock<T, R> {
    /// [`TAKEN`] while somebody has it, [`BY_OURS`] besides if that is a thread of our own. First, so that its address is
    /// that of the whole.
    taken: AtomicU32,
    single_threaded: bool,
    value: UnsafeCell<T>,
    relax: PhantomData<fn() -> R>,
}

// SAFETY: one thread at a time gets at the value: the one that took the lock, or the only one there is.
unsafe impl<T: Send, R> Sync for Lock<T, R> {}

const TAKEN: u32 = 1;
const BY_OURS: u32 = 2;

/// Looks at a taken lock before its waiter relaxes: longer than it is held, but for by a thread that does not run.
const LOOKS: u32 = 50;

/// Lets some time pass, for the `round`th time in a row, from 0 on; false if it is not worth to wait any longer.
pub(crate) type Wait<'a> = &'a dyn Fn(u32) -> bool;

/// What `try_lock` gets, for as long as `wait` says.
pub(crate) fn try_while<G>(wait: Wait<'_>, mut try_lock: impl FnMut() -> Option<G>) -> Option<G> {
    let mut round = 0;
    loop {
        let got = try_lock();
        if got.is_some() || !wait(round) {
            return got;
        }
        round += 1;
    }
}

/// Access to the value of a [`Lock`] until it is dropped.
pub(super) struct Guard<'lock, T, R> {
    lock: &'lock Lock<T, R>,
}

impl<T, R: RelaxStrategy> Lock<T, R> {
    pub(super) const fn new(value: T, single_threaded: bool) -> Lock<T, R> {
        Lock {
            taken: AtomicU32::new(0),
            single_threaded,
            value: UnsafeCell::new(value),
            relax: PhantomData,
        }
    }

    /// Waits for the lock and takes it.
    #[inline]
    pub(super) fn lock(&self) -> Guard<'_, T, R> {
        if !self.single_threaded && !self.take() {
            self.wait();
        }
        Guard { lock: self }
    }

    /// Waits for the lock and takes it, for a thread of our own, of which the program knows nothing.
    pub(super) fn lock_by_ours(&self) -> Guard<'_, T, R> {
        let take = || self.taken.compare_exchange(0, TAKEN | BY_OURS, Acquire, Relaxed);
        while !self.single_threaded && take().is_err() {
            relax::<R>();
        }
        Guard { lock: self }
    }

    /// Whether a thread of the program has the lock.
    pub(super) fn is_the_programs(&self) -> bool {
        self.taken.load(Relaxed) == TAKEN
    }

    /// Takes the lock if nobody has it.
    #[inline(always)]
    pub(super) fn try_lock(&self) -> Option<Guard<'_, T, R>> {
        if self.single_threaded || self.take() { Some(Guard { lock: self }) } else { None }
    }

    /// Takes the lock if nobody has it, of a value that is not for one thread.
    #[inline(always)]
    pub(super) fn try_lock_shared(&self) -> Option<Guard<'_, T, R>> {
        if self.take() { Some(Guard { lock: self }) } else { None }
    }

    /// A value that is for one thread.
    ///
    /// # Safety
    /// It is.
    #[inline(always)]
    pub(super) unsafe fn unlocked(&self) -> &T {
        // SAFETY: the caller's promise; the thread has no guard while it is here.
        unsafe { &*self.value.get() }
    }

    /// A guard again for one that was forgotten.
    ///
    /// # Safety
    /// The caller took the lock and forgot its guard.
    #[inline]
    pub(super) unsafe fn held(&self) -> Guard<'_, T, R> {
        Guard { lock: self }
    }

    /// Whether nobody had the lock, which the caller has now.
    #[inline(always)]
    fn take(&self) -> bool {
        self.taken.fetch_or(TAKEN, Acquire) & TAKEN == 0
    }

    /// Waits for the lock and takes it.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        while !self.take_soon() {
            relax::<R>();
        }
    }

    /// Waits for the lock, as long as `wait` says, and takes it.
    pub(super) fn lock_while(&self, wait: Wait<'_>) -> Option<Guard<'_, T, R>> {
        try_while(wait, || (self.single_threaded || self.take_soon()).then(|| Guard { lock: self }))
    }

    /// Whether the lock is the caller's, after some looks. Tries only while nobody seems to have it: a try takes the cache
    /// line from whoever has the lock.
    fn take_soon(&self) -> bool {
        (0..LOOKS).any(|_| {
            let taken = self.taken.load(Relaxed) == 0 && self.take();
            if !taken {
                core::hint::spin_loop();
            }
            taken
        })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Releases a lock whose guard was forgotten.
    ///
    /// # Safety
    /// The caller, or the thread that the calling process is a fork of, took the lock and forgot its guard.
    pub(super) unsafe fn force_unlock(&self) {
        self.release();
    }
}

impl<T, R> Lock<T, R> {
    #[inline(always)]
    fn release(&self) {
        self.taken.store(0, Release);
    }
}

impl<T, R: RelaxStrategy> Deref for Guard<'_, T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard stands for the lock, or for the promise that there is one thread.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, R: RelaxStrategy> DerefMut for Guard<'_, T, R> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, R> Drop for Guard<'_, T, R> {
    #[inline]
    fn drop(&mut self) {
        // Nothing changes where it was not taken because there is one thread.
        self.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Waits as tests can on any number of processors.
    struct Yield;

    impl RelaxStrategy for Yield {
        fn relax() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_taken_lock_stays_taken_when_others_try() {
        let lock = Lock::<_, Yield>::new(0, false);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn whoever_waits_for_a_while_goes_without_a_lock_that_stays_taken() {
        let lock = Lock::<_, Yield>::new((), false);
        let guard = lock.lock();
        let rounds = core::cell::Cell::new(0);
        let wait = |round| {
            assert_eq!(rounds.replace(round + 1), round);
            round < 10
        };
        assert!(lock.lock_while(&wait).is_none());
        assert_eq!(rounds.get(), 11);
        drop(guard);
        assert!(lock.lock_while(&|_| false).is_some());
    }

    #[test]
    fn a_lock_that_a_thread_of_ours_has_is_not_the_programs() {
        let lock = Lock::<_, Yield>::new((), false);
        let guard = lock.lock_by_ours();
        assert!(lock.try_lock().is_none() && !lock.is_the_programs());
        drop(guard);
        let guard = lock.lock();
        assert!(lock.is_the_programs());
        drop(guard);
        assert!(!lock.is_the_programs() && lock.try_lock().is_some());
    }

    #[test]
    fn one_thread_at_a_time_changes_the_value() {
        const ROUNDS: u32 = 10_000;
        static LOCK: Lock<u32, Yield> = Lock::new(0, false);
        let add = || (0..ROUNDS).for_each(|_| *LOCK.lock() += 1);
        let threads = [(); 3].map(|()| thread::spawn(add));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*LOCK.lock(), 3 * ROUNDS);
    }

    #[test]
    fn the_lock_of_a_forgotten_guard_can_be_released() {
        let lock = Lock::<_, Yield>::new((), false);
        core::mem::forget(lock.lock());
        assert!(lock.try_lock().is_none());
        // SAFETY: the guard was forgotten.
        unsafe { lock.force_unlock() };
        assert!(lock.try_lock().is_some());
    }
}
