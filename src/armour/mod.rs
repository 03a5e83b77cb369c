//! What a hardened pool puts about the bytes of a block, so that it shows what was written beside them.
//!
//! ```text
//! block   | header | canary ... | the user's bytes | 0 canary ... |
//! guarded | no access | header | canary ... | the user's bytes | 0 canary ... | no access ... |
//! ```
//! The header says how many bytes the user asked for and where they begin, under a tag that depends on a secret,
//! on the header's address, and on whether the block is live. Nothing in it is believed without the tag, and
//! no address is taken from it that does not lie in the block, whose bounds the caller knows from books that
//! lie elsewhere. So a header that was written over is found out, never followed.
//!
//! Canaries fill what lies between header, user's bytes and the end of the block, at most a page on either
//! side. The first byte behind the user's is zero: it ends the reading of a string that lost its own.
//!
//! A guarded block has pages about it that can't be touched. What of its run lies behind the page of its last
//! byte is one of them.
//!
//! Invariants of a block that wears its armour:
//! - A1: `tag` is [`Key::tag`] of the header as long as the block is live, and the complement once it is retired,
//!   which one thread brings about; turned by half if it is stranded besides, retired and in no quarantine.
//! - A2: the canaries are [`Key::canary`] of the tag of the live block.
//! - A3: a retired block that waits and is not guarded has nothing but zeroes behind its header, and a bare one,
//!   which is nobody's, nothing but zeroes.
//!
//! Cost: a multiplication, and a step for eight bytes of the canaries and, of blocks that are not guarded, of the
//! block.

mod canary;
mod header;
mod quarantine;
#[cfg(test)]
mod tests;
mod wound;
mod zeroes;

pub(crate) use canary::Canary;
pub(crate) use header::{Damaged, MAX_SIZE, State, Worn};
pub(crate) use quarantine::Quarantine;
pub(crate) use wound::Wound;
pub(crate) use zeroes::first_nonzero;

use crate::error::Origin;
use canary::HEM;
use core::ptr::NonNull;
use header::header_len;

/// Bytes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

impl Region {
    /// What of it lies behind its first `offset` bytes.
    pub(crate) fn from(self, offset: usize) -> Region {
        debug_assert!(offset <= self.len);
        // SAFETY: it has so many bytes.
        let start = unsafe { self.start.add(offset) };
        Region { start, len: self.len - offset }
    }
}

/// The secret of a pool.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) first: u64,
    pub(crate) second: u64,
}

/// Bytes of a page: what of a guarded block can be touched begins and ends at multiples of it.
pub(crate) const PAGE: usize = 4096;

/// The largest block that is not guarded, where blocks can be.
pub(crate) const MOST_UNGUARDED: usize = 128 << 10;

/// Bytes of the header.
pub(crate) const HEADER: usize = 16;

/// The least bytes behind the user's: one zero and seven that nobody can guess.
pub(crate) const TAIL: usize = 8;

/// Bytes of canaries that are written and looked at on either side.
const NEAR: usize = PAGE;

/// A block, and the armour that it wears or is to wear.
#[derive(Clone, Copy)]
pub(crate) struct Suit {
    pub(crate) key: Key,
    pub(crate) block: Region,
    pub(crate) guarded: bool,
}

impl Key {
    /// Multiplied with each other both halves depend on every bit.
    #[inline(always)]
    fn tag(self, header: usize, word: u64, far: u64) -> u64 {
        let product = (header as u64 ^ self.first) as u128
            * (word ^ self.second ^ far.rotate_left(17)) as u128;
        (product >> 64) as u64 ^ product as u64
    }

    /// Another number than the tag, so that who reads it knows no tag.
    #[inline(always)]
    fn canary(self, tag: u64) -> u64 {
        let product = (tag ^ self.second) as u128 * (self.first | 1) as u128;
        (product >> 64) as u64 ^ product as u64
    }
}

/// Bytes that a block, at any multiple of [`HEADER`], needs for `size` of the user's at a multiple of `alignment`; `None`
/// if there are no such blocks.
pub(crate) fn bytes_for(size: usize, alignment: usize) -> Option<usize> {
    let bytes = alignment.max(HEADER).checked_add(size)?.checked_add(TAIL)?;
    (size <= MAX_SIZE).then_some(bytes)
}

/// The same for a guarded block, which need not be aligned to more than a page.
pub(crate) fn guarded_bytes_for(size: usize, alignment: usize) -> Option<usize> {
    let slack = if alignment > PAGE { alignment } else { 0 };
    let content = size.checked_add(slack)?.checked_next_multiple_of(PAGE)?.max(PAGE);
    // A guard, the header's page, and a guard.
    let bytes = content.checked_add(3 * PAGE)?;
    (size <= MAX_SIZE).then_some(bytes.max(MOST_UNGUARDED + PAGE))
}

