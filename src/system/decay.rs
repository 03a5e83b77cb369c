//! Decay: free pages go back to the system after a while, by a thread that lives as long as there are some.
//!
//! A round comes every [`TICK`] and purges what has been free since the one before, so pages that are used
//! again soon stay, and those of a program that does nothing are back after two rounds. The thread starts with a
//! release that leaves [`WORTH`] bytes free, and ends when there are fewer.
//!
//! It holds the pool's lock for a few dozen system calls at a time, and shares nothing else with the
//! program. While it lives a process has one thread more, which libc does not know: see `os::thread`.
//!
//! The state is changed under the default pool's lock, but for the first time: so between the last look of a
//! thread that ends and its end there is no release that would have started another.

use super::default_pool;
use crate::os::thread;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Milliseconds between two rounds.
const TICK: u64 = 400;

/// Free bytes that are worth a thread.
const WORTH: usize = 1 << 20;

/// Nobody asked for decay, or the system gives no thread.
const OFF: u8 = 0;
const IDLE: u8 = 1;
const RUNNING: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(OFF);

/// Lets the free pages of the default pool decay from now on.
///
/// To be called once, when the process has a single thread.
pub fn enable() {
    STATE.store(IDLE, Relaxed);
}

/// So many bytes could be purged. Says whether they will be soon. Under the default pool's lock.
pub(super) fn notice(purgeable: usize) -> bool {
    if purgeable >= WORTH && STATE.load(Relaxed) == IDLE {
        STATE.store(if thread::start(run) { RUNNING } else { OFF }, Relaxed);
    }
    STATE.load(Relaxed) != OFF
}

/// The thread was left behind in the parent. Under the default pool's lock, or with no other thread.
pub(crate) fn after_fork_in_child() {
    if STATE.load(Relaxed) == RUNNING {
        STATE.store(IDLE, Relaxed);
    }
}

extern "C" fn run() {
    let pool = default_pool();
    let is_done = |purgeable| {
        let done = purgeable < WORTH;
        if done {
            STATE.store(IDLE, Relaxed);
        }
        done
    };
    loop {
        thread::sleep(TICK);
        pool.begin_decay();
        while pool.decay() {
            // Others get the lock.
            thread::sleep(0);
        }
        if pool.end_decay(is_done) {
            return;
        }
    }
}
