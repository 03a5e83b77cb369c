//! What a program is told when it touches memory that is closed, about a guarded or a sampled block: which block
//! it is, and how far off it was.
//!
//! The handler says so and takes itself away, so that the same access, made again, does what it would have done
//! without us. A program that sets a handler of its own has the signal to itself; one that was started with the signal
//! ignored ignores it, as do the programs that it starts.

use crate::text::say;
use crate::traces;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use heapmaster::cache;

/// Closed pages raise the first on Linux; some machines raise the second.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

unsafe extern "C" {
    /// libc's `sigaction`, by a name that no sanitizer takes, of which some are not ready for calls this early.
    #[link_name = "__sigaction"]
    fn sigaction(
        signal: c_int,
        action: *const libc::sigaction,
        before: *mut libc::sigaction,
    ) -> c_int;
}

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Sets the handler.
pub(crate) fn watch() {
    for signal in SIGNALS {
        if !is_ignored(signal) {
            // On the signal stack of whoever has one.
            act(signal, tell as Handler as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
        }
    }
}

fn is_ignored(signal: c_int) -> bool {
    // SAFETY: zeroes are an action, which libc writes over.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        sigaction(signal, null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Sets what a signal does.
fn act(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: zeroes are an action, and these two fields make it one that the handler is written for. It calls
    // nothing that waits or allocates.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        sigaction(signal, &action, null_mut());
    }
}

extern "C" fn tell(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // By hand, not by SA_RESETHAND: a handler of the program's may have called this one.
    act(signal, libc::SIG_DFL, 0);
    // SAFETY: the kernel hands it to handlers that ask for it.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr()) };
    // SAFETY: they have no preconditions.
    let thread = unsafe { libc::gettid() };
    if code <= 0 {
        // No access, but somebody's `kill`: it comes once more, when this one returns.
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
        return;
    }
    if let Some((fault, record)) = cache::fault_at(address.addr()) {
        say(format_args!("access to {address:p}: {fault} (thread {thread})"));
        if let Some(record) = record {
            traces::say_record(&record);
        }
    }
}
