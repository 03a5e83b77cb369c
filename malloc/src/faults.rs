//! What a program is told when it touches memory that is closed, about a guarded or a sampled block: which block
//! it is, and how far off it was.
//!
//! The handler says so and takes itself away, so that the same access, made again, does what it would have done
//! without us. A program that sets a handler of its own has the signal to itself.

use crate::text::say;
use crate::traces;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use heapmaster::cache;

/// Closed pages raise the first on Linux; some machines raise the second.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Sets the handler.
pub(crate) fn watch() {
    // SAFETY: zeroes are an action, and these two fields make it one that calls the handler with an address.
    let action = unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = tell as Handler as usize;
        // Taken away when it is called; on the signal stack of whoever has one.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        action
    };
    for signal in SIGNALS {
        // SAFETY: the handler calls nothing that waits or allocates.
        unsafe { libc::sigaction(signal, &action, null_mut()) };
    }
}

extern "C" fn tell(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel hands it to handlers that ask for it.
    let address = unsafe { (*info).si_addr() };
    if let Some((fault, record)) = cache::fault_at(address.addr()) {
        // SAFETY: it has no preconditions.
        let thread = unsafe { libc::gettid() };
        say(format_args!("access to {address:p}: {fault} (thread {thread})"));
        if let Some(record) = record {
            traces::say_record(&record);
        }
    }
}
