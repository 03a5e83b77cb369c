//! Runs: allocations of any number of granules.

use super::{Buddy, Granule, Order, Tag};

/// Runs of at most this fraction of the heap keep the whole block they are cut from: tails given back at once
/// would fill with blocks that live longer, and pin the large blocks about them. Under sustained load that
/// costs more memory than the tails are.
const UNTRIMMED: u32 = 16;

/// The length of longer runs is a multiple of this fraction of the next power of two, which bounds the number
/// of their pieces.
const STEPS: u32 = 64;

/// A run that [`Buddy::alloc_run`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) head: Granule,
    pub(crate) granules: u32,
    /// Granules of it that were in use since they came to the heap or were last purged; all of them where use isn't
    /// tracked.
    pub(crate) used: u32,
}

impl Buddy {
    /// The shortest run that a request for `granules` gets.
    pub(crate) fn trimmed_length(&self, granules: u32) -> u32 {
        granules.next_multiple_of((Order::holding(granules).granules() / STEPS).max(1))
    }

    /// Length of the run that a request for `granules` gets where there is room.
    fn run_length(&self, granules: u32) -> u32 {
        if granules <= self.shape.capacity / UNTRIMMED {
            return Order::holding(granules).granules();
        }
        self.trimmed_length(granules)
    }

    /// Allocates a run of at least `granules` (`1..=MAX_GRANULES`) and at most `budget`, starting at a multiple
    /// of the alignment in granules.
    pub(crate) fn alloc_run(
        &mut self,
        granules: u32,
        alignment: Order,
        budget: u32,
    ) -> Option<Run> {
        let order = Order::holding(granules).max(alignment);
        let mut length = self.run_length(granules);
        if length > budget {
            length = self.trimmed_length(granules);
        }
        if length > budget {
            return None;
        }
        let head = match self.take(order) {
            Some(head) => {
                self.free += order.granules() - length;
                for (tail, order) in self.pieces(head.plus(length), head.plus(order.granules())) {
                    self.insert(tail, order);
                }
                head
            }
            None => {
                length = self.trimmed_length(granules);
                let head = self.find_stretch(length, alignment)?;
                self.carve(head, head.plus(length));
                head
            }
        };
        self.tag_run(head, length);
        let used = self.note_use(head, length);
        Some(Run { head, granules: length, used })
    }

    /// Finds `length` free granules in a row, where no free block is as large as the next power of two.
    /// Looks at a bounded number of places, so it may miss some.
    #[cold]
    fn find_stretch(&mut self, length: u32, alignment: Order) -> Option<Granule> {
        const MOST_ALIGNED_PLACES: u32 = 64;
        const MOST_BLOCKS: usize = 8;
        if length > self.free || alignment > Order::MAX {
            return None;
        }
        self.merge_spares();
        if alignment.0 > 0 && self.end >> alignment.0 <= MOST_ALIGNED_PLACES {
            let first = self.next_aligned(Granule(0), alignment);
            return (first.0..self.end)
                .step_by(alignment.granules() as usize)
                .map(Granule)
                .find(|&place| self.free_stretch_from(place, length) >= length);
        }
        // Any stretch that is long enough holds a block of at least a quarter of the next power of two.
        let order = Order::holding(length).0;
        (order.saturating_sub(2)..order).rev().map(Order).find_map(|order| {
            self.free_blocks(order).take(MOST_BLOCKS).find_map(|block| {
                let mut start = block;
                while start.0 > 0
                    && block.0 - start.0 < length
                    && let before = self.head_of(Granule(start.0 - 1))
                    && let Tag::Free(_) = self.tag(before)
                {
                    start = before;
                }
                let place = self.next_aligned(start, alignment);
                (self.free_stretch_from(place, length) >= length).then_some(place)
            })
        })
    }

    /// The first multiple of the alignment from `granule` on.
    fn next_aligned(&self, granule: Granule, alignment: Order) -> Granule {
        let from_origin = self.offset(granule).next_multiple_of(alignment.granules());
        Granule(from_origin - self.shape.lead)
    }

    /// Whether the `granules` from `start` on are free, and none of them was in use since it was last purged.
    pub(crate) fn is_unused(&self, start: Granule, granules: u32) -> bool {
        self.free_stretch_from(start, granules) >= granules
            && self.touched.as_ref().is_some_and(|touched| touched.used_in(start, granules) == 0)
    }

