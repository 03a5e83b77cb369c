//! The heaps of one pool: in the order they were added, and by address.
//!
//! The links lie in the heaps themselves, so the set needs no memory of its own and has no limit. By
//! address the heaps form a treap (Seidel and Aragon, "Randomized search trees", 1996) whose priorities are
//! hashes of the addresses: `low` leads to the heaps at lower addresses, `high` to those at higher ones, and
//! no heap has a higher priority than the one above it. A search takes O(log n) expected steps.
//!
//! Invariant P1: every heap in the set is alive, in both orders exactly once, and used through the set
//! alone; their regions are disjoint.

use super::heap::{Heap, Links};
use crate::slab::Span;
use core::ptr::NonNull;

type Link = Option<NonNull<Heap>>;

/// See the module.
#[derive(Default)]
pub(super) struct Heaps {
    first: Link,
    last: Link,
    root: Link,
}

/// A hash of the heap's address (the finalizer of SplitMix64).
fn priority(start: usize) -> u64 {
    let mut hash = start as u64;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Heaps {
    pub(super) const fn new() -> Heaps {
        Heaps { first: None, last: None, root: None }
    }

    /// A heap of the set.
    #[inline]
    pub(super) fn get(&self, heap: NonNull<Heap>) -> &Heap {
        // SAFETY: it is alive, and written to only where the set is borrowed mutably (P1).
        unsafe { heap.as_ref() }
    }

    /// A heap of the set.
    #[inline]
    pub(super) fn get_mut(&mut self, heap: NonNull<Heap>) -> &mut Heap {
        // SAFETY: it is alive, and borrowed with the set (P1).
        unsafe { &mut *heap.as_ptr() }
    }

    fn links(&mut self, heap: NonNull<Heap>) -> &mut Links {
        &mut self.get_mut(heap).links
    }

    fn start(&self, heap: NonNull<Heap>) -> usize {
        self.get(heap).start()
    }

    /// Every heap, in the order they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = NonNull<Heap>> {
        core::iter::successors(self.first, |&heap| self.get(heap).links.next)
    }

    /// The heap that comes after `heap` in the order they were added; with `None`, the first.
    pub(super) fn after(&self, heap: Link) -> Link {
        heap.map_or(self.first, |heap| self.get(heap).links.next)
    }

    /// The heap whose region holds `address`.
    pub(super) fn holding(&self, address: usize) -> Link {
        self.at_or_below(address).filter(|&heap| self.get(heap).holds(address))
    }

    /// The heap with the highest start that is not above `address`.
    fn at_or_below(&self, address: usize) -> Link {
        let (mut best, mut at) = (None, self.root);
        while let Some(heap) = at {
            let links = &self.get(heap).links;
            if self.start(heap) <= address {
                (best, at) = (at, links.high);
            } else {
                at = links.low;
            }
        }
        best
    }

    /// The heap that holds `address`, or else the next above it.
    pub(super) fn holding_or_above(&self, address: usize) -> Link {
        let (mut best, mut at) = (None, self.root);
        while let Some(heap) = at {
            let links = &self.get(heap).links;
            if self.start(heap) > address || self.get(heap).holds(address) {
                (best, at) = (at, links.low);
            } else {
                at = links.high;
            }
        }
        best
    }

    /// The heap whose descriptors this is one of.
    pub(super) fn with_descriptor(&self, span: NonNull<Span>) -> Link {
        self.iter().find(|&heap| self.get(heap).has_descriptor(span))
    }

    /// A heap whose region shares memory with the `size` bytes at `start`; they don't wrap.
    pub(super) fn overlapping(&self, start: usize, size: usize) -> Link {
        self.at_or_below(start + (size - 1))
            .filter(|&heap| self.start(heap) >= start || self.get(heap).holds(start))
    }

    /// Adds a heap.
    ///
    /// # Safety
    /// P1 holds for it until it is removed.
    pub(super) unsafe fn insert(&mut self, heap: NonNull<Heap>) {
        match self.last.replace(heap) {
            None => self.first = Some(heap),
            Some(last) => self.links(last).next = Some(heap),
        }
        self.root = self.insert_below(self.root, heap);
    }

    fn insert_below(&mut self, root: Link, heap: NonNull<Heap>) -> Link {
        let Some(top) = root else { return Some(heap) };
        let start = self.start(heap);
        if priority(start) > priority(self.start(top)) {
            let (low, high) = self.split(root, start);
            let links = self.links(heap);
            (links.low, links.high) = (low, high);
            return Some(heap);
        }
        if start < self.start(top) {
            let low = self.links(top).low;
            self.links(top).low = self.insert_below(low, heap);
        } else {
            let high = self.links(top).high;
            self.links(top).high = self.insert_below(high, heap);
        }
        root
    }

    /// The heaps of a tree that start below `start`, and the others.
    fn split(&mut self, root: Link, start: usize) -> (Link, Link) {
        let Some(top) = root else { return (None, None) };
        if self.start(top) < start {
            let high = self.links(top).high;
            let (low, high) = self.split(high, start);
            self.links(top).high = low;
            (root, high)
        } else {
            let low = self.links(top).low;
            let (low, high) = self.split(low, start);
            self.links(top).low = high;
            (low, root)
        }
    }

    /// Takes a heap out of the set.
    pub(super) fn remove(&mut self, heap: NonNull<Heap>) {
        let next = self.get(heap).links.next;
        let before = self.iter().find(|&before| self.get(before).links.next == Some(heap));
        match before {
            None => self.first = next,
            Some(before) => self.links(before).next = next,
        }
        if self.last == Some(heap) {
            self.last = before;
        }
        self.root = self.remove_below(self.root, heap);
        *self.links(heap) = Links::default();
    }

    fn remove_below(&mut self, root: Link, heap: NonNull<Heap>) -> Link {
        let top = root?;
        let (low, high) = (self.get(top).links.low, self.get(top).links.high);
        if top == heap {
            return self.join(low, high);
        }
        if self.start(heap) < self.start(top) {
            self.links(top).low = self.remove_below(low, heap);
        } else {
            self.links(top).high = self.remove_below(high, heap);
        }
        root
    }

    /// One tree of two, of which the first holds the lower addresses.
    fn join(&mut self, low: Link, high: Link) -> Link {
        let (Some(a), Some(b)) = (low, high) else { return low.or(high) };
        if priority(self.start(a)) > priority(self.start(b)) {
            let inner = self.links(a).high;
            self.links(a).high = self.join(inner, high);
            low
        } else {
            let inner = self.links(b).low;
            self.links(b).low = self.join(low, inner);
            high
        }
    }

    /// Whether every heap is found by its address, and a walk by address finds as many (P1).
    pub(super) fn is_consistent(&self) -> bool {
        let listed = self.iter().count();
        let found = self.iter().all(|heap| self.holding(self.start(heap)) == Some(heap));
        let mut walked = 0;
        let mut at = self.holding_or_above(0);
        while let Some(heap) = at
            && walked <= listed
        {
            walked += 1;
            let end = self.start(heap) + (self.get(heap).size() - 1);
            at = end.checked_add(1).and_then(|next| self.holding_or_above(next));
        }
        found && walked == listed
    }
}
