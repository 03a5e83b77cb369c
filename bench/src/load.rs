//! Live blocks of random sizes, for work that depends on what the allocator can still give and so can't be
//! written down before.

use std::ops::Range;

use fastrand::Rng;

use crate::peers::Peer;
use crate::sizes::log_uniform;

/// The sizes of the blocks.
const SIZES: Range<u32> = 16..4096;

struct Block {
    start: *mut u8,
    size: usize,
}

/// The blocks that a program holds from one peer.
pub struct Load<'a> {
    peer: &'a dyn Peer,
    rng: Rng,
    blocks: Vec<Block>,
    payload: usize,
}

impl<'a> Load<'a> {
    /// None yet.
    pub fn new(peer: &'a dyn Peer, seed: u64) -> Self {
        Self { peer, rng: Rng::with_seed(seed), blocks: Vec::new(), payload: 0 }
    }

    /// Bytes asked for by what is live.
    pub fn payload(&self) -> usize {
        self.payload
    }

    /// Blocks live.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Allocates one more block; `false` when there is none.
    pub fn add(&mut self) -> bool {
        let size = log_uniform(&mut self.rng, &SIZES) as usize;
        let start = self.peer.alloc(size);
        if start.is_null() {
            return false;
        }
        self.blocks.push(Block { start, size });
        self.payload += size;
        true
    }

    /// Releases a random block.
    pub fn remove(&mut self) {
        let Block { start, size } = self.blocks.swap_remove(self.rng.usize(..self.blocks.len()));
        // SAFETY: the block was live, with this size, until it was taken from the list just now.
        unsafe { self.peer.release(start, size) };
        self.payload -= size;
    }

    /// Adds blocks until they hold this payload; `false` when one could not be had.
    pub fn grow_to(&mut self, payload: usize) -> bool {
        while self.payload < payload {
            if !self.add() {
                return false;
            }
        }
        true
    }

    /// Adds blocks until one can't be had.
    pub fn fill(&mut self) {
        while self.add() {}
    }
}
