//! Guarded blocks that have left the quarantine, whose pages stay closed for the next of their size: to open and
//! to close them is what such a block costs most.
//!
//! They are retired, so that nobody's pointer to one is accepted, and are used under the pool's lock.

use crate::armour::Region;

/// See the module.
pub(crate) struct Rack {
    places: [Option<Region>; Rack::PLACES],
    /// Where the next one comes if all places are taken.
    next: usize,
    /// Blocks that were taken to be used again.
    taken: u64,
}

impl Rack {
    /// The most blocks that hang here. Their memory is zeroed, or given back, but it is nobody else's meanwhile.
    pub(crate) const PLACES: usize = 8;

    pub(crate) const fn new() -> Rack {
        Rack { places: [None; Rack::PLACES], next: 0, taken: 0 }
    }

    /// Takes a block in, and lets another out if it needs its place.
    pub(super) fn hang(&mut self, block: Region) -> Option<Region> {
        if let Some(place) = self.places.iter_mut().find(|place| place.is_none()) {
            return place.replace(block);
        }
        let out = self.places[self.next].replace(block);
        self.next = (self.next + 1) % Rack::PLACES;
        out
    }

    /// Lets a block out, to be used, that has `size` bytes, and less than twice as many.
    pub(super) fn take(&mut self, size: usize) -> Option<Region> {
        let fits = |place: &Option<Region>| {
            place.is_some_and(|block| block.len / 2 < size && size <= block.len)
        };
        let block = self.places.iter_mut().find(|place| fits(place))?.take();
        self.taken += 1;
        block
    }

    /// What was taken last is not used.
    pub(super) fn take_back(&mut self) {
        self.taken -= 1;
    }

    /// Lets a block out.
    pub(super) fn pop(&mut self) -> Option<Region> {
        self.places.iter_mut().find_map(Option::take)
    }

    /// Lets a block out of those that are meant.
    pub(super) fn pop_one_of(&mut self, is_meant: impl Fn(Region) -> bool) -> Option<Region> {
        self.places.iter_mut().find(|place| place.is_some_and(&is_meant))?.take()
    }

    /// The blocks that hang here.
    pub(super) fn iter(&self) -> impl Iterator<Item = Region> {
        self.places.iter().flatten().copied()
    }

    /// Blocks that were used again.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.places = [None; Rack::PLACES];
    }
}
