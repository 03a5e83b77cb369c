//! The bytes of the map, and how runs change hands by them without a lock.
//!
//! Under the lock of the heap alone all bytes change but those of the heads of runs. Who releases a run may *stash* it,
//! which makes its tag `Stashed`; who wants one *takes* it, which makes it `Run` again. Under the lock a run is
//! *claimed* before it becomes free or another size, which makes its tag `Inside`, of which nobody else makes anything.
//! Each is one compare-and-swap of the byte: of several threads one has the run.
//!
//! Orderings: each swap acquires and releases, so that what a thread did to a run comes before what its next user
//! does. Other reads are relaxed: who looks at a block of its own knows its tag from when it got it.

// Whose they are says the module above: the models of `tests/models.rs` bring their own.
use super::atomic::AtomicU8;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};

/// A byte of the map.
#[repr(transparent)]
pub(super) struct TagByte(pub(super) AtomicU8);

impl TagByte {
    #[inline(always)]
    pub(super) fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }

    /// Under the lock.
    #[inline(always)]
    pub(super) fn set(&self, byte: u8) {
        self.0.store(byte, Relaxed);
    }

    /// Makes it another one, unless another thread has just done so.
    #[inline(always)]
    pub(super) fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, AcqRel, Relaxed).is_ok()
    }
}
