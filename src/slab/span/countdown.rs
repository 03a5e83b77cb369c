//! When the owner of a span has something to do: the countdown of its releases, which begins anew with each state that
//! the owner gives it (S2).

use super::{Span, State};
use core::sync::atomic::Ordering::Release;

/// Releases after which the owner looks at a current span, to no effect.
const CURRENT: u16 = u16::MAX;

impl Span {
    /// Gives the span a state, and begins to count releases anew (S2), with `countdown` of them until the owner has
    /// something to do. Says how many objects the owner released since the last time.
    #[inline]
    pub(super) fn settle_at(&self, state: State, countdown: u16) -> u64 {
        let released = self.released();
        self.countdown.set(countdown);
        self.started.set(countdown);
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
    /// different ages share spans. What this leaves unused is less than a quarter.
    #[inline]
    fn waking(&self) -> u16 {
        (self.capacity() as u16 / 4).max(1)
    }

    /// [`Span::settle`] of a cache's full span that has lost so many objects more than the countdown knows, with
    /// the state that it has then.
    #[inline]
    pub(crate) fn wake(&self, objects: u64) -> u64 {
        let (countdown, objects) = (self.countdown.get(), objects as u16);
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
        self.countdown.set(self.countdown.get() - objects);
        self.started.set(self.started.get() - objects);
    }

    /// Counts a release by the owner, and says whether he has something to do (S2).
    #[inline(always)]
    pub(super) fn count_release(&self) -> bool {
        let countdown = self.countdown.get().wrapping_sub(1);
        self.countdown.set(countdown);
        countdown == 0
    }

    /// Objects that the owner released since the span was settled.
    pub(crate) fn released(&self) -> u64 {
        self.started.get().wrapping_sub(self.countdown.get()) as u64
    }

    pub(super) fn countdown_is_right(&self) -> bool {
        let countdown = self.countdown.get();
        match self.state() {
            State::Current => countdown > 0,
            State::Room => countdown as usize == self.live(),
            State::Full => countdown == 1,
            State::Unused => false,
        }
    }
}
