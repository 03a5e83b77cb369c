//! A child that can allocate, whatever the other threads of the parent were doing.
//!
//! Only the forking thread lives on in the child. Had another thread held a lock of the pool, it would stay
//! locked there for ever, and what it guards half changed. So the forking thread holds all of them itself.
//!
//! `fork` calls the handlers that prepare in the reverse order of their registration, the others in the same
//! order. We register first of all (see build.rs), so that the handlers of other libraries, which may allocate,
//! run while the pool is unlocked.
//!
//! One lock comes before the pool's: glibc's `fork` takes the lock of the list of all streams after the
//! handlers have run. Another thread may hold that one and want memory, `fflush(NULL)` on a stream that grows
//! for instance. If we held the pool then, each would wait for the other. So we take it ourselves, first: it is
//! recursive, and glibc exports it. glibc's own allocator is safe for the same reason, in the same order.
//!
//! One is out of reach: `fork` also takes the lock of the name service's configuration, and a thread that reads
//! `/etc/nsswitch.conf` at its first look-up wants memory while it holds that.

use crate::text::say;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;
use heapmaster::cache;

// What libc has, null in one that hasn't got it. It is referred to weakly, which Rust has no words
// for, rather than looked up: `dlsym` would load much of the dynamic linker for it.
core::arch::global_asm!(
    ".weak _IO_list_lock",
    ".weak _IO_list_unlock",
    ".weak _IO_list_resetlock",
    ".weak __libc_single_threaded",
    ".pushsection .data.rel.ro.heapmaster_streams, \"aw\", @progbits",
    ".balign 8",
    ".hidden heapmaster_lock_streams",
    ".globl heapmaster_lock_streams",
    "heapmaster_lock_streams: .8byte _IO_list_lock",
    ".hidden heapmaster_unlock_streams",
    ".globl heapmaster_unlock_streams",
    "heapmaster_unlock_streams: .8byte _IO_list_unlock",
    ".hidden heapmaster_reset_streams",
    ".globl heapmaster_reset_streams",
    "heapmaster_reset_streams: .8byte _IO_list_resetlock",
    ".hidden heapmaster_single_threaded",
    ".globl heapmaster_single_threaded",
    "heapmaster_single_threaded: .8byte __libc_single_threaded",
    ".popsection",
);

type StreamsFn = Option<unsafe extern "C" fn()>;

unsafe extern "C" {
    #[link_name = "heapmaster_lock_streams"]
    safe static LOCK_STREAMS: StreamsFn;
    #[link_name = "heapmaster_unlock_streams"]
    safe static UNLOCK_STREAMS: StreamsFn;
    #[link_name = "heapmaster_reset_streams"]
    safe static RESET_STREAMS: StreamsFn;
    /// False, once and for all, from when the program has a second thread, of those that libc knows.
    #[link_name = "heapmaster_single_threaded"]
    safe static SINGLE_THREADED: Option<&'static AtomicU8>;
}

fn call(function: StreamsFn) {
    // All or none: a libc without them (musl) doesn't lock that list in `fork` either.
    let all = [LOCK_STREAMS, UNLOCK_STREAMS, RESET_STREAMS].iter().all(Option::is_some);
    if let Some(function) = function.filter(|_| all) {
        // SAFETY: all three are `void f(void)` in every glibc that exports them.
        unsafe { function() }
    }
}

/// Registers the handlers. Called once, by the constructor.
pub(crate) fn register() {
    // SAFETY: the handlers live as long as the process: the library is never unloaded.
    let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    if refused != 0 {
        say(format_args!("no memory for the fork handlers: a forked child may hang"));
    }
}

unsafe extern "C" fn prepare() {
    call(LOCK_STREAMS);
    cache::before_fork(SINGLE_THREADED.is_some_and(|is_it| is_it.load(Relaxed) != 0));
}

unsafe extern "C" fn parent() {
    // SAFETY: `prepare` ran in this thread, and this is the process it ran in.
    unsafe { cache::after_fork_in_parent() };
    call(UNLOCK_STREAMS);
}

unsafe extern "C" fn child() {
    // SAFETY: `prepare` ran in this thread, of which this is the copy.
    unsafe { cache::after_fork_in_child() };
    // Reset, not unlocked: if there were several threads, glibc has already reset it.
    call(RESET_STREAMS);
}
