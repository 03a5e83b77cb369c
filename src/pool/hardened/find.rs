//! From an address to the block that starts there, or to what is wrong with it.

use super::look::wounded;
use super::{Bare, Claim};
use crate::armour::{Damaged, Region, Suit, Worn, Wound};
use crate::error::Error;
use crate::pool::MemoryPool;
use crate::pool::inner::Inner;
use crate::pool::lock::Guard;
use core::sync::atomic::Ordering::Acquire;
use core::sync::atomic::fence;
use spin::RelaxStrategy;

/// A live block of a hardened pool.
pub(super) enum Block {
    Armoured(Suit, Worn),
    /// From before the pool was hardened, or not on the roll of one that is spot-checked.
    Plain(Region),
}

/// What a pointer into a live bare block is that is none to its user's bytes.
fn explained(pointer: usize, worn: Result<Worn, Damaged>) -> Error {
    let Ok(worn) = worn else { return Error::Underrun { pointer, size: 0, offset: 0 } };
    let (size, block) = (worn.size, worn.user.addr().get());
    if !worn.is_live() {
        Error::AlreadyReleased { pointer, size }
    } else if pointer.wrapping_sub(block) < size {
        Error::InteriorPointer { pointer, block, size }
    } else {
        Error::NotInPool { pointer }
    }
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// The live block that starts at `address`, for whoever uses it.
    #[inline]
    pub(super) fn block_at(&self, bare: &impl Bare, address: usize) -> Result<Block, Error> {
        let Some(block) = bare.holding(address) else { return Err(self.bare_misuse(address)) };
        let suit = self.suit(block);
        // SAFETY: the block is live, so it can be read, or, if it is guarded, its header can.
        match unsafe { suit.look() } {
            Ok(worn) if worn.is_live() && worn.user.addr().get() == address => {
                Ok(Block::Armoured(suit, worn))
            }
            Err(Damaged) if self.is_plain(block, address) => Ok(Block::Plain(block)),
            other => Err(self.diagnose(address, other)),
        }
    }

    /// Says of a pointer into a bare block what it is to the user's, if the block is one of some that wear an armour.
    #[cold]
    fn as_worn(&self, error: Error) -> Error {
        let roll = self.equipped().and_then(|armoury| armoury.roll);
        let Error::InteriorPointer { pointer, block, .. } = error else { return error };
        if roll.is_none_or(|roll| !roll.has(block)) {
            return error;
        }
        let Some(block) = self.holding(pointer) else { return error };
        // SAFETY: the block is live, so it can be read.
        explained(pointer, unsafe { self.suit(block).look() })
    }

    /// Why `address` can't be released, where the pool, whose lock this is, finds no live block.
    #[cold]
    pub(in super::super) fn refused(
        &self,
        mut inner: Guard<'_, Inner<R>, R>,
        address: usize,
    ) -> Error {
        let error = inner.misuse(address);
        drop(inner);
        self.as_worn(error)
    }

    /// Why a pointer into no live bare block is none to a user's bytes.
    #[cold]
    fn bare_misuse(&self, address: usize) -> Error {
        match self.misuse(address) {
            // The books have it, but another thread has released it.
            Error::InteriorPointer { pointer, size, .. } => {
                Error::AlreadyReleased { pointer, size }
            }
            error => error,
        }
    }

    #[cold]
    fn is_plain(&self, block: Region, address: usize) -> bool {
        let armoury = self.armoury();
        let has_no_armour = match armoury.roll {
            Some(roll) => !roll.has(address),
            None => armoury.early(block).is_some(),
        };
        block.start.addr().get() == address && has_no_armour
    }

    /// Why a pointer into a live bare block is none to its user's bytes.
    #[cold]
    fn diagnose(&self, pointer: usize, worn: Result<Worn, Damaged>) -> Error {
        self.count_misuse();
        explained(pointer, worn)
    }

    /// Whether what is claimed of a live block is true, and nothing was written beside its bytes.
    #[inline]
    pub(super) fn accept(&self, suit: Suit, worn: &Worn, claim: Claim) -> Result<(), Error> {
        // SAFETY: the block is live, and the caller's to release.
        let wound = unsafe { suit.wound(worn) };
        if claim.is_true_of(worn) && wound.is_none() {
            Ok(())
        } else {
            Err(self.refuse(suit, worn, claim, wound))
        }
    }

    #[cold]
    fn refuse(&self, suit: Suit, worn: &Worn, claim: Claim, wound: Option<Wound>) -> Error {
        let (pointer, size, origin) = (worn.user.addr().get(), worn.size, worn.origin);
        // Acquire: if another thread has released the block, and wiped its canaries, its tag of before is not found.
        fence(Acquire);
        // SAFETY: the header of the block could be read just now.
        let is_as_before = unsafe { suit.look() } == Ok(*worn);
        let error = match (wound, claim.size) {
            _ if !is_as_before => Error::AlreadyReleased { pointer, size },
            (Some(wound), _) => wounded(worn, wound),
            (None, Some(given)) if given != size => Error::SizeMismatch { pointer, given, size },
            // For whoever claims to judge.
            (None, _) => return Error::OriginMismatch { pointer, origin },
        };
        self.count_misuse();
        error
    }
}