    /// Free granules in a row from `start` on, counted until there are `enough`.
    fn free_stretch_from(&self, start: Granule, enough: u32) -> u32 {
        let mut at = start;
        while at.0 < self.end
            && at.0 - start.0 < enough
            && let head = self.head_of(at)
            && let Tag::Free(order) = self.tag(head)
        {
            at = head.plus(order.granules());
        }
        at.0 - start.0
    }

    /// Takes the granules `[start, end)` out of the free blocks that hold them.
    fn carve(&mut self, start: Granule, end: Granule) {
        let first = self.head_of(start);
        let mut at = first;
        while at < end {
            let Tag::Free(order) = self.tag(at) else { unreachable!() };
            self.remove(at, order);
            self.set_tag(at, Tag::Inside);
            at = at.plus(order.granules());
        }
        self.free -= end.0 - start.0;
        self.merge_range(first, start);
        self.merge_range(end, at);
    }

    /// Tags the pieces of a run.
    fn tag_run(&mut self, head: Granule, length: u32) {
        for (piece, order) in self.pieces(head, head.plus(length)) {
            self.set_tag(piece, if piece == head { Tag::Run(order) } else { Tag::Piece(order) });
        }
    }

    /// Length of the run, stashed or not, that starts at `head`; 0 if none does.
    pub(crate) fn run_at(&self, head: Granule) -> u32 {
        let (Tag::Run(order) | Tag::Stashed(order)) = self.tag(head) else { return 0 };
        let mut length = order.granules();
        while let Some(order) = self.piece_at(head.plus(length)) {
            length += order.granules();
        }
        length
    }

    fn piece_at(&self, granule: Granule) -> Option<Order> {
        if granule.0 >= self.end {
            return None;
        }
        match self.tag(granule) {
            Tag::Piece(order) => Some(order),
            _ => None,
        }
    }

    /// Releases the run that starts at `head`, and says how many granules it had; `None` if no live run starts there.
    pub(crate) fn release_run(&mut self, head: Granule) -> Option<u32> {
        let Tag::Run(order) = self.tag(head) else { return None };
        self.claim(head, Tag::Run(order)).then(|| self.release_pieces(head, order))
    }

    /// Makes the run free that starts at `head`, and says how many granules it had; `None` if no stashed run starts
    /// there.
    pub(crate) fn reclaim_run(&mut self, head: Granule) -> Option<u32> {
        let Tag::Stashed(order) = self.tag(head) else { return None };
        self.claim(head, Tag::Stashed(order)).then(|| self.release_pieces(head, order))
    }

    /// Takes a run out of the reach of threads that have no lock, if its head still has that tag.
    fn claim(&mut self, head: Granule, tag: Tag) -> bool {
        self.byte(head).change(tag.to_byte(), Tag::Inside.to_byte())
    }

    /// Releases a claimed run whose first piece is of that order, and says how many granules it had.
    fn release_pieces(&mut self, head: Granule, first: Order) -> u32 {
        let mut order = first;
        let mut length = 0;
        loop {
            let piece = head.plus(length);
            length += order.granules();
            // Before the release, which may make one block of both.
            let next = self.piece_at(head.plus(length));
            self.release_block(piece, order);
            match next {
                Some(next) => order = next,
                None => return length,
            }
        }
    }

    /// Makes the run of `length` granules at `head` hold `granules` where it is, growing by up to `budget` into
    /// the free blocks that follow, or giving its tail back. Says its new length, or `None` if it can't grow, or is live no
    /// more.
    pub(crate) fn resize_run(
        &mut self,
        head: Granule,
        length: u32,
        granules: u32,
        budget: u32,
    ) -> Option<u32> {
        let old_end = head.plus(length);
        let wanted = if granules > length {
            let [generous, least] = [self.run_length(granules), self.trimmed_length(granules)];
            let room = self.free_stretch_from(old_end, generous - length).min(budget);
            [generous, least].into_iter().find(|wanted| wanted - length <= room)?
        } else {
            self.run_length(granules).min(length)
        };
        let Tag::Run(order) = self.tag(head) else { return None };
        // It fails if a thread without the lock has just released the run.
        if wanted == length || !self.claim(head, Tag::Run(order)) {
            return (wanted == length).then_some(length);
        }
        if wanted > length {
            self.carve(old_end, head.plus(wanted));
            self.note_use(old_end, wanted - length);
        }
        let new_end = head.plus(wanted);
        for (piece, _) in self.pieces(head, old_end) {
            self.set_tag(piece, Tag::Inside);
        }
        self.tag_run(head, wanted);
        if wanted < length {
            self.free += length - wanted;
            self.note_release(length - wanted);
            self.merge_range(new_end, old_end);
        }
        Some(wanted)
    }
}
