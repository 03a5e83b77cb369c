//! Guarded blocks that have left the quarantine, whose pages stay closed for the next of their size: to open and
//! to close them is what such a block costs most.
//!
//! They are retired, so that nobody's pointer to one is accepted, and are used under the pool's lock.

use crate::armour::Region;

/// See the module.
pub(crate) struct Rack {
    places: [Option<Region>; Rack::PLACES],
    /// Where the next one comes; the one that hangs there is the oldest.
    next: usize,
}

impl Rack {
    /// The most blocks that hang here. Their memory is zeroed, or given back, but it is nobody else's meanwhile.
    pub(crate) const PLACES: usize = 8;

    pub(crate) const fn new() -> Rack {
        Rack { places: [None; Rack::PLACES], next: 0 }
    }

    /// Takes a block in, and lets the one out whose place it gets.
    pub(super) fn hang(&mut self, block: Region) -> Option<Region> {
        let out = self.places[self.next].replace(block);
        self.next = (self.next + 1) % Rack::PLACES;
        out
    }

    /// Lets a block out that has `size` bytes, and less than twice as many.
    pub(super) fn take(&mut self, size: usize) -> Option<Region> {
        let fits = |place: &Option<Region>| {
            place.is_some_and(|block| block.len / 2 < size && size <= block.len)
        };
        self.places.iter_mut().find(|place| fits(place))?.take()
    }

    /// Lets a block out.
    pub(super) fn pop(&mut self) -> Option<Region> {
        self.places.iter_mut().find_map(Option::take)
    }

    /// The blocks that hang here.
    pub(super) fn iter(&self) -> impl Iterator<Item = Region> {
        self.places.iter().flatten().copied()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Rack::new();
    }
}
