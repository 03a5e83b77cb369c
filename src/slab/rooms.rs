//! Spans with room: which of them the objects of a class are taken from once the current one is full, and where a
//! span that gains room takes its place (L2).

use super::{ClassId, Slab, Span, State};
use crate::buddy::{Buddy, Granule};
use core::ptr::NonNull;

impl Slab {
    #[inline]
    pub(super) fn room(&self, id: ClassId, head: Granule) -> usize {
        id.index() * self.map.granules() + head.index()
    }

    /// Fills the slot of a class from its current span, or else from another that has room, if there is one:
    /// the next, or else the lowest.
    pub(super) fn find_room(&mut self, id: ClassId) -> bool {
        if let Some(current) = self.current(id) {
            // SAFETY: a current span is in use (L1).
            let span = unsafe { current.as_ref() };
            if self.slots.of(id).fill(span, || self.map.base_of(current)) {
                return true;
            }
        }
        match self.take_room(id) {
            Some(span) => {
                self.make_current(id, span);
                true
            }
            None => false,
        }
    }

    /// The next span of a class, or else the lowest that has room; it is neither of both afterwards.
    pub(super) fn take_room(&mut self, id: ClassId) -> Option<NonNull<Span>> {
        if let Some(next) = self.next[id.index()].take() {
            return Some(next);
        }
        let room = self.first_room(id)?;
        self.rooms.clear(room);
        self.rooms_of[id.index()] -= 1;
        let head = room - self.room(id, Granule(0));
        Some(self.map.descriptor(Granule(head as u32)))
    }

    /// The current span of a class, if it has room, no smaller an order, and no notes; the class has none afterwards. Who
    /// noted that an object is released which its owner had released just before has not come for it yet (M2): he would
    /// have the next owner's freed.
    pub(super) fn take_current(&mut self, id: ClassId, order: u8) -> Option<NonNull<Span>> {
        let current = self.current(id)?;
        // SAFETY: a current span is in use (L1).
        let descriptor = unsafe { current.as_ref() };
        if descriptor.order().0 < order || !descriptor.has_room() || descriptor.has_notes() {
            return None;
        }
        self.slots.of(id).clear();
        Some(current)
    }

    /// A span has room now: it takes its place by address before the current or the next one, or among the
    /// others.
    pub(super) fn gained_room(&mut self, buddy: &mut Buddy, span: NonNull<Span>) {
        let mut span = span;
        // SAFETY: the span is in use (L1).
        let id = unsafe { span.as_ref() }.class();
        if let Some(displaced) = self.current(id).filter(|&current| is_lower(span, current)) {
            // SAFETY: it was the current span, so in use (L1).
            let descriptor = unsafe { displaced.as_ref() };
            let state = if descriptor.has_room() { State::Room } else { State::Full };
            self.slots.of(id).clear();
            self.settle(displaced, state);
            self.make_current(id, span);
            if state == State::Full {
                return;
            }
            if descriptor.may_be_retired() {
                return self.retire_unlisted(buddy, displaced);
            }
            span = displaced;
        }
        match self.next[id.index()] {
            Some(next) if is_lower(next, span) => self.add_room(id, span),
            Some(next) => {
                self.next[id.index()] = Some(span);
                self.add_room(id, next);
            }
            // Others may be lower.
            None if self.first_room(id).is_some_and(|lowest| lowest < self.room_of(id, span)) => {
                self.add_room(id, span);
            }
            None => self.next[id.index()] = Some(span),
        }
    }

    /// The bit of the lowest span with room that is neither the current nor the next one.
    #[inline]
    fn first_room(&self, id: ClassId) -> Option<usize> {
        if self.rooms_of[id.index()] == 0 {
            return None;
        }
        self.rooms.find_from(self.room(id, Granule(0)))
    }

    /// The bit of a span of the class.
    pub(super) fn room_of(&self, id: ClassId, span: NonNull<Span>) -> usize {
        self.room(id, self.map.head_of(span))
    }

    /// Adds a span to those with room.
    fn add_room(&mut self, id: ClassId, span: NonNull<Span>) {
        let room = self.room_of(id, span);
        self.rooms.set(room);
        self.rooms_of[id.index()] += 1;
    }
}

/// Whether the first of two spans that are in use lies at the lower address.
#[inline]
fn is_lower(span: NonNull<Span>, other: NonNull<Span>) -> bool {
    // SAFETY: every caller has spans that are in use (L1).
    unsafe { span.as_ref().base() < other.as_ref().base() }
}
