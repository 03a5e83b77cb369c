//! The protocols of remote frees and of runs that change hands, over every interleaving that loom finds.
//!
//! The sources are the library's own. They are compiled here with loom's atomics in place of those of the processor.

use handover::TagByte;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use remote::{Inbox, Noted, Remote, mark, marked, unmarked};
use std::ptr::{from_ref, null_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

mod atomic {
    pub(super) use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence,
    };

    pub(super) fn fence_after_update() {
        fence(std::sync::atomic::Ordering::SeqCst);
    }
}

#[path = "../src/slab/remote.rs"]
#[allow(dead_code, unreachable_pub, reason = "the models use what is lock-free")]
mod remote;

#[path = "../src/buddy/handover.rs"]
#[allow(unreachable_pub, reason = "as above")]
mod handover;

/// A span as others see it, and its owner.
struct Span {
    remote: Remote,
    filled: atomic::AtomicU8,
    owner: atomic::AtomicPtr<Inbox>,
    inbox: Inbox,
    /// What an owner uses without the lock, and others under it when there is no owner.
    countdown: UnsafeCell<u32>,
    /// Stands for the pool's lock; what it guards is the number of objects that the pool has collected.
    pool: Mutex<u32>,
}

// SAFETY: the remote's links are followed by who took them out of the inbox.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    fn new() -> Arc<Span> {
        let span = Arc::new(Span {
            remote: Remote {
                words: [0; 4].map(atomic::AtomicU64::new),
                next: atomic::AtomicPtr::new(null_mut()),
            },
            filled: atomic::AtomicU8::new(0),
            owner: atomic::AtomicPtr::new(null_mut()),
            inbox: Inbox {
                top: atomic::AtomicPtr::new(null_mut()),
                idle: atomic::AtomicBool::new(false),
                posted: atomic::AtomicU32::new(0),
                deserted: atomic::AtomicU32::new(0),
            },
            countdown: UnsafeCell::new(1),
            pool: Mutex::new(0),
        });
        span.owner.store(from_ref(&span.inbox).cast_mut(), Release);
        span
    }

    /// What a thread does that releases an object of another's span.
    fn release(&self, word: usize, bit: u64) {
        match self.remote.note(&self.filled, word, bit) {
            Noted::Twice => panic!("the object was live"),
            Noted::Done => {}
            Noted::First if mark(&self.owner).is_null() => {
                *self.pool.lock().unwrap() += self.collect();
            }
            Noted::First => {
                if self.inbox.post(&self.remote) {
                    let mut pool = self.pool.lock().unwrap();
                    *pool += self.take();
                }
            }
        }
    }

    /// Makes free what was posted.
    fn take(&self) -> u32 {
        let mut objects = 0;
        for posted in self.inbox.take() {
            assert!(std::ptr::eq(posted, &self.remote));
            let (owner, is_marked) = unmarked(self.owner.load(Acquire));
            assert!(is_marked, "what is posted has a mark");
            self.owner.store(owner, Relaxed);
            objects += self.collect();
        }
        objects
    }

    fn collect(&self) -> u32 {
        let mut objects = 0;
        self.remote.collect(&self.filled, |_, bits| objects += bits.count_ones());
        objects
    }
}

#[test]
fn every_object_that_others_release_is_collected_once() {
    loom::model(|| {
        let span = Span::new();
        let releasing = [(0, 1), (0, 2)].map(|(word, bit)| {
            let span = span.clone();
            thread::spawn(move || span.release(word, bit))
        });
        let mut objects = span.take();
        for thread in releasing {
            thread.join().unwrap();
        }
        objects += span.take();
        assert_eq!(objects, 2);
        assert!(span.filled.load(Acquire) == 0);
    });
}

#[test]
fn objects_of_different_words_need_one_posting() {
    loom::model(|| {
        let span = Span::new();
        let releasing = [(0, 1), (3, 1)].map(|(word, bit)| {
            let span = span.clone();
            thread::spawn(move || span.release(word, bit))
        });
        let mut objects = span.take();
        for thread in releasing {
            thread.join().unwrap();
        }
        objects += span.take();
        assert_eq!(objects, 2);
    });
}

