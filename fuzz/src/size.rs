//! Sizes and alignments, in which every magnitude is as likely as every other.

use arbitrary::Arbitrary;

/// A size: mostly one that can be had, now and then one that no block can have.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Size {
    magnitude: u8,
    mantissa: u16,
}

impl Size {
    /// The largest size below those that are beyond all bounds, `1 << MOST_BITS`, is this.
    const MOST_BITS: u32 = 22;

    pub fn bytes(self) -> usize {
        let mantissa = usize::from(self.mantissa);
        match self.magnitude {
            0..250 => {
                let bits = u32::from(self.magnitude) % (Self::MOST_BITS + 1);
                // The highest bits of a size of so many bits, and the one below them all.
                let top = (mantissa | 1 << 15) << Self::MOST_BITS >> (15 + Self::MOST_BITS - bits);
                top.saturating_sub(1 + (mantissa & 1))
            }
            250 => isize::MAX as usize - mantissa,
            251 => isize::MAX as usize + mantissa,
            252 => usize::MAX - mantissa,
            // In between, so that rounding and doubling are near the bounds of 32 and 64 bits.
            253 => (1 << 32) - (mantissa >> 1),
            254 => 1 << (mantissa % 64),
            255 => (1usize << (mantissa % 64)) - 1,
        }
    }

    /// At most `most`.
    pub fn within(self, most: usize) -> usize {
        self.bytes().min(most)
    }
}

/// An alignment: mostly a power of two.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Alignment(u8);

impl Alignment {
    pub fn bytes(self) -> usize {
        match self.0 {
            // No power of two.
            240..248 => (usize::from(self.0) - 240) * 3,
            248.. => usize::MAX << (self.0 - 248),
            shift => 1 << (shift % 64),
        }
    }
}
