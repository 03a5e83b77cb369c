//! The system's clocks, in nanoseconds.

use std::mem::MaybeUninit;

/// CPU time of this process so far.
pub fn cpu_time() -> f64 {
    nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID) as f64
}

/// Time since the system started; the same for all processes.
pub fn monotonic() -> f64 {
    nanoseconds(libc::CLOCK_MONOTONIC) as f64
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is good for a write.
    let status = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    assert_eq!(status, 0, "every Linux has this clock");
    // SAFETY: the call has succeeded, so it has written the time.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
