//! Notes of where stashed runs are.
//!
//! A stash's thread writes a note after it has stashed the run, and takes it when it wants the run. Whose the run is
//! says its tag alone, so a note that is out of date, or a second one, does no harm. A run without a note would be
//! lost: so other threads take notes away by swaps, which return what the stash's thread wrote last.
//!
//! Orderings: writing a note releases and taking it away acquires, so that who finds the note finds the tag.

// Whose they are says the module above: the models of `tests/models_of_notes.rs` bring their own.
use super::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// In a note: somebody has seen it.
const SEEN: u32 = 1 << 31;

/// Where a run is: one more than its granule, or 0.
pub(super) struct Note(pub(super) AtomicU32);

impl Note {
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    fn granule(note: u32) -> Option<u32> {
        (note & !SEEN).checked_sub(1)
    }

    /// By the stash's thread, which alone writes anything into an empty one.
    pub(super) fn write(&self, granule: u32) {
        self.0.store(granule + 1, Release);
    }

    /// What it says, which it does not from now on. By the stash's thread.
    pub(super) fn take(&self) -> Option<u32> {
        let granule = Note::granule(self.0.load(Relaxed))?;
        self.0.store(0, Relaxed);
        Some(granule)
    }

    /// The same, by any thread.
    pub(super) fn take_away(&self) -> Option<u32> {
        if self.is_empty() { None } else { Note::granule(self.0.swap(0, Acquire)) }
    }

    /// The same, if it was seen before; else it is seen now.
    pub(super) fn take_away_if_seen(&self) -> Option<u32> {
        let note = self.0.load(Relaxed);
        let next = if note & SEEN == 0 { note | SEEN } else { 0 };
        let taken = note != 0 && self.0.compare_exchange(note, next, Acquire, Relaxed).is_ok();
        Note::granule(note).filter(|_| taken && next == 0)
    }
}
