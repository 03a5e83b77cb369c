//! What a program touched that it can't: the pages about guarded blocks, and those that were released.

use super::super::MemoryPool;
use crate::armour::Worn;
use core::fmt;
use spin::RelaxStrategy;

/// What was touched that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Behind the end of a live block.
    Behind {
        /// The block.
        block: usize,
        /// Its bytes.
        size: usize,
        /// From its end on.
        offset: usize,
    },
    /// Before the start of a live block.
    Before {
        /// The block.
        block: usize,
        /// Its bytes.
        size: usize,
        /// From its start downwards.
        offset: usize,
    },
    /// A block that has been released.
    Released {
        /// The block.
        block: usize,
        /// Its bytes.
        size: usize,
    },
    /// A block without bytes.
    Empty,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Fault::Behind { block, size, offset } => {
                write!(
                    f,
                    "out of bounds: byte {offset} behind the end of the block of {size} bytes at {block:#x}"
                )
            }
            Fault::Before { block, size, offset } => {
                write!(
                    f,
                    "out of bounds: byte {offset} before the block of {size} bytes at {block:#x}"
                )
            }
            Fault::Released { block, size } => {
                write!(f, "use after release: in the freed block of {size} bytes at {block:#x}")
            }
            Fault::Empty => f.write_str("out of bounds: in a block of 0 bytes"),
        }
    }
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Which block of this hardened pool was touched at an address that can't be, if the pool is not just being
    /// changed.
    pub(crate) fn fault_at(&self, address: usize) -> Option<Fault> {
        let inner = self.inner.try_lock()?;
        let suit = self.suit(inner.block_holding(address)?);
        // SAFETY: under the lock a live block stays one, and its header can be read.
        let worn @ Worn { user, size, .. } = unsafe { suit.look() }.ok()?;
        let block = user.addr().get();
        Some(match address.checked_sub(block) {
            _ if !worn.is_live() => Fault::Released { block, size },
            None => Fault::Before { block, size, offset: block - address },
            Some(offset) => Fault::Behind { block, size, offset: offset.checked_sub(size)? },
        })
    }
}
