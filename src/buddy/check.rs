//! The buddy system's invariants as code, and a walk over its blocks.

use super::{Buddy, Extent, Granule, NO_SPARE, Order, Tag};

/// An invariant that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) granule: Granule,
}

/// Fails with `invariant` at `granule` unless it `holds`.
pub(crate) fn require(
    holds: bool,
    invariant: &'static str,
    granule: Granule,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { invariant, granule }) }
}

impl Buddy {
    /// Every block, run and span from the one that starts at `from` on, in address order.
    pub(crate) fn extents(&self, from: Granule) -> impl Iterator<Item = Extent> {
        let mut at = from;
        core::iter::from_fn(move || {
            let extent = (at.0 < self.end).then(|| self.extent_at(at))?;
            at = at.plus(extent.granules);
            Some(extent)
        })
    }

    /// Checks U1 to U7. Cost: a step a granule.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        let mut at = Granule(0);
        let mut free_granules = 0;
        let mut free_bits = 0;
        while at.0 < self.end {
            let granules = match self.tag(at) {
                Tag::Free(order) => {
                    self.check_free(at, order)?;
                    free_granules += order.granules();
                    free_bits += usize::from(!self.is_spare(at, order));
                    order.granules()
                }
                Tag::Run(_) | Tag::Stashed(_) => self.check_run(at)?,
                Tag::Span(order) => {
                    let mut inside = at.0..at.0 + order.granules();
                    let whole = inside.all(|granule| {
                        granule < self.end && self.tag(Granule(granule)) == Tag::Span(order)
                    });
                    require(whole, "U1: each granule of a span bears its tag", at)?;
                    order.granules()
                }
                Tag::Piece(_) => return require(false, "U5: a piece follows its run", at),
                Tag::Inside => return require(false, "U1: a head follows each block", at),
            };
            at = at.plus(granules);
        }
        require(at.0 == self.end, "U1: the blocks end where the heap ends", at)?;
        require(free_granules == self.free, "U6: free counts the free granules", at)?;
        require(self.bitmap.findable() == free_bits, "U3: a bit a free block", at)?;
        require(self.touched_is_right(), "U7: touched knows what was used", at)?;
        for (order, &spare) in self.spares.iter().enumerate().filter(|entry| *entry.1 != NO_SPARE) {
            let tag = Tag::Free(Order(order as u8));
            require(self.tag(Granule(spare)) == tag, "U3: a spare is free", Granule(spare))?;
        }
        Ok(())
    }

    fn is_spare(&self, head: Granule, order: Order) -> bool {
        self.spares.get(order.index()) == Some(&head.0)
    }

    fn check_block(&self, head: Granule, order: Order) -> Result<(), Broken> {
        let aligned = self.offset(head).is_multiple_of(order.granules());
        require(aligned, "U2: a block is aligned to its size", head)?;
        let end = head.0 + order.granules();
        require(end <= self.end, "U1: a block ends inside the heap", head)?;
        let clean = (head.0 + 1..end).all(|granule| self.tag(Granule(granule)) == Tag::Inside);
        require(clean, "U1: a block has one head", head)
    }

    fn check_free(&self, head: Granule, order: Order) -> Result<(), Broken> {
        self.check_block(head, order)?;
        let start = self.offset(head);
        let has_bit = self.bitmap.test(self.position(start, order));
        require(has_bit != self.is_spare(head, order), "U3: a free block has its bit", head)?;
        let merged = order.index() + 1 == self.shape.orders()
            || !has_bit
            || !self.bitmap.test(self.position(start ^ order.granules(), order));
        require(merged, "U4: free buddies are merged", head)
    }

    fn check_run(&self, head: Granule) -> Result<u32, Broken> {
        let length = self.run_at(head);
        for (piece, order) in self.pieces(head, head.plus(length)) {
            self.check_block(piece, order)?;
            let tag = self.tag(piece);
            let is_head = tag == Tag::Run(order) || tag == Tag::Stashed(order);
            let is_right = if piece == head { is_head } else { tag == Tag::Piece(order) };
            require(is_right, "U5: a run's pieces are canonical", piece)?;
        }
        Ok(length)
    }

    /// Whether everything is one canonical sequence of free blocks, as in a new heap.
    #[cfg(test)]
    pub(crate) fn is_pristine(&mut self) -> bool {
        self.merge_spares();
        let end = Granule(self.end);
        self.pieces(Granule(0), end).all(|(head, order)| self.tag(head) == Tag::Free(order))
            && self.extents(Granule(0)).all(|extent| extent.kind == super::Kind::Free)
    }
}
