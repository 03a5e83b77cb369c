//! Remote frees: objects released by threads that don't own their span.
//!
//! ```text
//! owner's inbox   top ──> remote ──next──> remote ──next──> (none)
//!                           │ filled   0 0 1 0      the words that have bits
//!                           │ words    w w w w      a bit an object, set by who released it
//! ```
//! Whoever releases an object of another's span sets its bit in the span's [`Remote`], then the word's bit in
//! `filled`, and whoever finds that one 0 *posts* the span to its owner's [`Inbox`]. The owner, when it runs
//! out of objects, takes all that was posted and collects the bits.
//!
//! Invariants:
//! - M1: a span is in at most one inbox, once: it is posted by the thread that makes `filled` not 0, and
//!   nobody collects a span that was not taken out of an inbox, but for that thread itself.
//! - M2: a span with an uncollected bit is in use: its object is still live to the owner, or two threads have released
//!   it, and the pool keeps the span until that is collected. So the thread that has to post a span may use it until
//!   it has.
//! - M4: `filled` is emptied by who collects alone. So the descriptor of a span that was given back between two releases
//!   of its last object is not used for another one until the thread that noted the second has come for it.
//! - M3: a span that is or was posted, and not collected, has a marked `owner`, from before it is posted. An
//!   owner's own release compares `owner` with itself, so the mark sends it to the slow path, which sees
//!   whether the object was released already.
//!
//! Orderings: setting bits releases, and collecting acquires, so that what a thread did to an object comes
//! before what its next user does. Whether an owner has left, and whether its inbox is empty, are asked by two
//! threads that each write one of the two and read the other: there a sequentially consistent fence stands
//! between. So it is with the owner that the pool takes away from a span before it looks for notes, and who notes looks
//! at afterwards. The pool's lock guards the changes of an owner.

// Whose they are says the module above: the models of `tests/models.rs` bring their own.
use super::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, fence, fence_after_update,
};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// Words of a span.
const WORDS: usize = 4;

/// Bits of a word.
const BITS: usize = u64::BITS as usize;

/// What others have released of a span. Zeroes say that it is nothing.
///
/// Beside it comes `filled`, of which bit `w` says that `words[w]` has a bit that is not collected.
#[repr(C)]
pub(crate) struct Remote {
    pub(super) words: [AtomicU64; WORDS],
    /// The remote posted before this one.
    pub(super) next: AtomicPtr<Remote>,
}

/// What became of a remote free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// The object's bit was set already.
    Twice,
    /// The owner will see it.
    Done,
    /// The owner has to be told: the span must be posted.
    First,
}

impl Remote {
    /// Notes that the object that `bit` of `word` stands for is released.
    #[inline(always)]
    pub(crate) fn note(&self, filled: &AtomicU8, word: usize, bit: u64) -> Noted {
        let before = self.words[word].fetch_or(bit, AcqRel);
        if before & bit != 0 {
            return Noted::Twice;
        }
        // If it was not 0 its bit of `filled` is set, or will be by the thread that found it 0, which then
        // posts the span.
        if before == 0 && filled.fetch_or(1 << word, AcqRel) == 0 {
            return Noted::First;
        }
        Noted::Done
    }

    /// Whether the object that `bit` of `word` stands for was released and not collected.
    pub(crate) fn is_noted(&self, word: usize, bit: u64) -> bool {
        self.words[word].load(Acquire) & bit != 0
    }

    /// Number of objects released and not collected.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.load(Relaxed).count_ones() as usize).sum()
    }

    /// Whether all of so many objects are released, and nobody is collecting them: who does has emptied `filled`, and
    /// a word is not filled again before its bits are taken.
    pub(crate) fn has_all(&self, filled: &AtomicU8, objects: usize) -> bool {
        filled.load(Acquire).count_ones() as usize == objects.div_ceil(BITS)
            && self.words.iter().enumerate().all(|(number, word)| {
                let objects = objects.saturating_sub(number * BITS).min(BITS);
                word.load(Acquire).count_ones() as usize == objects
            })
    }

    /// Calls `take` with each word that has bits, and its bits, and forgets them. For a span that was taken out
    /// of an inbox.
    pub(crate) fn collect(&self, filled: &AtomicU8, mut take: impl FnMut(usize, u64)) {
        let mut filled = filled.swap(0, AcqRel);
        while filled != 0 {
            let word = filled.trailing_zeros() as usize;
            filled &= filled - 1;
            take(word, self.words[word].swap(0, AcqRel));
        }
    }
}

