//! A thread that libc doesn't know.
//!
//! `pthread_create` is out of the question where this is needed: it allocates, and waits for locks that the
//! caller of `free` may hold, libc itself among them. A thread of our own has none of what libc gives to its
//! threads; its thread-local variables, `errno` included, are those of the thread that started it. So what it
//! runs touches none of them: it makes its system calls by itself.

use super::{commit, page_size, raw, release, reserve};
use core::ptr::{NonNull, from_mut, from_ref};
use core::time::Duration;

/// Bytes of its stack, which has a guard page besides.
const STACK: usize = 32 << 10;

/// What a thread of a program shares with the others. Directories, too: with those of its own it would keep what the
/// program has left, by `chdir` or `chroot`.
const FLAGS: libc::c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

/// A thread's stack, which the thread itself gives back when it ends.
///
/// Its lowest word is not zero, but in a process that is a fork of the one where the thread is: there all of it is.
#[derive(Clone, Copy)]
pub(crate) struct Stack(NonNull<u8>);

impl Stack {
    /// Whether the thread is one of this process, unless it has ended. Also said in a fork if the system can't wipe what
    /// that inherits.
    pub(crate) fn is_of_this_process(self) -> bool {
        // SAFETY: the stack is readable as long as the thread has not ended, and in a fork.
        unsafe { self.mark().read_volatile() != 0 }
    }

    fn mark(self) -> *mut usize {
        // SAFETY: the word lies in the stack, at a page's start.
        unsafe { self.0.add(page_size()).cast().as_ptr() }
    }

    /// Gives it back.
    ///
    /// # Safety
    /// The thread does not exist: the process is a fork of the one where it did.
    pub(crate) unsafe fn release(self) {
        // SAFETY: the caller's promise.
        unsafe { release(self.0, STACK + page_size()) };
    }
}

/// Runs `body` in a thread of its own, which ends with it and takes no signals; `None` if the system refuses.
pub(crate) fn start(body: extern "C" fn()) -> Option<Stack> {
    let size = STACK + page_size();
    let stack = reserve(size).ok()?;
    // SAFETY: it has just been reserved, and the guard is its first page.
    let usable = unsafe { commit(stack.add(page_size()), STACK) };
    if usable {
        let arguments = [stack.addr().get() + page_size(), STACK, libc::MADV_WIPEONFORK as usize];
        // SAFETY: they are pages of the stack, which nobody uses in a fork.
        unsafe {
            raw::call(libc::SYS_madvise, arguments);
            Stack(stack).mark().write(1);
        }
    }
    let all_signals = !0u64;
    let mut before = 0;
    mask_signals(&all_signals, Some(&mut before));
    // SAFETY: the stack is the thread's own, and ends at a page's end.
    let started = usable
        && unsafe {
            let start = stack.addr().get();
            raw::clone(FLAGS.into(), body, start, size, start + size) > 0
        };
    mask_signals(&before, None);
    if !started {
        // SAFETY: nobody uses it.
        unsafe { release(stack, size) };
    }
    started.then_some(Stack(stack))
}

/// Sets which signals the calling thread does not take; libc would not let us have all.
fn mask_signals(blocked: &u64, before: Option<&mut u64>) {
    let before = before.map_or(0, |before| from_mut(before).addr());
    let arguments =
        [libc::SIG_SETMASK as usize, from_ref(blocked).addr(), before, size_of::<u64>()];
    // SAFETY: both point to sets of that size, or to none.
    unsafe { raw::call(libc::SYS_rt_sigprocmask, arguments) };
}

/// Has the calling thread, of our own, not run before the program as a real-time thread would, or never, as one that
/// started it may.
pub(crate) fn settle() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the struct is what the call wants. If the system refuses, all stays as it is.
    unsafe {
        if raw::call(libc::SYS_sched_getscheduler, [0]) != libc::SCHED_OTHER as isize {
            let arguments = [0, libc::SCHED_OTHER as usize, from_ref(&priority).addr()];
            raw::call(libc::SYS_sched_setscheduler, arguments);
        }
    }
}

/// Whether the calling thread is a real-time one.
pub(crate) fn is_real_time() -> bool {
    const REAL_TIME: [libc::c_int; 3] = [libc::SCHED_FIFO, libc::SCHED_RR, libc::SCHED_DEADLINE];
    // SAFETY: it has no preconditions.
    let policy = unsafe { raw::call(libc::SYS_sched_getscheduler, [0]) };
    REAL_TIME.contains(&(policy as libc::c_int & !libc::SCHED_RESET_ON_FORK))
}

/// Makes the calling thread sleep.
pub(crate) fn sleep(time: Duration) {
    let time = libc::timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as libc::c_long,
    };
    // SAFETY: it points to a time, and what is left of it is not asked for.
    unsafe { raw::call(libc::SYS_nanosleep, [from_ref(&time).addr(), 0]) };
}
