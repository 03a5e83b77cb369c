//! What a program writes beside a block of a hardened pool.

use crate::Block;
use arbitrary::Arbitrary;
use heapmaster::Error;

/// Bytes behind every block that are watched.
const BEHIND: usize = 8;

/// Bytes of the header, before which or at which the user's begin.
pub(crate) const HEADER: usize = 16;

/// The most bytes before a block that are watched, but for the header's.
const BEFORE: usize = 4096;

/// Bytes that are written to, next to some block.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Beside {
    place: Place,
    /// Every magnitude is as likely as every other.
    magnitude: u8,
    offset: u16,
    count: u8,
    mask: u8,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Place {
    Behind,
    Before,
    Header,
}

/// Bytes that were written to, until [`Damage::undo`].
pub struct Damage {
    start: *mut u8,
    count: usize,
    mask: u8,
    /// What the block's release is refused with.
    pub error: Error,
    /// Whether the pool can't tell any more how large the block is.
    pub is_defaced: bool,
}

/// How far before a block its header begins. Its second word has the block's size in the lowest 44 bits, and the distance,
/// in 16 bytes, in the next 16.
fn distance_of_header(block: &Block) -> usize {
    let is_header = |&units: &usize| {
        let second = block.pointer.wrapping_byte_sub(units * HEADER - HEADER / 2).cast::<u64>();
        // SAFETY: the header lies there, or nearer to the block's start than it does.
        let word = unsafe { second.read() };
        word & ((1 << 44) - 1) == block.size as u64 && word >> 44 & 0xffff == units as u64
    };
    let most = block.alignment / HEADER;
    (1..=most).find(is_header).unwrap_or(most) * HEADER
}

impl Beside {
    /// Writes beside a live block of a pool that a program made.
    pub fn write(self, block: &Block) -> Damage {
        let (pointer, distance) = (block.address(), distance_of_header(block));
        let offset = usize::from(self.offset) >> (self.magnitude % 16);
        let (before, left) = match self.place {
            Place::Behind => {
                let offset = offset % BEHIND;
                let error = Error::Overrun { pointer, size: block.size, offset };
                let start = block.pointer.wrapping_byte_add(block.size + offset).cast();
                return self.damage(start, BEHIND - offset, error, false);
            }
            Place::Before => {
                let before = 1 + offset % distance.min(BEFORE);
                (before, before)
            }
            Place::Header => {
                let into = offset % HEADER;
                (distance - into, HEADER - into)
            }
        };
        let is_defaced = before > distance - HEADER;
        let (size, offset) = if is_defaced { (0, 0) } else { (block.size, before) };
        let error = Error::Underrun { pointer, size, offset };
        self.damage(block.pointer.wrapping_byte_sub(before).cast(), left, error, is_defaced)
    }

    fn damage(self, start: *mut u8, most: usize, error: Error, is_defaced: bool) -> Damage {
        let count = 1 + usize::from(self.count) % most;
        // Not all bits, which would make the header's tag that of a block that was released.
        let mask = (self.mask % 0xff).max(1);
        let damage = Damage { start, count, mask, error, is_defaced };
        damage.flip();
        damage
    }
}

impl Damage {
    fn flip(&self) {
        for index in 0..self.count {
            // SAFETY: they are bytes of the block's armour, which nobody else changes while the block is live.
            unsafe { *self.start.add(index) ^= self.mask };
        }
    }

    /// Makes the bytes what they were.
    pub fn undo(self) {
        self.flip();
    }
}
