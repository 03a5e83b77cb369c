//! Which blocks wear an armour, in a pool where only some do.
//!
//! A hash table of a few places a set, so that to look takes a step each, and no lock; where a set is full a block can't
//! be on it.
//!
//! Invariants:
//! - R1: a block is on the roll from when its armour is on until it is about to be taken off.
//! - R2: a block is on it once at most, and bare blocks are not.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const SETS: usize = 256;
const PLACES: usize = 4;

/// Of an address: its armour is being put on. Blocks begin at even ones.
const NOT_YET: usize = 1;

/// See the module. All zeroes are an empty one.
pub(crate) struct Roll([[AtomicUsize; PLACES]; SETS]);

/// A place on the roll that is kept for a block.
pub(super) struct Place<'roll>(&'roll AtomicUsize);

impl Place<'_> {
    /// The block wears its armour now.
    pub(super) fn fill(self) {
        // Relaxed: nobody else writes to it. Release: whoever finds the block finds its armour.
        let block = self.0.load(Relaxed) & !NOT_YET;
        self.0.store(block, Release);
    }
}

impl Roll {
    pub(crate) const fn new() -> Roll {
        Roll([const { [const { AtomicUsize::new(0) }; PLACES] }; SETS])
    }

    fn set_of(&self, block: usize) -> &[AtomicUsize; PLACES] {
        /// 2^64 by the golden ratio: Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = (block as u64).wrapping_mul(SPREAD) >> (u64::BITS - SETS.ilog2());
        &self.0[hash as usize]
    }

    /// A place for a block, which its caller alone knows, if there is one.
    pub(super) fn place_for(&self, block: usize) -> Option<Place<'_>> {
        let mut places = self.set_of(block).iter();
        places
            .find(|place| place.compare_exchange(0, block | NOT_YET, Relaxed, Relaxed).is_ok())
            .map(Place)
    }

    /// Whether the block that starts at `block` wears an armour.
    pub(super) fn has(&self, block: usize) -> bool {
        self.set_of(block).iter().any(|place| place.load(Acquire) == block)
    }

    /// Strikes a block off, whose armour is about to be taken off.
    pub(super) fn strike(&self, block: usize) {
        for place in self.set_of(block) {
            let _ = place.compare_exchange(block, 0, Relaxed, Relaxed);
        }
    }

    /// Where the blocks start that are on it.
    pub(super) fn blocks(&self) -> impl Iterator<Item = usize> {
        let places = self.0.iter().flatten();
        places.map(|place| place.load(Acquire)).filter(|block| *block != 0 && block & NOT_YET == 0)
    }

    /// Strikes all off: none of them is a block any more.
    pub(super) fn clear(&self) {
        self.0.iter().flatten().for_each(|place| place.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_block_is_on_the_roll_from_when_its_place_is_filled_until_it_is_struck_off() {
        let roll = Roll::new();
        let place = roll.place_for(4096).unwrap();
        assert!(!roll.has(4096) && roll.blocks().next().is_none());
        place.fill();
        assert!(roll.has(4096) && !roll.has(8192));
        assert_eq!(roll.blocks().next(), Some(4096));
        roll.strike(4096);
        assert!(!roll.has(4096) && roll.blocks().next().is_none());
    }

    #[test]
    fn the_roll_is_as_a_set_until_there_is_no_place() {
        let roll = Roll::new();
        let mut on = BTreeSet::new();
        for block in (1..=2 * SETS * PLACES).map(|number| number * 16) {
            if let Some(place) = roll.place_for(block) {
                place.fill();
                on.insert(block);
            }
        }
        // The hash spreads them: hardly a set has a place left.
        assert!(on.len() > SETS * PLACES * 9 / 10);
        assert_eq!(roll.blocks().collect::<BTreeSet<_>>(), on);
        for block in (1..=2 * SETS * PLACES).map(|number| number * 16) {
            assert_eq!(roll.has(block), on.contains(&block));
        }
        roll.clear();
        assert_eq!(roll.blocks().count(), 0);
    }
}
