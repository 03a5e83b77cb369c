//! A cache's spans of one class that have room, in the order in which they got it.
//!
//! What has waited longest comes first: since then it has lost the most objects, and so serves the most allocations
//! before the next span is wanted.
//!
//! Invariant Q1: from the first span `after` leads over all to the last, which has none. `before` leads back, and from
//! the first to the last.

use crate::slab::{Annex, Span};
use core::cell::Cell;
use core::ptr::NonNull;

/// See the module. All spans that are in it, or that it is given, belong to the cache whose queue it is (C2), so that
/// its thread alone uses their links.
pub(super) struct Queue {
    first: Cell<Option<NonNull<Span>>>,
}

impl Queue {
    pub(super) const fn new() -> Queue {
        Queue { first: Cell::new(None) }
    }

    fn links(&self, span: NonNull<Span>) -> &Annex {
        // SAFETY: it is a cache's, and so has an annex.
        unsafe { Annex::of(span).as_ref() }
    }

    /// Adds a span that is in no queue.
    pub(super) fn push(&self, span: NonNull<Span>) {
        let links = self.links(span);
        links.after.set(None);
        let Some(first) = self.first.get() else {
            links.before.set(Some(span));
            return self.first.set(Some(span));
        };
        let last = self.links(first).before.replace(Some(span));
        links.before.set(last);
        if let Some(last) = last {
            self.links(last).after.set(Some(span));
        }
    }

    /// Takes the first span.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Span>> {
        let first = self.first.get()?;
        let links = self.links(first);
        let after = links.after.get();
        self.first.set(after);
        if let Some(after) = after {
            self.links(after).before.set(links.before.get());
        }
        Some(first)
    }

    /// Takes a span that is in the queue.
    pub(super) fn remove(&self, span: NonNull<Span>) {
        let Some(first) = self.first.get().filter(|&first| first != span) else {
            self.pop();
            return;
        };
        let links = self.links(span);
        let (before, after) = (links.before.get(), links.after.get());
        if let Some(before) = before {
            self.links(before).after.set(after);
        }
        self.links(after.unwrap_or(first)).before.set(before);
    }

    /// All spans, the first first.
    pub(super) fn iter(&self) -> impl Iterator<Item = NonNull<Span>> {
        core::iter::successors(self.first.get(), |&span| self.links(span).after.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Dice;
    use std::collections::VecDeque;

    #[test]
    fn spans_leave_in_the_order_they_came_but_for_those_that_are_removed() {
        const SPANS: usize = 5;
        // SAFETY: zeroes are an annex that is in no queue.
        let annexes: [Annex; SPANS] = unsafe { core::mem::zeroed() };
        // A descriptor is the first part of its annex.
        let spans = annexes.each_ref().map(|annex| NonNull::from(annex).cast::<Span>());
        let (queue, mut expected) = (Queue::new(), VecDeque::new());
        let mut dice = Dice::new(1);
        for _ in 0..10_000 {
            let span = spans[dice.roll() as usize % SPANS];
            if dice.roll().is_multiple_of(4) {
                assert_eq!(queue.pop(), expected.pop_front());
            } else if let Some(place) = expected.iter().position(|&other| other == span) {
                queue.remove(span);
                expected.remove(place);
            } else {
                queue.push(span);
                expected.push_back(span);
            }
            assert!(queue.iter().eq(expected.iter().copied()));
        }
    }
}
