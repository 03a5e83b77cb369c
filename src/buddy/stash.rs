//! Runs as threads know them that have no lock: released into a stash, and taken out of it.

use super::handover::TagByte;
use super::{Granule, Order, Tag};
use core::ops::RangeInclusive;
use core::ptr::NonNull;

/// The tags of a heap's granules.
#[derive(Clone, Copy)]
pub(crate) struct Tags {
    bytes: NonNull<TagByte>,
    granules: u32,
}

impl Tags {
    /// Of a heap that has no granules.
    pub(crate) const EMPTY: Tags = Tags { bytes: NonNull::dangling(), granules: 0 };

    /// Those of so many granules.
    ///
    /// # Safety
    /// There is a byte for each, as long as the tags and their copies are used.
    pub(super) unsafe fn new(bytes: NonNull<TagByte>, granules: u32) -> Tags {
        Tags { bytes, granules }
    }

    #[inline]
    fn byte(&self, granule: u32) -> Option<&TagByte> {
        // SAFETY: there is a byte for each granule.
        (granule < self.granules).then(|| unsafe { self.bytes.add(granule as usize).as_ref() })
    }

    /// Stashes the run that starts at `head`, if there is one of a single block of one of the `orders`, and says of
    /// which.
    #[inline]
    pub(crate) fn stash(&self, head: Granule, orders: RangeInclusive<Order>) -> Option<Order> {
        let order = self.order_of(head).filter(|order| orders.contains(order))?;
        let (from, to) = (Tag::Run(order), Tag::Stashed(order));
        self.byte(head.0)?.change(from.to_byte(), to.to_byte()).then_some(order)
    }

    /// The order of the live run that starts at `head`, if it is a single block.
    #[inline]
    pub(crate) fn order_of(&self, head: Granule) -> Option<Order> {
        let Tag::Run(order) = Tag::from_byte(self.byte(head.0)?.get()) else { return None };
        self.is_single(head, order).then_some(order)
    }

    /// Whether the run that starts at `head` with a block of that order has no other. What follows the block belongs
    /// to the run if it is a piece, and is not one as long as the run is live.
    #[inline]
    fn is_single(&self, head: Granule, order: Order) -> bool {
        let next = self.byte(head.0 + order.granules());
        next.is_none_or(|next| !matches!(Tag::from_byte(next.get()), Tag::Piece(_)))
    }

    /// Takes the run that starts at `head`, if it is stashed and of that order.
    #[inline]
    pub(crate) fn take(&self, head: Granule, order: Order) -> bool {
        let (from, to) = (Tag::Stashed(order), Tag::Run(order));
        self.byte(head.0).is_some_and(|byte| byte.change(from.to_byte(), to.to_byte()))
    }
}
