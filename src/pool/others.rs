//! Code of others that a pool calls, where something is half done that nobody could undo: callbacks, and ways to wait.

use spin::RelaxStrategy;

/// Calls what must not unwind. If it does the program ends, with a message of its own.
#[inline(always)]
pub(super) fn without_unwinding<T>(f: impl FnOnce() -> T) -> T {
    struct Unwound;

    impl Drop for Unwound {
        fn drop(&mut self) {
            // The second panic at once, which ends the program.
            panic!("what a pool calls must not unwind");
        }
    }

    let unwound = Unwound;
    let result = f();
    core::mem::forget(unwound);
    result
}

/// Waits the way `R` says.
#[inline(always)]
pub(super) fn relax<R: RelaxStrategy>() {
    without_unwinding(R::relax);
}