impl Suit {
    /// Where in the block the header is.
    #[inline(always)]
    pub(crate) fn header_offset(&self) -> usize {
        if self.guarded { PAGE } else { 0 }
    }

    /// Where the user's bytes are to be: at the first multiple of the alignment behind the header, or its page.
    #[inline(always)]
    pub(crate) fn place(&self, alignment: usize) -> NonNull<u8> {
        let header = self.header().cast::<u8>();
        let first = if self.guarded { PAGE } else { HEADER };
        debug_assert!(header.addr().get().is_multiple_of(HEADER));
        // What is missing to a multiple is one of `HEADER`, and for no more than that nothing, which the compiler sees.
        let missing = (header.addr().get() + first).wrapping_neg();
        let padding = missing & (alignment.max(HEADER) - HEADER);
        // SAFETY: the block has that many bytes: it is as large as `bytes_for` or `guarded_bytes_for` say.
        unsafe { header.add(first + padding) }
    }

    /// Puts the armour on a bare block, and says where the user's bytes are.
    ///
    /// # Safety
    /// The block is the caller's, as large and as aligned as [`bytes_for`] or [`guarded_bytes_for`] say. The alignment is
    /// a power of two.
    #[inline(always)]
    pub(crate) unsafe fn put_on(
        &self,
        size: usize,
        alignment: usize,
        origin: Origin,
        is_closed: bool,
    ) -> NonNull<u8> {
        let user = self.place(alignment);
        // SAFETY: the caller's promise; the user has not got his bytes yet.
        unsafe { self.write_about(user, size, origin, is_closed, true) };
        user
    }

    /// The most bytes that the user could have where his begin; `None` if there are none.
    pub(crate) fn room(&self, user: NonNull<u8>) -> Option<usize> {
        let end = self.block.start.addr().get() + self.block.len;
        (end - user.addr().get()).checked_sub(if self.guarded { PAGE } else { TAIL })
    }

    /// The pages of a guarded block that can't be touched: before its header, and behind the user's bytes.
    pub(crate) fn guards(&self, user: NonNull<u8>, size: usize) -> (Region, Region) {
        let (pages, used) = (self.pages(), self.used(user, size).len);
        let before = Region { start: self.block.start, len: PAGE };
        (before, pages.from(used))
    }

    /// The pages of a guarded block that the user's bytes are in, from behind its header's.
    pub(crate) fn used(&self, user: NonNull<u8>, size: usize) -> Region {
        let pages = self.pages();
        let end = (user.addr().get() + size.max(1)).next_multiple_of(PAGE);
        Region { start: pages.start, len: end - pages.start.addr().get() }
    }

    /// All pages of a guarded block behind its header's.
    pub(crate) fn pages(&self) -> Region {
        // SAFETY: a guarded block has more than two pages.
        let start = unsafe { self.block.start.add(2 * PAGE) };
        Region { start, len: self.block.len - 2 * PAGE }
    }

    /// What is to be filled with canaries before and behind the user's bytes.
    #[inline(always)]
    fn canaries(
        &self,
        user: NonNull<u8>,
        size: usize,
        is_far: bool,
        is_closed: bool,
    ) -> (Region, Region) {
        let first = self.header().addr().get() + header_len(is_far);
        let start = user.addr().get();
        let before = (start - first).min(NEAR);
        let end = start + size;
        let limit = if self.guarded && is_closed {
            (start + size.max(1)).next_multiple_of(PAGE)
        } else {
            self.block.start.addr().get() + self.block.len
        };
        // SAFETY: both lie in the block.
        unsafe {
            (
                Region { start: user.sub(before), len: before },
                Region { start: user.add(size), len: (limit - end).min(NEAR) },
            )
        }
    }

    /// Whether what lies behind the user's bytes is a hem, and so much of a block that is not guarded lies behind its
    /// header.
    #[inline(always)]
    fn has_hem(&self, behind: Region) -> bool {
        !self.guarded && behind.len <= HEM && self.block.len >= HEADER + HEM
    }

    /// Makes a retired block that is not guarded read as zero behind its header (A3).
    ///
    /// # Safety
    /// The block is the caller's.
    #[inline(always)]
    pub(crate) unsafe fn wipe(&self, worn: &Worn) {
        // SAFETY: the caller's promise.
        unsafe { zeroes::wipe(self.behind_header(worn)) };
    }

    /// All of a block that is not guarded but its header.
    #[inline(always)]
    pub(crate) fn behind_header(&self, worn: &Worn) -> Region {
        let header = header_len(worn.is_far);
        // SAFETY: a block is larger than its header.
        let start = unsafe { self.block.start.add(header) };
        Region { start, len: self.block.len - header }
    }
}
