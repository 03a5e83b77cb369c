//! A pointer that the pool refuses: released before, in the middle of a block, or never ours.
//!
//! The pool has changed nothing, so that going on is possible. Aborting is the default all the same: the
//! program believes something about its memory that is not so, and its next write may hit somebody else's.

use crate::settings::{OnMisuse, on_misuse};
use crate::text::say;
use crate::traces;
use core::ffi::c_int;
use core::fmt::Arguments;
use core::ptr::{NonNull, null_mut};
use heapmaster::{Error, cache};

/// Reports that `function` was called with `block`, and aborts unless the settings say otherwise.
///
/// Keeps `errno`.
#[cold]
#[inline(never)]
pub(crate) fn refused(function: &str, block: NonNull<u8>, error: &Error) {
    // Whether it is one has just been judged.
    if let Error::OriginMismatch { .. } = error {
        cache::count_misuse();
    }
    report(format_args!("{function}({block:p}): {error}"), error, || ());
}

/// Reports what was found in a call that had nothing to do with it: a block that was released twice, by two
/// threads, or one that was written to after its release.
#[cold]
pub(crate) fn found_later(error: &Error) {
    report(format_args!("found later: {error}"), error, || ());
}

/// Reports what was found when the program ended.
#[cold]
pub(crate) fn found_at_exit(error: &Error) {
    report(format_args!("found at exit: {error}"), error, write_output);
}

/// Writes what the program has buffered of its standard output, as `exit` would do if it came to that, before an abort.
/// Not if another thread has the stream: it may have it for ever. Nor if the program has put a stream of its own in the
/// place of libc's: that may be gone, or be what was written over.
fn write_output() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
        #[link_name = "_IO_2_1_stdout_"]
        static mut OF_LIBC: libc::FILE;
        fn ftrylockfile(stream: *mut libc::FILE) -> c_int;
        fn fflush_unlocked(stream: *mut libc::FILE) -> c_int;
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    // SAFETY: the stream is libc's own, which lives as long as the process. What ends the process, or the thread, because
    // of the writing is kept from it: no unwinding passes here, and the abort is to come.
    unsafe {
        if stdout != &raw mut OF_LIBC || ftrylockfile(stdout) != 0 {
            return;
        }
        let mut sigpipe = core::mem::zeroed();
        libc::sigaddset(&mut sigpipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe, null_mut());
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut 0);
        fflush_unlocked(stdout);
    }
}

/// Says what was found; if the settings want an abort, does what is to be done `last` and aborts.
fn report(what: Arguments<'_>, error: &Error, last: fn()) {
    let reaction = on_misuse();
    if reaction == OnMisuse::Ignore {
        return;
    }
    // SAFETY: it has no preconditions.
    let thread = unsafe { libc::gettid() };
    say(format_args!("{what} (thread {thread})"));
    if let Some(record) = error.misused_pointer().and_then(cache::record_of) {
        traces::say_record(&record);
    }
    if reaction == OnMisuse::Abort {
        last();
        // SAFETY: no lock is held, and a handler of SIGABRT may do what it likes.
        unsafe { libc::abort() };
    }
}
