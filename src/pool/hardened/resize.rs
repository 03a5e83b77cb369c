//! What changes of a live block: its bytes, its origin.

use super::find::Block;
use super::{Bare, Claim, Wanted};
use crate::armour::{Region, Suit, Worn};
use crate::error::{Error, Origin};
use crate::pool::MemoryPool;
use core::ptr::NonNull;
use spin::RelaxStrategy;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Makes a block hold `size` bytes, where it is if that can be.
    pub(crate) fn resize_armoured(
        &self,
        bare: &impl Bare,
        address: usize,
        size: usize,
        claim: Claim,
    ) -> Result<NonNull<u8>, Error> {
        let (old, old_size, new) = match self.block_at(bare, address)? {
            Block::Armoured(suit, worn) => {
                self.accept(suit, &worn, claim)?;
                let room = suit.room(worn.user).unwrap_or(0);
                // To move one that gets smaller saves half.
                let may_stay = size <= room && (size >= worn.size || size >= room / 2);
                if may_stay && self.resize_in_place(suit, &worn, size) {
                    return Ok(worn.user);
                }
                let wanted = Wanted::bytes(size);
                let new = if size > worn.size {
                    self.alloc_armoured(bare, wanted)?
                } else {
                    match self.alloc_armoured_unasked(bare, wanted) {
                        Err(_) if self.resize_in_place(suit, &worn, size) => return Ok(worn.user),
                        new => new?,
                    }
                };
                (worn.user, worn.size, new)
            }
            Block::Plain(block) => {
                (block.start, block.len, self.alloc_armoured(bare, Wanted::bytes(size))?)
            }
        };
        // SAFETY: both blocks are live, so that they don't overlap, and have so many bytes.
        unsafe { new.copy_from_nonoverlapping(old, old_size.min(size)) };
        self.release_armoured(bare, address, claim).map(|()| new).inspect_err(|_| {
            // Somebody released it meanwhile, against the caller's promise.
            let _ = self.release_armoured(bare, new.addr().get(), Claim::POOL);
        })
    }

    fn resize_in_place(&self, suit: Suit, worn: &Worn, size: usize) -> bool {
        if suit.room(worn.user).is_none_or(|room| size > room) {
            return false;
        }
        if let Some(guards) = self.armoury().guards.filter(|_| suit.guarded && worn.is_closed) {
            let (_, old) = suit.guards(worn.user, worn.size);
            let (_, new) = suit.guards(worn.user, size);
            // SAFETY: the pages between are the block's, and nobody uses them yet, or any more.
            unsafe {
                if new.start > old.start {
                    if !(guards.open)(old.start, old.len - new.len) {
                        return false;
                    }
                } else {
                    // First: who looks at the block meanwhile, or in a forked child, must not miss the canaries of
                    // the old size, which are wiped next.
                    suit.write(worn.user, size, worn.origin, true);
                    let left = Region { start: new.start, len: new.len - old.len };
                    guards.wipe(left);
                    // Under the lock: who looks at live blocks finds their pages open.
                    let _inner = self.lock();
                    (guards.close)(left.start, left.len);
                    return true;
                }
            }
        }
        // SAFETY: the block has room for the user's bytes, and is his to resize.
        unsafe { suit.write(worn.user, size, worn.origin, worn.is_closed) };
        true
    }

    /// The bytes that were asked for of the live block that starts at `address`.
    pub(crate) fn armoured_size(&self, bare: &impl Bare, address: usize) -> Result<usize, Error> {
        Ok(match self.block_at(bare, address)? {
            Block::Armoured(_, worn) => worn.size,
            Block::Plain(block) => block.len,
        })
    }

    /// Gives a live block of the origin `from` the origin `to`; blocks of others it leaves as they are. Says which
    /// it had, if it is a live block that nothing was written beside.
    pub(crate) fn change_origin(
        &self,
        bare: &impl Bare,
        address: usize,
        from: Origin,
        to: Origin,
    ) -> Option<Origin> {
        let suit = self.suit(bare.holding(address)?);
        // SAFETY: the block is live, and the caller's.
        unsafe {
            let worn = suit.look().ok()?;
            let is_it = worn.is_live() && worn.user.addr().get() == address;
            if !is_it || suit.wound(&worn).is_some() {
                return None;
            }
            if worn.origin == from {
                suit.write(worn.user, worn.size, to, worn.is_closed);
            }
            Some(worn.origin)
        }
    }
}
