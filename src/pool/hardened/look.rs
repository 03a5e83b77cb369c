//! A look at the blocks of a hardened pool that may be in use.

use super::super::lock::Wait;
use super::super::{BlockInfo, BlockState, MemoryPool};
use crate::armour::{Damaged, HEADER, Quarantine, Region, Worn, Wound, first_nonzero};
use crate::error::Error;
use crate::slab::remote::Inbox;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering::Acquire, fence};
use spin::RelaxStrategy;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// What something wrote to a block that waits in the pool's quarantine; nothing if the lock can't be had.
    pub(crate) fn first_stain(&self, wait: Wait<'_>) -> Option<Error> {
        let _inner = self.inner.lock_while(wait)?;
        // SAFETY: it is used under the lock alone.
        self.stain_in(unsafe { &*self.armoury().quarantine.get() })
    }

    /// What something wrote to a block that waits in this quarantine.
    pub(crate) fn stain_in(&self, quarantine: &Quarantine) -> Option<Error> {
        let unguarded = quarantine.iter().filter(|&block| !self.suit(block).guarded);
        unguarded.into_iter().find_map(|block| {
            // SAFETY: the block is retired, so nobody uses it.
            let offset = unsafe { self.suit(block).stain() }?;
            Some(self.written(block, offset))
        })
    }

    /// What something wrote to the first free block of a hardened pool, of those that this owner alone can allocate, or,
    /// if it is null, the pool (N1); nothing if the lock can't be had. By the owner.
    pub(crate) fn first_stain_of_free(&self, owner: *const Inbox, wait: Wait<'_>) -> Option<Error> {
        let mut address = 0;
        while self.is_hardened() {
            let inner = self.inner.lock_while(wait)?;
            let block = inner.block_from(address)?;
            let start = block.address.addr();
            address = start + block.size;
            let is_free = block.state == BlockState::Free;
            if !is_free || inner.owner_of_free(start) != Some(owner.cast_mut()) {
                continue;
            }
            let region = Region { start: NonNull::new(block.address)?, len: block.size };
            // SAFETY: the block is free, so it can be read; under the lock, or by the owner, it stays free.
            if let Some(offset) = unsafe { first_nonzero(region) } {
                return Some(self.written(region, offset));
            }
        }
        None
    }

    /// A block as a walk over bare blocks finds it, as its user knows it. Under the lock.
    pub(in super::super) fn as_known(&self, block: BlockInfo) -> BlockInfo {
        let Some(start) = NonNull::new(block.address).filter(|_| {
            block.state == BlockState::Live && self.wears_armour(block.address.addr() + HEADER)
        }) else {
            return block;
        };
        let suit = self.suit(Region { start, len: block.size });
        // SAFETY: under the lock its memory stays the heap's, and its header can be read: that of a guarded block, which
        // stays live, and of others all.
        match unsafe { suit.look() } {
            Ok(worn) if worn.is_live() => {
                BlockInfo { address: worn.user.as_ptr(), size: worn.size, ..block }
            }
            Ok(_) => BlockInfo { state: BlockState::Free, ..block },
            Err(Damaged) => block,
        }
    }

    /// What was written beside the first such of the blocks that wear an armour, where not all do.
    pub(in super::super) fn first_wound_of_some(&self, wait: Wait<'_>) -> Option<Error> {
        let roll = self.equipped()?.roll?;
        roll.blocks().find_map(|start| {
            // Under the lock its memory stays the heap's, so it can be read.
            let inner = self.inner.lock_while(wait)?;
            let block = inner.block_from(start).filter(|block| block.address.addr() == start)?;
            let wound = self.wound_of(block);
            // Acquire: if it was somebody else's block that was looked at, this one is not found any more.
            fence(Acquire);
            wound.filter(|_| roll.has(start))
        })
    }

    /// What was written beside the bytes of a live block, which other threads may be using. Under the lock.
    pub(in super::super) fn wound_of(&self, block: BlockInfo) -> Option<Error> {
        let start = NonNull::new(block.address).filter(|_| block.state == BlockState::Live)?;
        let suit = self.suit(Region { start, len: block.size });
        // SAFETY: under the lock its memory stays the heap's. A guarded block stays live, and its user's pages stay open.
        let (wound, defaced) =
            unsafe { (suit.look_twice(), suit.defaced().and_then(|_| suit.defaced())) };
        let is_early = || self.armoury().early(suit.block).is_some();
        let defaced = defaced.filter(|_| !is_early());
        let underrun =
            |user: NonNull<u8>| Error::Underrun { pointer: user.addr().get(), size: 0, offset: 0 };
        wound.map(|(worn, wound)| wounded(&worn, wound)).or(defaced.map(underrun))
    }
}

/// What a wound says of a block that is worn like this.
pub(super) fn wounded(worn: &Worn, wound: Wound) -> Error {
    let (pointer, size) = (worn.user.addr().get(), worn.size);
    match wound {
        Wound::Before(offset) => Error::Underrun { pointer, size, offset },
        Wound::Behind(offset) => Error::Overrun { pointer, size, offset },
    }
}
