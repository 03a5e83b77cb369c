//! Memory errors that are found later than in the call that made them.

use crate::error::Error;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What is told of memory errors that are found when there is nobody to tell: in a call that succeeds.
pub type FoundFn = fn(&Error);

static ON_FOUND: AtomicUsize = AtomicUsize::new(0);

/// Sets what is called with an error that is found later than in the call that made it. No lock is held while it
/// runs.
pub fn set_found_handler(handler: FoundFn) {
    ON_FOUND.store(handler as usize, Relaxed);
}

/// The same, unless there is a handler.
pub(crate) fn set_found_handler_if_none(handler: FoundFn) {
    let _ = ON_FOUND.compare_exchange(0, handler as usize, Relaxed, Relaxed);
}

/// Tells of an error that was found in a call that succeeds.
#[cold]
pub(crate) fn found(error: &Error) {
    let handler = ON_FOUND.load(Relaxed);
    if handler != 0 {
        // SAFETY: it was stored as one.
        let handler = unsafe { core::mem::transmute::<usize, FoundFn>(handler) };
        handler(error);
    }
}
