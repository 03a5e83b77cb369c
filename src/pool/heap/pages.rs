//! A heap's pages: committed as it grows, given back to the system when they are free, and made to read as zero.

use super::layout::LARGEST_PAGE;
use super::{Heap, Request, Reservation};
use crate::armour::Region;
use crate::buddy::{Granule, Order, Sweep};
use crate::slab::SPAN_GRANULE_SHIFT;
use core::ptr::NonNull;

/// How a heap's memory comes from the system and goes back to it.
pub(crate) struct Backing {
    /// Makes memory usable that the heap has reserved; false if the system refuses.
    pub(crate) commit: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Lets metadata be written that could only be read; false if the system refuses. It begins at a page.
    pub(crate) let_write: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Gives the pages of free memory back: what is read there next is zero. False if the system refuses.
    pub(crate) purge: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Moves the pages of so many bytes to elsewhere in the heap; what is left behind reads as zero. False, with nothing
    /// moved, if the system refuses.
    pub(crate) move_pages: unsafe fn(NonNull<u8>, NonNull<u8>, usize) -> bool,
    /// Makes memory that nobody uses, of which pages came from elsewhere or went there, a part of the heap's own mapping
    /// again; it reads as zero then. False if the system refuses.
    pub(crate) renew: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Is told how many free bytes could be purged. Whether somebody will, soon, if they stay free.
    pub(crate) decays: fn(usize) -> bool,
    /// Gives back a heap's whole reservation and its metadata.
    pub(crate) release: unsafe fn(Reservation),
}

/// Bytes that are purged at least, and refused before the system is asked again, where pages decay.
const LEAST_EXCESS: usize = 1 << 20;

impl Backing {
    /// Makes a part of a block read as zero: its whole pages, of whatever system, go back to it, if it takes them.
    ///
    /// # Safety
    /// It is part of a block of a heap with this backing, and nobody uses it.
    pub(in crate::pool) unsafe fn wipe(&self, part: Region) {
        let Region { start, len } = part;
        let before = start.align_offset(LARGEST_PAGE).min(len);
        let pages = (len - before) & !(LARGEST_PAGE - 1);
        // SAFETY: the caller's promise; all of it lies in the part.
        unsafe {
            if (self.purge)(start.add(before), pages) {
                start.write_bytes(0, before);
                start.add(before + pages).write_bytes(0, len - before - pages);
            } else {
                start.write_bytes(0, len);
            }
        }
    }
}

impl Heap {
    /// The granules of the block that serves a request best with up to `budget` bytes, and the order of the
    /// smallest that holds it; `None` if the heap can't have it.
    fn block_for(&self, request: Request, budget: usize) -> Option<(u32, Order)> {
        let least = self.least_bytes(request).filter(|&least| least <= budget)?;
        if let (Some(id), Some(slab)) = (self.class_for(request), self.slab()) {
            let order = Order(slab.span_order(id));
            let granules = order.granules().min(self.granules_in(budget));
            return Some((granules, order.min(Order::within(granules))));
        }
        let granules = self.granules_in(least);
        let (_, alignment) = self.run_for(request);
        (alignment <= Order::MAX).then(|| (granules, Order::holding(granules).max(alignment)))
    }

    /// Commits more of a reservation, enough to serve the request from `budget` bytes. False if there is no
    /// more.
    pub(in crate::pool) fn grow(&mut self, request: Request, budget: usize) -> bool {
        const LEAST: u32 = (1 << 20) >> SPAN_GRANULE_SHIFT;
        const MOST: u32 = (64 << 20) >> SPAN_GRANULE_SHIFT;
        // Systems with pages larger than a granule commit those.
        const STEP: u32 = (64 << 10) >> SPAN_GRANULE_SHIFT;
        let Some(backing) = self.backing else { return false };
        let Some((granules, order)) = self.block_for(request, budget) else { return false };
        let (end, capacity) = (self.buddy.end(), self.buddy.capacity());
        // A whole block if the reservation has one, or else as much as could do with what is free before it.
        let needed = self.buddy.end_with_another(order).unwrap_or(end + granules).min(capacity);
        let generous = needed.max(end + (end / 8).clamp(LEAST, MOST));
        [generous, needed].into_iter().any(|wanted| {
            let new_end = wanted.next_multiple_of(STEP).min(capacity);
            let start = self.address_of(Granule(end));
            let committed = new_end > end
                && self.describe(backing, new_end)
                // SAFETY: the memory behind the last granule is reserved up to the capacity.
                && unsafe { (backing.commit)(start, self.bytes(new_end - end)) };
            if committed {
                self.buddy.extend(new_end);
            }
            committed
        })
    }

