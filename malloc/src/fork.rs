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
use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use heapmaster::cache;

/// A function of libc that may be missing.
///
/// Relaxed: it is stored before the handlers are registered that read it, and libc's lock on their list orders
/// the two.
struct Optional {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

static LOCK_STREAMS: Optional = Optional::new(c"_IO_list_lock");
static UNLOCK_STREAMS: Optional = Optional::new(c"_IO_list_unlock");
static RESET_STREAMS: Optional = Optional::new(c"_IO_list_resetlock");

impl Optional {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(null_mut()) }
    }

    fn look_up(&self) -> *mut c_void {
        // SAFETY: the name is a C string.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) }
    }

    fn call(&self) {
        let address = self.address.load(Relaxed);
        if !address.is_null() {
            // SAFETY: all three are `void f(void)` in every glibc that exports them.
            unsafe { transmute::<*mut c_void, unsafe extern "C" fn()>(address)() };
        }
    }
}

/// Registers the handlers. Called once, by the constructor.
pub(crate) fn register() {
    let streams = [&LOCK_STREAMS, &UNLOCK_STREAMS, &RESET_STREAMS];
    let addresses = streams.map(Optional::look_up);
    // All or none: a libc without them (musl) doesn't lock that list in `fork` either.
    if addresses.iter().all(|address| !address.is_null()) {
        for (function, address) in streams.iter().zip(addresses) {
            function.address.store(address, Relaxed);
        }
    }
    // SAFETY: the handlers live as long as the process: the library is never unloaded.
    let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    if refused != 0 {
        say(format_args!("no memory for the fork handlers: a forked child may hang"));
    }
}

unsafe extern "C" fn prepare() {
    LOCK_STREAMS.call();
    cache::before_fork();
}

unsafe extern "C" fn parent() {
    // SAFETY: `prepare` ran in this thread, and this is the process it ran in.
    unsafe { cache::after_fork_in_parent() };
    UNLOCK_STREAMS.call();
}

unsafe extern "C" fn child() {
    // SAFETY: `prepare` ran in this thread, of which this is the copy.
    unsafe { cache::after_fork_in_child() };
    // Reset, not unlocked: if there were several threads, glibc has already reset it.
    RESET_STREAMS.call();
}
