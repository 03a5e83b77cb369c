//! Heaps in a script.

use crate::Region;
use arbitrary::Arbitrary;

/// A heap of any size up to 2 MiB, at any place in a page.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct NewHeap {
    skipped: u16,
    /// In units of 32 bytes, and the bytes beyond.
    size: u16,
    odd: u8,
}

impl NewHeap {
    /// Heaps of so many bytes are never too small.
    pub const ENOUGH: usize = 1024;

    pub fn region(&self) -> Region {
        self.region_of(usize::from(self.size) * 32 + usize::from(self.odd))
    }

    /// A region of another size at the same place.
    pub fn region_of(&self, size: usize) -> Region {
        Region::new(self.skipped, size)
    }

    /// A region in which a heap is never refused.
    pub fn usable_region(&self) -> Region {
        self.region_of(Self::ENOUGH + usize::from(self.size) * 32 + usize::from(self.odd))
    }
}