/// Where the spans of one owner are posted that others have released objects of.
pub(crate) struct Inbox {
    pub(super) top: AtomicPtr<Remote>,
    /// No thread is the owner at present: who posts sees to it that the inbox is emptied.
    pub(super) idle: AtomicBool,
    /// Spans that were posted since it was last taken from, and those of them that are deserted. Both may be a few
    /// off.
    pub(super) posted: AtomicU32,
    pub(super) deserted: AtomicU32,
}

impl Inbox {
    /// Posts a span. Says whether nobody may come to take it, so that the caller has to.
    pub(crate) fn post(&self, remote: &Remote) -> bool {
        let remote_pointer = core::ptr::from_ref(remote).cast_mut();
        let mut top = self.top.load(Relaxed);
        loop {
            remote.next.store(top, Relaxed);
            match self.top.compare_exchange_weak(top, remote_pointer, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        self.posted.fetch_add(1, Relaxed);
        // Either this sees that the owner has left, or the leaving owner sees the posting.
        fence(SeqCst);
        self.idle.load(Relaxed)
    }

    /// Whether anything was posted.
    #[inline]
    pub(crate) fn has_post(&self) -> bool {
        !self.top.load(Relaxed).is_null()
    }

    /// Counts a deserted span that was posted. Says whether there are so many that the caller should take them out
    /// for the owner: they are some hundred KiB, and one in eight of all that would have to be looked at.
    pub(crate) fn count_deserted(&self) -> bool {
        const WORTH_TAKING: u32 = 32;
        let deserted = self.deserted.fetch_add(1, Relaxed) + 1;
        deserted >= WORTH_TAKING.max(self.posted.load(Relaxed) / 8)
    }

    /// Takes all that was posted, last first.
    pub(crate) fn take(&self) -> Taken {
        self.posted.store(0, Relaxed);
        self.deserted.store(0, Relaxed);
        Taken { at: self.top.swap(null_mut(), Acquire) }
    }

    /// Says that no thread is the owner from now on, or that one is again. Under the pool's lock.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Relaxed);
        fence(SeqCst);
    }

    /// Whether no thread is the owner.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Relaxed)
    }
}

/// Remotes that were taken out of an inbox.
pub(crate) struct Taken {
    at: *mut Remote,
}

impl Iterator for Taken {
    type Item = *mut Remote;

    fn next(&mut self) -> Option<*mut Remote> {
        if self.at.is_null() {
            return None;
        }
        let remote = self.at;
        // Before the caller collects it: then it may be posted again.
        // SAFETY: remotes live as long as the process, or the heap, whose spans are in use (M2).
        self.at = unsafe { (*remote).next.load(Relaxed) };
        Some(remote)
    }
}

/// The lowest bit of a span's `owner`; see M3.
const MARK: usize = 1;

/// The owner itself, and whether it is marked.
#[inline]
pub(crate) fn unmarked(owner: *mut Inbox) -> (*mut Inbox, bool) {
    (owner.map_addr(|address| address & !MARK), owner.addr() & MARK != 0)
}

/// The owner, marked.
pub(crate) fn marked(owner: *mut Inbox) -> *mut Inbox {
    owner.map_addr(|address| address | MARK)
}

/// Marks the owner of a span that is to be posted, and says which it is; null if it is the pool, which has
/// no mark.
pub(crate) fn mark(owner: &AtomicPtr<Inbox>) -> *mut Inbox {
    // Either this sees that the pool has the span, or the pool sees that there are notes.
    fence_after_update();
    let mut now = owner.load(Acquire);
    while !now.is_null() {
        match owner.compare_exchange_weak(now, marked(now), AcqRel, Acquire) {
            Ok(_) => break,
            Err(other) => now = other,
        }
    }
    unmarked(now).0
}
