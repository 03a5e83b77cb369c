//! Notes of stashed runs, over every interleaving of their steps that loom finds.
//!
//! The source is the library's own. Its atomics are in order here, for loom lets a swap read what a store of another
//! thread has replaced.

use note::Note;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

mod atomic {
    use loom::sync::Mutex;
    use std::sync::atomic::Ordering;

    pub(super) struct AtomicU32(Mutex<u32>);

    impl AtomicU32 {
        pub(super) fn new(value: u32) -> AtomicU32 {
            AtomicU32(Mutex::new(value))
        }

        pub(super) fn load(&self, _: Ordering) -> u32 {
            *self.0.lock().unwrap()
        }

        pub(super) fn store(&self, value: u32, _: Ordering) {
            *self.0.lock().unwrap() = value;
        }

        pub(super) fn swap(&self, value: u32, _: Ordering) -> u32 {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }

        pub(super) fn compare_exchange(
            &self,
            from: u32,
            to: u32,
            _: Ordering,
            _: Ordering,
        ) -> Result<u32, u32> {
            let mut value = self.0.lock().unwrap();
            if *value != from {
                return Err(*value);
            }
            Ok(std::mem::replace(&mut *value, to))
        }
    }
}

#[path = "../src/pool/stash/note.rs"]
mod note;

/// What stands for the tags of two runs: whether they are stashed. Who finds one that is makes it another's.
#[derive(Clone)]
struct Runs(Arc<[AtomicBool; 2]>);

impl Runs {
    fn take(&self, noted: Option<u32>) {
        if let Some(run) = noted {
            self.0[run as usize].store(false, Relaxed);
        }
    }

    fn stash(&self, run: u32, note: &Note) {
        self.0[run as usize].store(true, Relaxed);
        note.write(run);
    }
}

/// The stash's thread takes a run, and stashes another, while the pool does something to the note.
fn no_run_is_lost(pool: fn(&Note) -> Option<u32>) {
    loom::model(move || {
        let runs = Runs(Arc::new([false, false].map(AtomicBool::new)));
        let note = Arc::new(Note(atomic::AtomicU32::new(0)));
        runs.stash(0, &note);
        let owner = {
            let (runs, note) = (runs.clone(), note.clone());
            loom::thread::spawn(move || {
                runs.take(note.take());
                runs.stash(1, &note);
            })
        };
        runs.take(pool(&note));
        runs.take(pool(&note));
        owner.join().unwrap();
        assert_eq!(runs.0[1].load(Relaxed), !note.is_empty());
        runs.take(note.take_away());
        assert!(runs.0.iter().all(|stashed| !stashed.load(Relaxed)));
        assert!(note.is_empty());
    });
}

#[test]
fn no_run_is_lost_whose_note_is_taken_away() {
    no_run_is_lost(Note::take_away);
}

#[test]
fn no_run_is_lost_whose_note_was_seen_before() {
    no_run_is_lost(Note::take_away_if_seen);
}
