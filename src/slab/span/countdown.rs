//! When the owner of a span has something to do: the countdown of its releases, which begins anew with each state that
//! the owner gives it (S2).

use super::{Span, State};
#[cfg(target_arch = "x86_64")]
use core::mem::offset_of;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Releases after which the owner looks at a current span, to no effect.
const CURRENT: u16 = u16::MAX;

impl Span {
    /// The countdown, and what it started at.
    #[inline(always)]
    fn counts(&self) -> (u16, u16) {
        let counts = self.counts.load(Relaxed);
        (counts as u16, (counts >> 16) as u16)
    }

    #[inline(always)]
    fn set_counts(&self, countdown: u16, started: u16) {
        self.counts.store((started as u32) << 16 | countdown as u32, Relaxed);
    }

    /// Gives the span a state, and begins to count releases anew (S2), with `countdown` of them until the owner has
    /// something to do. Says how many objects the owner released since the last time.
    #[inline]
    pub(super) fn settle_at(&self, state: State, countdown: u16) -> u64 {
        let released = self.released();
        self.set_counts(countdown, countdown);
        // Release: whoever finds it asleep finds all that its owner did to it.
        self.state.store(state as u8, Release);
        released
    }

    /// Gives the span a state that its free objects allow. Says how many objects the owner released since the
    /// last time.
    #[inline]
    pub(crate) fn settle(&self, state: State) -> u64 {
        let countdown = match state {
            State::Current => CURRENT,
            State::Room => self.live() as u16,
            State::Full | State::Unused => 1,
        };
        self.settle_at(state, countdown)
    }

    /// [`Span::settle`] of one of the pool's spans that was full and has more than one object, of which one was
    /// released since.
    #[inline]
    pub(crate) fn settle_with_one_free(&self) -> u64 {
        self.settle_at(State::Room, self.capacity() as u16 - 1)
    }

    /// [`Span::settle`] of a cache's span without a free object: it is full until [`Span::waking`] are. What its owner
    /// has released is counted before: asleep it may be [deserted](Span::is_deserted), and taken from him.
    #[inline]
    pub(crate) fn fall_asleep(&self) {
        self.settle_at(State::Full, self.waking());
    }

    /// Free objects with which a cache uses a span again that was full. With a few at once its next
    /// allocations are fast ones; with each by itself, most would look for another span, where objects of
    /// different ages share spans. What this leaves unused is less than an eighth.
    #[inline]
    fn waking(&self) -> u16 {
        (self.capacity() as u16 / 8).max(1)
    }

    /// [`Span::settle`] of a cache's full span that has lost so many objects more than the countdown knows, with
    /// the state that it has then.
    #[inline]
    pub(crate) fn wake(&self, objects: u64) -> u64 {
        let ((countdown, _), objects) = (self.counts(), objects as u16);
        if objects < countdown {
            self.count_down(objects);
            return 0;
        }
        let free = self.waking() - countdown + objects;
        self.settle_at(State::Room, self.capacity() as u16 - free)
    }

    /// A span that is not current has lost so many objects more than the countdown knows.
    #[inline]
    pub(crate) fn count_down(&self, objects: u16) {
        let (countdown, started) = self.counts();
        self.set_counts(countdown - objects, started - objects);
    }

    /// Counts a release by the owner, and says whether he has something to do (S2). By hand, because the compiler would
    /// not calculate with what is atomic in memory.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn count_release(&self) -> bool {
        // SAFETY: it changes a field of a descriptor that there is a reference to, which the owner alone does.
        unsafe {
            core::arch::asm!(
                "dec word ptr [{span} + {countdown}]",
                "je {due}",
                span = in(reg) self,
                countdown = const offset_of!(Span, counts),
                due = label { return true },
                options(nostack),
            );
        }
        false
    }

    /// Counts a release by the owner, and says whether he has something to do (S2).
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn count_release(&self) -> bool {
        let (countdown, started) = self.counts();
        self.set_counts(countdown.wrapping_sub(1), started);
        countdown == 1
    }

    /// Objects that the owner released since the span was settled.
    pub(crate) fn released(&self) -> u64 {
        let (countdown, started) = self.counts();
        started.wrapping_sub(countdown) as u64
    }

    pub(super) fn countdown_is_right(&self) -> bool {
        let (countdown, _) = self.counts();
        match self.state() {
            State::Current => countdown > 0,
            State::Room => countdown as usize == self.live(),
            State::Full => countdown == 1,
            State::Unused => false,
        }
    }
}
