//! A pointer that the pool refuses: released before, in the middle of a block, or never ours.
//!
//! The pool has changed nothing, so that going on is possible. Aborting is the default all the same: the
//! program believes something about its memory that is not so, and its next write may hit somebody else's.

use crate::settings::{OnMisuse, on_misuse};
use crate::text::say;
use core::ptr::NonNull;
use heapmaster::Error;

/// Reports that `function` was called with `block`, and aborts unless the settings say otherwise.
///
/// Keeps `errno`.
#[cold]
#[inline(never)]
pub(crate) fn refused(function: &str, block: NonNull<u8>, error: &Error) {
    let reaction = on_misuse();
    if reaction == OnMisuse::Ignore {
        return;
    }
    say(format_args!("{function}({block:p}): {error}"));
    if reaction == OnMisuse::Abort {
        // SAFETY: no lock is held, and a handler of SIGABRT may do what it likes.
        unsafe { libc::abort() };
    }
}

/// Reports a block that was released twice, by two threads, and found out later.
#[cold]
pub(crate) fn found_later(error: &Error) {
    let block = error.misused_pointer().and_then(|pointer| NonNull::new(pointer as *mut u8));
    refused("free", block.unwrap_or(NonNull::dangling()), error);
}
