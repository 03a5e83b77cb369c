//! A cache's spans: which one objects are taken from, which others have room, which go back to the pool.

use super::{Cache, Queue, spot};
use crate::error::Error;
use crate::pool::found;
use crate::slab::remote::unmarked;
use crate::slab::{Annex, ClassId, Slot, Span, SpanMap, State};
use crate::system::default_pool;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Acquire;

/// Bytes of empty spans that a cache keeps.
const KEPT: usize = 64 << 10;

/// Spans that a cache wants before it empties its inbox: those that were posted have more to collect then.
const PATIENCE: u8 = 4;

impl Cache {
    /// Gives a span of this cache another state.
    fn settle(&self, span: NonNull<Span>, state: State) {
        // SAFETY: it is this cache's own (C2).
        self.count(span, unsafe { span.as_ref() }.settle(state));
    }

    /// Counts objects that were released of a span.
    fn count(&self, span: NonNull<Span>, released: u64) {
        // SAFETY: it is this cache's own (C2).
        let annex = unsafe { Annex::of(span).as_ref() };
        if annex.count_owners(released) {
            default_pool().count_owners(span);
        }
    }

    /// The spans with room of a span's class.
    fn rooms_of(&self, span: NonNull<Span>) -> &Queue {
        // SAFETY: it is this cache's own (C2).
        &self.rooms[unsafe { span.as_ref() }.class().index()]
    }

    /// The countdown of one of this cache's spans has ended: it was full, is empty, or is the current one.
    pub(super) fn due(&self, span: NonNull<Span>) {
        // SAFETY: it is this cache's own (C2).
        let descriptor = unsafe { span.as_ref() };
        match descriptor.state() {
            State::Current => self.settle(span, State::Current),
            State::Full => self.wake(span, 0),
            State::Room => self.emptied(span),
            State::Unused => {}
        }
    }

    /// A span of the queues has no live object any more. A few are kept for a while, since taking one out of the
    /// pool costs as much as some dozens of allocations.
    fn emptied(&self, span: NonNull<Span>) {
        let kept = self.kept.get() + self.bytes_of(span);
        if kept <= KEPT && !spot::is(&self.inbox) {
            self.kept.set(kept);
        } else {
            self.rooms_of(span).remove(span);
            self.give(span);
        }
    }

    fn bytes_of(&self, span: NonNull<Span>) -> usize {
        // SAFETY: it is this cache's own (C2).
        unsafe { span.as_ref() }.bytes()
    }

    /// A full span has lost so many objects more than its countdown knows.
    fn wake(&self, span: NonNull<Span>, objects: u64) {
        // SAFETY: it is this cache's own (C2).
        let descriptor = unsafe { span.as_ref() };
        self.count(span, descriptor.wake(objects));
        match descriptor.state() {
            State::Room => {
                self.rooms_of(span).push(span);
                if descriptor.is_empty() {
                    self.emptied(span);
                }
            }
            State::Full | State::Current | State::Unused => {}
        }
    }

    /// Gives a span, in no queue, back to the pool.
    fn give(&self, span: NonNull<Span>) {
        // SAFETY: it is this cache's own, and neither a slot nor a queue has it.
        unsafe { default_pool().give_span(span) };
    }

    /// Makes what other threads have released free.
    #[cold]
    #[inline(never)]
    pub(super) fn collect(&self) {
        self.collect_and(&mut |error| found(&error));
    }

    /// The same; `tell` is told of what was released twice. It may allocate.
    pub(super) fn collect_and(&self, tell: &mut dyn FnMut(Error)) {
        self.waited.set(0);
        for remote in self.inbox.take() {
            // SAFETY: what is posted lies behind a descriptor.
            let span = unsafe { SpanMap::span_of(remote) };
            // SAFETY: it has an object that is not collected, so it is in use.
            let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
            let (owner, _) = unmarked(descriptor.owner().load(Acquire));
            if !core::ptr::eq(owner, &self.inbox) {
                // It changed hands before it was posted.
                if let Some(error) = default_pool().deliver(remote) {
                    tell(error);
                }
                continue;
            }
            let collected = descriptor.collect(&annex.remote);
            let late = collected.twice.map(|(pointer, size)| {
                default_pool().count_misuse();
                Error::AlreadyReleased { pointer, size }
            });
            self.count(span, collected.released);
            match descriptor.state() {
                State::Full => self.wake(span, collected.released),
                State::Room if collected.released > 0 => {
                    descriptor.count_down(collected.released as u16);
                    if descriptor.is_empty() {
                        self.emptied(span);
                    }
                }
                State::Room | State::Current | State::Unused => {}
            }
            // Last: the handler may allocate.
            if let Some(error) = late {
                tell(error);
            }
        }
    }

