//! Numbers that a program can't foresee, as long as it doesn't know the seed: where objects are taken at random.

/// A stream of numbers: a counter, of which the halves of a product are folded (Wang Yi's wyrand).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    #[inline]
    pub(crate) fn roll(&mut self) -> u64 {
        const STEP: u64 = 0xa076_1d64_78bd_642f;
        const MIX: u64 = 0xe703_7ed1_a0b4_28db;
        self.0 = self.0.wrapping_add(STEP);
        let product = self.0 as u128 * (self.0 ^ MIX) as u128;
        (product >> 64) as u64 ^ product as u64
    }
}