#[test]
fn of_two_threads_that_release_one_object_one_is_told() {
    loom::model(|| {
        let span = Span::new();
        let other = {
            let span = span.clone();
            thread::spawn(move || span.remote.note(&span.filled, 1, 4) == Noted::Twice)
        };
        let here = span.remote.note(&span.filled, 1, 4) == Noted::Twice;
        assert!(here != other.join().unwrap());
    });
}

#[test]
fn an_owner_sees_by_the_mark_that_an_object_was_released() {
    loom::model(|| {
        let span = Span::new();
        let other = {
            let span = span.clone();
            thread::spawn(move || span.release(0, 1))
        };
        let collected = span.take();
        other.join().unwrap();
        let (_, is_marked) = unmarked(span.owner.load(Relaxed));
        assert!(collected == 1 || (is_marked && span.remote.is_noted(0, 1)));
    });
}

#[test]
fn what_is_released_while_the_owner_leaves_is_collected_by_one_of_the_two() {
    loom::model(|| {
        let span = Span::new();
        let other = {
            let span = span.clone();
            thread::spawn(move || span.release(0, 1))
        };
        {
            let mut pool = span.pool.lock().unwrap();
            span.inbox.set_idle(true);
            *pool += span.take();
        }
        other.join().unwrap();
        assert_eq!(*span.pool.lock().unwrap(), 1);
    });
}

#[test]
fn a_span_that_changes_hands_keeps_what_was_released_of_it() {
    loom::model(|| {
        let span = Span::new();
        let other = {
            let span = span.clone();
            thread::spawn(move || span.release(2, 8))
        };
        // The owner gives the span to the pool, which gives it to an owner again: the same here.
        {
            let _pool = span.pool.lock().unwrap();
            let inbox = from_ref(&span.inbox).cast_mut();
            span.owner.swap(null_mut(), AcqRel);
            let owes = span.filled.load(Acquire) != 0;
            span.owner.store(if owes { marked(inbox) } else { inbox }, Release);
        }
        other.join().unwrap();
        let mut objects = *span.pool.lock().unwrap();
        for _ in span.inbox.take() {
            objects += span.collect();
        }
        assert_eq!(objects, 1);
    });
}

#[test]
fn what_another_thread_takes_out_for_the_owner_is_collected_by_one_of_the_two() {
    loom::model(|| {
        let span = Span::new();
        let releasing = {
            let span = span.clone();
            thread::spawn(move || {
                span.release(0, 1);
                span.release(0, 2);
                // All of its objects are released: the span is deserted.
                let mut pool = span.pool.lock().unwrap();
                *pool += span.take();
            })
        };
        let mut objects = span.take();
        releasing.join().unwrap();
        objects += span.take() + *span.pool.lock().unwrap();
        assert_eq!(objects, 2);
        assert_eq!(span.filled.load(Acquire), 0);
    });
}

#[test]
fn an_owner_that_comes_back_finds_nobody_at_what_it_owns() {
    loom::model(|| {
        let span = Span::new();
        span.inbox.set_idle(true);
        let other = {
            let span = span.clone();
            thread::spawn(move || {
                assert_eq!(span.remote.note(&span.filled, 0, 1), Noted::First);
                mark(&span.owner);
                if !span.inbox.post(&span.remote) {
                    return;
                }
                let _pool = span.pool.lock().unwrap();
                for _ in span.inbox.take() {
                    if span.inbox.is_idle() {
                        span.owner.store(null_mut(), Release);
                        span.countdown.with_mut(|countdown| {
                            // SAFETY: that nobody else uses it is what the model shows.
                            unsafe { *countdown += 1 }
                        });
                    }
                }
            })
        };
        {
            let _pool = span.pool.lock().unwrap();
            span.inbox.set_idle(false);
        }
        // It has a live object of the span still, which it releases.
        if !unmarked(span.owner.load(Acquire)).0.is_null() {
            // SAFETY: as above.
            span.countdown.with_mut(|countdown| unsafe { *countdown -= 1 });
        }
        other.join().unwrap();
    });
}