    /// Fills the slot of a class: from its current span, from another that has room, from what others have
    /// released, or from the pool.
    pub(super) fn refill(&self, id: ClassId) -> bool {
        if self.refill_from_own(id.index()) {
            return true;
        }
        if self.inbox.has_post() {
            self.waited.set(self.waited.get() + 1);
            if self.waited.get() >= PATIENCE {
                self.collect();
                if self.refill_from_own(id.index()) {
                    return true;
                }
            }
        }
        let taken = &self.taken[id.index()];
        let inbox = NonNull::from(&self.inbox);
        let Some(span) = default_pool().take_span(id, inbox, taken.get(), !spot::is(&self.inbox))
        else {
            return false;
        };
        taken.set(taken.get().saturating_add(1));
        let slot = &self.slots[id.index()];
        if slot.span(true).is_none() {
            return self.fill(slot, span);
        }
        // A callback of the pool has allocated, and so filled the slot.
        self.settle(span, State::Room);
        self.rooms_of(span).push(span);
        // SAFETY: it is this cache's own (C2).
        if unsafe { span.as_ref() }.is_empty() {
            self.kept.set(self.kept.get() + self.bytes_of(span));
        }
        self.refill_from_own(id.index())
    }

    /// [`Cache::refill`], from the current span or another of the cache's that has room.
    #[inline(always)]
    pub(super) fn refill_from_own(&self, class: usize) -> bool {
        let slot = &self.slots[class];
        if let Some(current) = slot.span(true) {
            if self.fill(slot, current) {
                return true;
            }
            slot.clear();
            // SAFETY: it is this cache's own (C2).
            let descriptor = unsafe { current.as_ref() };
            self.count(current, descriptor.released());
            descriptor.fall_asleep();
        }
        let Some(span) = self.rooms[class].pop() else { return false };
        // SAFETY: it is this cache's own (C2).
        if unsafe { span.as_ref() }.is_empty() {
            self.kept.set(self.kept.get() - self.bytes_of(span));
        }
        self.settle(span, State::Current);
        self.fill(slot, span)
    }

    fn fill(&self, slot: &Slot, span: NonNull<Span>) -> bool {
        // SAFETY: it is this cache's own (C2).
        let descriptor = unsafe { span.as_ref() };
        slot.fill(descriptor, || self.base_of(span))
    }

    /// Address of the first object of a span.
    pub(super) fn base_of(&self, span: NonNull<Span>) -> *mut u8 {
        let map = self.spans();
        if map.has_descriptor(span) { map.base_of(span) } else { default_pool().base_of(span) }
    }

    /// Gives back all that its thread will not use any more.
    pub(super) fn leave(&self) {
        self.give_all();
        default_pool().empty_stash(&self.stash);
        default_pool().leave(&self.inbox);
    }

    /// Gives back the spans without a live object, after a look at what others have released.
    pub(super) fn trim(&self) {
        if self.inbox.has_post() {
            self.collect();
        }
        // SAFETY: the spans of slots and queues are this cache's own (C2).
        let is_empty = |span: &NonNull<Span>| unsafe { span.as_ref() }.is_empty();
        for id in ClassId::all() {
            let (slot, rooms) = (&self.slots[id.index()], &self.rooms[id.index()]);
            if let Some(current) = slot.span(true).filter(is_empty) {
                slot.clear();
                self.give(current);
            }
            while let Some(span) = rooms.iter().find(is_empty) {
                rooms.remove(span);
                self.kept.set(self.kept.get() - self.bytes_of(span));
                self.give(span);
            }
        }
    }

    /// Gives back the spans that are current or have room.
    pub(super) fn give_all(&self) {
        for id in ClassId::all() {
            let slot = &self.slots[id.index()];
            if let Some(current) = slot.span(true) {
                slot.clear();
                self.give(current);
            }
            while let Some(span) = self.rooms[id.index()].pop() {
                self.give(span);
            }
            self.taken[id.index()].set(0);
        }
        self.kept.set(0);
    }
}
