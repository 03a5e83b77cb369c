//! Allocation: a bare block, what was written to it since its release, and its armour.

use super::quarantine::WORTH_PURGING;
use super::{Bare, Guards, Rack, Wanted, found};
use crate::armour::{self, HEADER, MOST_UNGUARDED, PAGE, Region, Suit};
use crate::error::Error;
use crate::pool::heap::Request;
use crate::pool::{MAX_SIZE, MIN_ALIGNMENT, MemoryPool};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;

/// The most guarded blocks whose pages are closed at a time; others are like them but for that. Each takes three
/// mappings of the process, of which the system grants some ten thousands.
const MOST_CLOSED: usize = 8192;

/// The most bytes of a block that wears an armour in a pool where only some do: larger ones cost more than they tell.
pub(crate) const MOST_CHECKED: usize = 1024;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Puts the armour on a bare block of a pool where only some wear one, if there is a place for it on the roll.
    ///
    /// # Safety
    /// The block is the caller's, and as large as `bytes_for` says.
    pub(crate) unsafe fn put_on_checked(
        &self,
        block: Region,
        wanted: Wanted,
    ) -> Option<NonNull<u8>> {
        let Wanted { size, alignment, origin, zeroed } = wanted;
        debug_assert!(size <= MOST_CHECKED && alignment <= HEADER);
        let place = self.armoury().roll?.place_for(block.start.addr().get())?;
        // SAFETY: the caller's promise.
        unsafe {
            if zeroed {
                block.start.write_bytes(0, block.len);
            }
            let user = self.suit(block).put_on(size, alignment, origin, false);
            place.fill();
            Some(user)
        }
    }

    /// Allocates a block and puts its armour on, or none where only some wear one.
    pub(crate) fn alloc_armoured(
        &self,
        bare: &impl Bare,
        wanted: Wanted,
    ) -> Result<NonNull<u8>, Error> {
        self.alloc_from(wanted, |request, is_guarded| {
            let take = |may_ask| self.take_from(bare, request, is_guarded, may_ask);
            take(false).or_else(|_| {
                // What waits in quarantine may be what is missing.
                if request.size <= self.lock().capacity {
                    self.make_room(bare);
                }
                take(true)
            })
        })
    }

    /// The same, of what the heaps have free now: nobody is asked for memory, and to find none is no failure.
    pub(super) fn alloc_armoured_unasked(
        &self,
        bare: &impl Bare,
        wanted: Wanted,
    ) -> Result<NonNull<u8>, Error> {
        self.alloc_from(wanted, |request, is_guarded| {
            self.take_from(bare, request, is_guarded, false)
        })
    }

    /// A bare block; of the pool itself if it is to be guarded (see [`Bare`]).
    fn take_from(
        &self,
        bare: &impl Bare,
        request: Request,
        is_guarded: bool,
        may_ask: bool,
    ) -> Result<(Region, bool), Error> {
        if is_guarded { self.take(request, may_ask) } else { bare.take(request, may_ask) }
    }

    fn alloc_from(
        &self,
        wanted: Wanted,
        take: impl FnOnce(Request, bool) -> Result<(Region, bool), Error>,
    ) -> Result<NonNull<u8>, Error> {
        let Wanted { size, alignment, origin, zeroed } = wanted;
        if !self.is_hardened() {
            let (block, fresh) = take(Request { size, alignment }, false)?;
            if zeroed && !fresh {
                // SAFETY: the block is ours, and has so many bytes.
                unsafe { block.start.write_bytes(0, size) };
            }
            return Ok(block.start);
        }
        let too_large = Error::SizeOverflow { count: 1, size };
        let bytes = armour::bytes_for(size, alignment).ok_or(too_large)?;
        if bytes > MAX_SIZE {
            return Err(Error::AlignmentOverflow { alignment, size });
        }
        let (request, is_guarded) = if bytes > MOST_UNGUARDED
            && let Some(guards) = self.armoury().guards
        {
            let bytes = armour::guarded_bytes_for(size, alignment).ok_or(too_large)?;
            if let Some(user) = self.take_from_rack(guards, bytes, wanted) {
                return Ok(user);
            }
            (Request { size: bytes, alignment: PAGE }, true)
        } else {
            (Request { size: bytes, alignment: MIN_ALIGNMENT }, false)
        };
        let (block, fresh) = take(request, is_guarded).map_err(|error| error.about(size))?;
        let suit = self.suit(block);
        // Fresh ones, too: what the system had back may have been somebody's, who wrote to it since.
        if !suit.guarded && fresh && block.len >= WORTH_PURGING {
            // SAFETY: the block is ours. To look at all of it would have the system get pages for that.
            unsafe { self.wipe(block, WORTH_PURGING) };
        } else if !suit.guarded {
            self.wipe_if_written(block);
        } else if zeroed && let Some(guards) = self.armoury().guards {
            // SAFETY: they are pages of the block, which is ours.
            unsafe { guards.wipe(suit.pages()) };
        }
        let closes = suit.guarded && self.may_close();
        // SAFETY: the block is ours, and large enough.
        let user = unsafe { suit.put_on(size, alignment, origin, closes) };
        if closes && !self.close_guards(suit, user, size) {
            // One like those that are too many.
            self.armoury().closed.fetch_sub(1, Relaxed);
            // SAFETY: as above.
            unsafe { suit.write(user, size, origin, false) };
        }
        Ok(user)
    }

    /// Opens as much as is wanted of a guarded block of `bytes` on the rack, if one hangs there, and puts its armour
    /// on anew.
    fn take_from_rack(&self, guards: &Guards, bytes: usize, wanted: Wanted) -> Option<NonNull<u8>> {
        let Wanted { size, alignment, origin, zeroed } = wanted;
        let block = self.rack(|rack| rack.take(bytes))?;
        let suit = self.suit(block);
        let used = suit.used(suit.place(alignment), size);
        // SAFETY: the block is retired and hangs nowhere any more, so it is ours; its header's page is open.
        unsafe {
            // What was the user's was zeroed before it was closed. Nothing has looked at what was not.
            let wiped = suit.look().map_or(0, |worn| suit.used(worn.user, worn.size).len);
            if !(guards.open)(used.start, used.len) {
                self.rack(Rack::take_back);
                self.give_back(self, block);
                return None;
            }
            if zeroed && wiped < used.len {
                guards.wipe(used.from(wiped));
            }
            if !suit.take_off() {
                self.tell_written(block, suit.header_offset());
            }
            Some(suit.put_on(size, alignment, origin, true))
        }
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
        self.count_misuse();
        found(&self.written(block, offset));
    }

    /// What there is to say of a write to a block after its release: of the block as its user knew it, to whom it began
    /// behind the header, unless that is what was written to.
    pub(super) fn written(&self, block: Region, offset: usize) -> Error {
        let start = block.start.addr().get();
        let is_users = offset >= HEADER && !self.suit(block).guarded;
        let known = if is_users { start + HEADER } else { start };
        Error::WrittenAfterRelease { pointer: start + offset, block: known }
    }

    /// Whether one more block may have its pages closed; it is counted then.
    fn may_close(&self) -> bool {
        let closed = &self.armoury().closed;
        let may = closed.fetch_add(1, Relaxed) < MOST_CLOSED;
        if !may {
            closed.fetch_sub(1, Relaxed);
        }
        may
    }

    /// Closes the pages about the user's. False, with the block's pages open, if the system doesn't close those behind.
    fn close_guards(&self, suit: Suit, user: NonNull<u8>, size: usize) -> bool {
        let Some(guards) = self.armoury().guards else { return false };
        let (before, behind) = suit.guards(user, size);
        // SAFETY: they are pages of the block, which nobody uses. If the system does not close those before, the header's
        // canary is there.
        unsafe {
            let closed = (guards.close)(behind.start, behind.len);
            if closed {
                (guards.close)(before.start, before.len);
            }
            closed
        }
    }
}
