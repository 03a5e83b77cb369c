//! Decay: free pages go back to the system after a while, by a thread that lives as long as there are some.
//!
//! A round comes every [`TICK`] and purges what has been free since the one before, so pages that are used
//! again soon stay, and those of a program that does nothing are back after two rounds, or after four if they are in a
//! thread's stash at first. The thread starts with a release that leaves [`WORTH`] bytes free, or in places of
//! stashes that it will not be told of again, and ends when there are fewer.
//!
//! It holds the pool's lock for a few dozen system calls at a time, and nothing else of
//! ours. While it lives a process has one thread more, which libc does not know: see `os::thread`.
//!
//! The state is changed under the default pool's lock, but for the first time: so no release comes between the
//! last look of a thread that ends and its word that it does.

use super::default_pool;
use crate::os::thread::{self, Stack};
use core::cell::Cell;
use core::time::Duration;

/// Time between two rounds.
const TICK: Duration = Duration::from_millis(400);

/// Free bytes that are worth a thread.
const WORTH: usize = 1 << 20;

/// Whether there is a thread.
#[derive(Clone, Copy)]
enum State {
    /// There will be none: nobody asked for decay, or the system gives no thread.
    Off,
    Idle,
    Running(Stack),
}

/// See the module for who may use it.
struct Decay(Cell<State>);

// SAFETY: it is used under the default pool's lock, but for the first time.
unsafe impl Sync for Decay {}

static DECAY: Decay = Decay(Cell::new(State::Off));

/// Lets the free pages of the default pool decay from now on.
///
/// # Safety
/// The process has a single thread, and this is called once.
pub unsafe fn enable() {
    DECAY.0.set(State::Idle);
}

/// So many bytes could be purged. Says whether they will be soon. Under the default pool's lock.
pub(super) fn notice(purgeable: usize) -> bool {
    if let State::Running(stack) = DECAY.0.get()
        && !stack.is_of_this_process()
    {
        forget(stack);
    }
    if purgeable >= WORTH && matches!(DECAY.0.get(), State::Idle) {
        DECAY.0.set(thread::start(run).map_or(State::Off, State::Running));
    }
    !matches!(DECAY.0.get(), State::Off)
}

/// The thread, if there was one, was left behind in the parent. In the child's only thread.
pub(crate) fn after_fork_in_child() {
    if let State::Running(stack) = DECAY.0.get() {
        forget(stack);
        default_pool().forget_stashes();
    }
}

/// The thread whose stack this is is not in this process.
#[cold]
fn forget(stack: Stack) {
    DECAY.0.set(State::Idle);
    // SAFETY: it has no thread here.
    unsafe { stack.release() };
}

extern "C" fn run() {
    thread::settle();
    let pool = default_pool();
    let is_done = |purgeable| {
        let done = purgeable < WORTH;
        if done {
            DECAY.0.set(State::Idle);
        }
        done
    };
    loop {
        thread::sleep(TICK);
        pool.begin_decay();
        while pool.decay() {
            // Others get the lock.
            thread::sleep(Duration::ZERO);
        }
        if pool.end_decay(is_done) {
            return;
        }
    }
}
