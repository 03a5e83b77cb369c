//! The extent of a buddy system, and the size and order of its metadata.

use crate::bits::Bitmap;

/// The most granules a heap can have, so that the position of a bit fits 32 bits.
pub(crate) const MAX_GRANULES: usize = 1 << 30;

/// Where a buddy system keeps its books, and over what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Granules from the origin, which every alignment divides, to granule 0; less than [`MAX_GRANULES`].
    pub(crate) lead: u32,
    /// Granules that the heap can ever have.
    pub(crate) capacity: u32,
    /// Whether to know which free granules were in use since they were last purged.
    pub(crate) track_use: bool,
}

impl Shape {
    /// Number of orders of which a block may fit.
    pub(super) fn orders(self) -> usize {
        self.capacity.ilog2() as usize + 1
    }

    /// First of the order's blocks to have a bit: an even one, so that the buddy of every block has a bit,
    /// also where it would lie outside the heap.
    pub(super) fn first_block(self, order: usize) -> u32 {
        (self.lead >> order) & !1
    }

    /// Bits of an order: enough for every lead, so that metadata has one size. The capacity reaches into
    /// at most `((capacity - 1) >> order) + 2` blocks, and making pairs of them adds one at either end.
    pub(super) fn blocks(self, order: usize) -> u32 {
        (((self.capacity - 1) >> order) + 4).next_multiple_of(2)
    }

    pub(super) fn bits(self) -> usize {
        (0..self.orders()).map(|order| self.blocks(order) as usize).sum()
    }

    /// Bytes of the bitmap's words.
    pub(super) fn bitmap_bytes(self) -> usize {
        Bitmap::words(self.bits()) * size_of::<u64>()
    }

    /// Where the words that track use begin.
    pub(super) fn tracking_offset(self) -> usize {
        let map = self.bitmap_bytes() + (self.orders() + 1) * size_of::<u32>();
        (map + self.capacity as usize).next_multiple_of(align_of::<u64>())
    }

    /// Bytes of metadata, to be aligned for `u64`: the bitmap's words, the position of each order's first
    /// bit, the map, and where use is tracked the words for that.
    pub(crate) fn metadata_bytes(self) -> usize {
        let words = if self.track_use { Bitmap::words(self.capacity as usize) } else { 0 };
        self.tracking_offset() + words * size_of::<u64>()
    }
}
