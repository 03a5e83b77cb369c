//! What is done when the program ends.
//!
//! `exit` may be called by a signal handler that has interrupted this library, and has a lock that is never released
//! then. So nothing here waits for more than a moment, and does without what can't be had by then.

use super::hardened;
use crate::error::Error;
use crate::os;
use crate::pool::{PoolStats, Wait};
use crate::system::default_pool;
use core::cell::Cell;

/// Does something that waits for locks as long as it is told to: for a moment in all.
fn for_a_moment<T>(f: impl FnOnce(Wait<'_>) -> T) -> T {
    let is_over = Cell::new(false);
    f(&|round| {
        let goes_on = !is_over.get() && os::wait_a_while(round);
        is_over.set(!goes_on);
        goes_on
    })
}

/// What something wrote beside a live block of the pool behind `malloc`, and so on, as far as that can be looked at.
pub fn first_wound() -> Option<Error> {
    for_a_moment(hardened::first_wound)
}

/// The statistics of the pool behind `malloc`, if they can be had.
pub fn last_stats() -> Option<PoolStats> {
    for_a_moment(|wait| default_pool().stats_while(wait))
}