    /// Purges if there is enough to be worth it beside `used` bytes of the pool: all, or, if it decays, about what is
    /// too much.
    #[inline]
    pub(in crate::pool) fn purge_if_worthwhile(&mut self, used: usize) {
        /// Purging costs system calls now and page faults later.
        const SLACK: usize = 16 << 20;
        /// Decay takes care of what stays free; this bounds what it can't keep up with.
        const DECAYING_SLACK: usize = 512 << 20;
        let purgeable = self.bytes(self.buddy.purgeable());
        let decays = self.decays(purgeable);
        let slack = if decays { DECAYING_SLACK } else { SLACK };
        let most = slack + used / 4;
        let bound = most.max(self.purge_above);
        if purgeable <= bound {
            return;
        }
        if decays {
            self.purge_excess(purgeable - bound);
        } else {
            self.purge();
        }
        // What the system refuses it would refuse again: it is asked when there is more.
        let left = self.purgeable();
        self.purge_above = match left {
            0 => 0,
            _ if !decays => left + most,
            _ if left == purgeable => left + LEAST_EXCESS,
            _ => 0,
        };
    }

    /// Purges about `bytes`, and a little more: that a single release waits for hundreds of MiB is what nobody expects.
    #[cold]
    fn purge_excess(&mut self, bytes: usize) {
        /// How often it goes on: past what the system refuses, but not through all of it.
        const ROUNDS: u32 = 4;
        let mut left = self.granules_in(bytes + LEAST_EXCESS);
        for _ in 0..ROUNDS {
            // From where it was, and at the end from the beginning: a step a free block each time would be many.
            let mut sweep = self.excess;
            left = left.saturating_sub(self.purge_some(&mut sweep, left));
            self.excess = if sweep.is_over() { Sweep::default() } else { sweep };
            if left == 0 {
                break;
            }
        }
    }

    /// Whether somebody will purge so many bytes, soon, if they stay free.
    pub(in crate::pool) fn decays(&self, purgeable: usize) -> bool {
        self.backing.is_some_and(|backing| (backing.decays)(purgeable))
    }

    /// Gives free pages back to the system, and says how many bytes.
    pub(in crate::pool) fn purge(&mut self) -> usize {
        let purged = self.purge_some(&mut Sweep::default(), u32::MAX);
        self.bytes(purged)
    }

    /// Begins a round of decay: what has been free since the last one is to be purged.
    pub(in crate::pool) fn begin_decay(&mut self) {
        self.decaying = self.buddy.take_idle();
        self.sweep = Sweep::default();
    }

    /// Purges some more of what this round is to. Says whether there is more.
    pub(in crate::pool) fn decay(&mut self) -> bool {
        /// Takes less than a millisecond.
        const STEP: u32 = (4 << 20) >> SPAN_GRANULE_SHIFT;
        let mut sweep = self.sweep;
        let purged = self.purge_some(&mut sweep, self.decaying.min(STEP));
        self.sweep = sweep;
        self.decaying = if sweep.is_over() { 0 } else { self.decaying.saturating_sub(purged) };
        self.decaying > 0
    }

    /// Free bytes that could be purged.
    pub(in crate::pool) fn purgeable(&self) -> usize {
        self.bytes(self.buddy.purgeable())
    }

    fn purge_some(&mut self, sweep: &mut Sweep, most: u32) -> u32 {
        let Some(backing) = self.backing else { return 0 };
        let (first, shift) = (self.first, self.shift);
        self.buddy.purge(sweep, most, |start, end| {
            // SAFETY: the granules lie in the heap (H1).
            let address = unsafe { first.add(start.index() << shift) };
            // SAFETY: they are free and committed.
            unsafe { (backing.purge)(address, (end.0 - start.0) as usize * (1 << shift)) }
        })
    }

    /// How the heap's memory comes from the system; `None` for a caller's.
    pub(in crate::pool) fn backing(&self) -> Option<&'static Backing> {
        self.backing
    }

    /// Makes all memory of the heap read as zero, which has no blocks.
    pub(in crate::pool) fn wipe(&mut self) {
        self.purge();
        if self.backing.is_none() || self.purgeable() > 0 {
            // SAFETY: the granules are the heap's (H1), and nobody uses them.
            unsafe { self.first.write_bytes(0, self.capacity_bytes()) };
        }
    }
}