#[test]
fn a_span_is_not_given_back_that_somebody_is_about_to_post() {
    loom::model(|| {
        let span = Span::new();
        let other = {
            let span = span.clone();
            thread::spawn(move || {
                assert_eq!(span.remote.note(&span.filled, 0, 1), Noted::First);
                !mark(&span.owner).is_null()
            })
        };
        // The owner has released the object as well, and gives the span to the pool.
        span.owner.store(null_mut(), Release);
        atomic::fence(SeqCst);
        let given_back = span.filled.load(Acquire) == 0;
        let is_posted = other.join().unwrap();
        assert!(!(given_back && is_posted));
    });
}

#[test]
fn nobody_else_takes_a_span_that_its_owner_is_collecting() {
    loom::model(|| {
        let span = Span::new();
        // Of 65 objects, all of which are released when the other thread has done the rest.
        span.release(0, !1);
        let other = {
            let span = span.clone();
            thread::spawn(move || {
                span.release(1, 1);
                span.release(0, 1);
                let mut pool = span.pool.lock().unwrap();
                for _ in span.inbox.take() {
                    if span.remote.has_all(&span.filled, 65) {
                        span.countdown.with_mut(|_| *pool += span.collect());
                    } else {
                        span.inbox.post(&span.remote);
                    }
                }
            })
        };
        let mut objects = 0;
        for _ in span.inbox.take() {
            span.countdown.with_mut(|_| objects += span.collect());
        }
        other.join().unwrap();
        objects += span.take() + *span.pool.lock().unwrap();
        assert_eq!(objects, 65);
    });
}

/// Tags of a run's head.
const INSIDE: u8 = 0;
const RUN: u8 = 1;
const STASHED: u8 = 2;

/// A run, as all see it who may want it.
struct Run {
    head: TagByte,
    /// The bytes of whoever has it.
    bytes: UnsafeCell<u32>,
    /// Stands for the pool's lock.
    pool: Mutex<()>,
}

impl Run {
    fn new(tag: u8) -> Arc<Run> {
        let head = TagByte(atomic::AtomicU8::new(tag));
        Arc::new(Run { head, bytes: UnsafeCell::new(0), pool: Mutex::new(()) })
    }

    /// What the user of a run does, whom loom finds out if there is another one.
    fn use_it(&self) {
        // SAFETY: the run is the caller's alone, which is what is to be shown.
        self.bytes.with_mut(|bytes| unsafe { *bytes += 1 });
    }

    /// A thread whose note says that the run is in its stash, rightly or not.
    fn take_use_and_stash(&self) -> bool {
        let taken = self.head.change(STASHED, RUN);
        if taken {
            self.use_it();
            assert!(self.head.change(RUN, STASHED), "it is not another's to release");
        }
        taken
    }

    /// What the pool does, which makes it another block of somebody else's.
    fn reclaim(&self, from: u8) -> bool {
        let _pool = self.pool.lock().unwrap();
        let claimed = self.head.change(from, INSIDE);
        if claimed {
            self.use_it();
            self.head.set(RUN);
        }
        claimed
    }
}

#[test]
fn of_all_who_want_a_stashed_run_one_at_a_time_has_it() {
    loom::model(|| {
        let run = Run::new(STASHED);
        let threads = [(), ()].map(|()| {
            let run = run.clone();
            thread::spawn(move || run.take_use_and_stash())
        });
        let reclaimed = run.reclaim(STASHED);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(run.head.get(), if reclaimed { RUN } else { STASHED });
    });
}

#[test]
fn of_all_who_release_a_run_one_does() {
    loom::model(|| {
        let run = Run::new(RUN);
        let other = {
            let run = run.clone();
            thread::spawn(move || run.head.change(RUN, STASHED))
        };
        let claimed = {
            let _pool = run.pool.lock().unwrap();
            run.head.change(RUN, INSIDE)
        };
        assert!(claimed != other.join().unwrap());
        assert_eq!(run.head.get(), if claimed { INSIDE } else { STASHED });
    });
}
