//! Allocation: a bare block, what was written to it since its release, and its armour.

use super::{Bare, Wanted, found};
use crate::armour::{self, MOST_UNGUARDED, PAGE, Region, Suit};
use crate::error::Error;
use crate::pool::MemoryPool;
use crate::pool::heap::Request;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;

/// The most guarded blocks whose pages are closed at a time; others are like them but for that. Each takes three
/// mappings of the process, of which the system grants some ten thousands.
const MOST_CLOSED: usize = 8192;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Allocates a block and puts its armour on.
    pub(crate) fn alloc_armoured(
        &self,
        bare: &impl Bare,
        wanted: Wanted,
    ) -> Result<NonNull<u8>, Error> {
        self.alloc_from(wanted, |request| {
            bare.take(request, false).or_else(|_| {
                // What waits in quarantine may be what is missing.
                if request.size <= self.lock().capacity {
                    self.empty_quarantine(bare);
                }
                bare.take(request, true)
            })
        })
    }

    /// The same, of what the heaps have free now: nobody is asked for memory, and to find none is no failure.
    pub(super) fn alloc_armoured_unasked(
        &self,
        bare: &impl Bare,
        wanted: Wanted,
    ) -> Result<NonNull<u8>, Error> {
        self.alloc_from(wanted, |request| bare.take(request, false))
    }

    fn alloc_from(
        &self,
        wanted: Wanted,
        take: impl FnOnce(Request) -> Result<(Region, bool), Error>,
    ) -> Result<NonNull<u8>, Error> {
        let Wanted { size, alignment, origin, zeroed } = wanted;
        let too_large = Error::SizeOverflow { count: 1, size };
        let bytes = armour::bytes_for(size, alignment).ok_or(too_large)?;
        let request = if bytes > MOST_UNGUARDED && self.hardened().guards.is_some() {
            let size = armour::guarded_bytes_for(size, alignment).ok_or(too_large)?;
            Request { size, alignment: PAGE }
        } else {
            Request { size: bytes, alignment }
        };
        let (block, fresh) = take(request).map_err(|error| error.about(size))?;
        let suit = self.suit(block);
        if !fresh {
            if !suit.guarded {
                self.wipe_if_written(block);
            } else if zeroed && let Some(guards) = self.hardened().guards {
                // SAFETY: they are pages of the block, which is ours.
                unsafe { guards.wipe(suit.pages()) };
            }
        }
        let closes = suit.guarded && self.may_close();
        // SAFETY: the block is ours, and large enough.
        let user = unsafe { suit.put_on(size, alignment, origin, closes) };
        if closes {
            self.close_guards(suit, user, size);
        }
        Ok(user)
    }

    /// Tells of a free block that something wrote to, and makes it zero again (N1).
    #[inline]
    fn wipe_if_written(&self, block: Region) {
        // SAFETY: the block is ours, and a multiple of 16 bytes.
        let Some(offset) = (unsafe { armour::first_nonzero(block) }) else { return };
        self.found_written(block, offset);
    }

    #[cold]
    pub(crate) fn found_written(&self, block: Region, offset: usize) {
        // SAFETY: the block is the caller's.
        unsafe { block.start.write_bytes(0, block.len) };
        self.tell_written(block, offset);
    }

    /// Tells of a block that something wrote to after its release.
    pub(super) fn tell_written(&self, block: Region, offset: usize) {
        let block = block.start.addr().get();
        self.count_misuse();
        found(&Error::WrittenAfterRelease { pointer: block + offset, block });
    }

    /// Whether one more block may have its pages closed; it is counted then.
    fn may_close(&self) -> bool {
        let closed = &self.hardened().closed;
        let may = closed.fetch_add(1, Relaxed) < MOST_CLOSED;
        if !may {
            closed.fetch_sub(1, Relaxed);
        }
        may
    }

    /// Closes the pages about the user's; those that the system doesn't close stay as they are.
    fn close_guards(&self, suit: Suit, user: NonNull<u8>, size: usize) {
        let Some(guards) = self.hardened().guards else { return };
        let (before, behind) = suit.guards(user, size);
        for guard in [before, behind] {
            // SAFETY: they are pages of the block, which nobody uses.
            unsafe { (guards.close)(guard.start, guard.len) };
        }
    }
}
