//! Release: out of the user's hands, into quarantine.

use super::find::Block;
use super::{Bare, Claim};
use crate::error::Error;
use crate::pool::MemoryPool;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Releases the block that starts at `address`: into quarantine.
    pub(crate) fn release_armoured(
        &self,
        bare: &impl Bare,
        address: usize,
        claim: Claim,
    ) -> Result<(), Error> {
        let (suit, worn) = match self.block_at(bare, address)? {
            Block::Armoured(suit, worn) => (suit, worn),
            Block::Plain(block) => {
                // SAFETY: the caller gives it up. Free memory is zero (N1).
                unsafe { block.start.write_bytes(0, block.len) };
                if let Some(early) = self.armoury().early(block) {
                    early.store(0, Relaxed);
                }
                return bare.give(block.start);
            }
        };
        self.accept(suit, &worn, claim)?;
        // SAFETY: the caller gives it up.
        if !unsafe { suit.retire(&worn) } {
            self.count_misuse();
            return Err(Error::AlreadyReleased { pointer: address, size: worn.size });
        }
        if self.wipe_retired(suit, &worn) {
            self.confine(bare, suit.block);
        } else {
            self.give_back(bare, suit.block);
        }
        Ok(())
    }
}
