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
mod quarantine;
#[cfg(test)]
mod tests;

pub(crate) use canary::Canary;
pub(crate) use quarantine::Quarantine;

use crate::error::Origin;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, fence};

/// Bytes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
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

/// The user's size, the start of his bytes, the origin: in the word of a header.
const SIZE_BITS: u32 = 44;
const OFFSET_BITS: u32 = 16;
const OFFSET_UNIT: usize = 16;

/// The most bytes that a user can ask for.
pub(crate) const MAX_SIZE: usize = (1 << SIZE_BITS) - 1;

/// In the word: the pages about the block were closed.
const CLOSED: u64 = 1 << 62;

#[repr(C)]
struct Header {
    tag: AtomicU64,
    word: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == HEADER);

/// Bytes of the start of the user's, which comes behind the header where the word has no room for it.
const FAR: usize = size_of::<u64>();

/// Bytes before which there are no canaries.
#[inline(always)]
const fn header_len(is_far: bool) -> usize {
    if is_far { HEADER + FAR } else { HEADER }
}

/// How a block is worn: what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worn {
    /// The user's first byte.
    pub(crate) user: NonNull<u8>,
    /// The bytes he asked for.
    pub(crate) size: usize,
    pub(crate) origin: Origin,
    pub(crate) state: State,
    /// Whether the pages about it were closed.
    pub(crate) is_closed: bool,
    /// The tag of the live block.
    tag: u64,
    is_far: bool,
}

/// What has become of a block that wears an armour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    Retired,
    Stranded,
}

impl State {
    /// The tag of a block in this state, given that of a live one.
    #[inline(always)]
    fn tag(self, live: u64) -> u64 {
        match self {
            State::Live => live,
            State::Retired => !live,
            State::Stranded => (!live).rotate_left(32),
        }
    }
}

impl Worn {
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }
}

/// A header that is none of ours, or was written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// Which canary was written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wound {
    /// At an offset before the user's first byte.
    Before(usize),
    /// At an offset behind his last.
    Behind(usize),
}

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

/// Bytes that a block needs for `size` of the user's at a multiple of `alignment`; `None` if there are no such
/// blocks.
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
    #[inline(always)]
    fn header(&self) -> NonNull<Header> {
        // SAFETY: a guarded block has more than a page.
        unsafe { self.block.start.add(self.header_offset()).cast() }
    }

    /// Where in the block the header is.
    #[inline(always)]
    pub(crate) fn header_offset(&self) -> usize {
        if self.guarded { PAGE } else { 0 }
    }

    /// Where the user's bytes are to be.
    #[inline(always)]
    fn place(&self, alignment: usize) -> NonNull<u8> {
        let header = self.header().cast::<u8>();
        let at = header.addr().get();
        let alignment = alignment.max(HEADER);
        let start =
            if self.guarded { (at + PAGE).next_multiple_of(alignment) } else { at + alignment };
        // SAFETY: the block has that many bytes: it is as large as `bytes_for` or `guarded_bytes_for` say.
        unsafe { header.add(start - at) }
    }

    /// Puts the armour on a bare block, and says where the user's bytes are.
    ///
    /// # Safety
    /// The block is the caller's, as large and as aligned as [`bytes_for`] or [`guarded_bytes_for`] say.
    #[inline(always)]
    pub(crate) unsafe fn put_on(
        &self,
        size: usize,
        alignment: usize,
        origin: Origin,
        is_closed: bool,
    ) -> NonNull<u8> {
        let user = self.place(alignment);
        // SAFETY: the caller's promise.
        unsafe { self.write(user, size, origin, is_closed) };
        user
    }

    /// The most bytes that the user could have where his begin; `None` if there are none.
    pub(crate) fn room(&self, user: NonNull<u8>) -> Option<usize> {
        let end = self.block.start.addr().get() + self.block.len;
        (end - user.addr().get()).checked_sub(if self.guarded { PAGE } else { TAIL })
    }

    /// The pages of a guarded block that can't be touched: before its header, and behind the user's bytes.
    pub(crate) fn guards(&self, user: NonNull<u8>, size: usize) -> (Region, Region) {
        let pages = self.pages();
        let used =
            (user.addr().get() + size.max(1)).next_multiple_of(PAGE) - pages.start.addr().get();
        // SAFETY: they lie in the block.
        let behind = unsafe { pages.start.add(used) };
        let before = Region { start: self.block.start, len: PAGE };
        (before, Region { start: behind, len: pages.len - used })
    }

    /// All pages of a guarded block behind its header's.
    pub(crate) fn pages(&self) -> Region {
        // SAFETY: a guarded block has more than two pages.
        let start = unsafe { self.block.start.add(2 * PAGE) };
        Region { start, len: self.block.len - 2 * PAGE }
    }

    /// Writes header and canaries. Whoever reads the header meanwhile finds none of ours.
    ///
    /// # Safety
    /// The block is the caller's, and has the user's bytes.
    #[inline(always)]
    pub(crate) unsafe fn write(
        &self,
        user: NonNull<u8>,
        size: usize,
        origin: Origin,
        is_closed: bool,
    ) {
        let offset = user.addr().get() - self.header().addr().get();
        let units = offset / OFFSET_UNIT;
        let is_far = units >> OFFSET_BITS != 0;
        let (near, far) = if is_far { (0, offset as u64) } else { (units as u64, 0) };
        let closed = if is_closed { CLOSED } else { 0 };
        let word =
            closed | size as u64 | near << SIZE_BITS | (origin as u64) << (SIZE_BITS + OFFSET_BITS);
        let tag = self.key.tag(self.header().addr().get(), word, far);
        // SAFETY: the caller's promise.
        let header = unsafe { self.header().as_ref() };
        header.tag.store(0, Relaxed);
        // Release: whoever finds what is written now does not find the tag of before (see `look_twice`).
        fence(Release);
        let (before, behind) = self.canaries(user, size, is_far);
        let canary = self.key.canary(tag);
        // SAFETY: all of them lie in the block, beside the user's bytes; of one that is not guarded a tail is left.
        unsafe {
            core::hint::assert_unchecked(self.guarded || behind.len >= TAIL);
            Canary { word: canary, ends_strings: false }.fill(before);
            Canary { word: canary, ends_strings: true }.fill(behind);
            if is_far {
                self.header().add(1).cast::<u64>().write(far);
            }
        }
        header.word.store(word, Relaxed);
        // Release: whoever finds the tag finds the canaries.
        header.tag.store(tag, Release);
    }

    /// What is to be filled with canaries before and behind the user's bytes.
    #[inline(always)]
    fn canaries(&self, user: NonNull<u8>, size: usize, is_far: bool) -> (Region, Region) {
        let first = self.header().addr().get() + header_len(is_far);
        let start = user.addr().get();
        let before = (start - first).min(NEAR);
        let end = start + size;
        let limit = if self.guarded {
            end.next_multiple_of(PAGE)
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

    /// How the block is worn.
    ///
    /// # Safety
    /// The block is in memory that can be read, or, if it is guarded, its header is.
    #[inline(always)]
    pub(crate) unsafe fn look(&self) -> Result<Worn, Damaged> {
        let at = self.header();
        // SAFETY: the caller's promise; all of it is atomic.
        let header = unsafe { at.as_ref() };
        // Acquire: with the release of `write`.
        let (tag, word) = (header.tag.load(Acquire), header.word.load(Relaxed));
        let near = (word >> SIZE_BITS) as usize & ((1 << OFFSET_BITS) - 1);
        let is_far = near == 0;
        let left = self.block.len - (at.addr().get() - self.block.start.addr().get());
        let far = if !is_far {
            0
        } else if left >= header_len(true) {
            // SAFETY: it lies in the block; any bits will do.
            unsafe { at.add(1).cast::<u64>().read() }
        } else {
            return Err(Damaged);
        };
        let live_tag = self.key.tag(at.addr().get(), word, far);
        let is_in = |state: &State| tag == state.tag(live_tag);
        let states = [State::Live, State::Retired, State::Stranded];
        let Some(state) = states.into_iter().find(is_in) else { return Err(Damaged) };
        let offset = if is_far { far as usize } else { near * OFFSET_UNIT };
        let size = word as usize & MAX_SIZE;
        if offset.checked_add(size).is_none_or(|end| end > left) {
            return Err(Damaged);
        }
        let origin = Origin::numbered((word >> (SIZE_BITS + OFFSET_BITS)) as u8);
        // SAFETY: it lies in the block.
        let user = unsafe { at.cast::<u8>().add(offset) };
        let is_closed = word & CLOSED != 0;
        Ok(Worn { user, size, origin, state, is_closed, tag: live_tag, is_far })
    }

    /// Tag and word of the header, and the tag of a live block with this word and no far start.
    ///
    /// # Safety
    /// As for [`Suit::look`].
    #[inline(always)]
    unsafe fn look_near(&self) -> (u64, u64, u64) {
        // SAFETY: the caller's promise; all of it is atomic.
        let header = unsafe { self.header().as_ref() };
        // Acquire: with the release of `write`.
        let (tag, word) = (header.tag.load(Acquire), header.word.load(Relaxed));
        (tag, word, self.key.tag(self.header().addr().get(), word, 0))
    }

    /// How a live block is worn that is not guarded and whose user's bytes begin right behind its header; `None` for
    /// any other. [`Suit::look`] knows more, and takes longer.
    ///
    /// # Safety
    /// As for [`Suit::look`].
    #[inline(always)]
    pub(crate) unsafe fn look_at_nearest(&self) -> Option<Worn> {
        const NEAREST: u64 = (HEADER / OFFSET_UNIT) as u64;
        // SAFETY: the caller's promise.
        let (tag, word, live) = unsafe { self.look_near() };
        let size = word as usize & MAX_SIZE;
        let near = word >> SIZE_BITS & ((1 << OFFSET_BITS) - 1);
        let is_it = tag == live && near == NEAREST && HEADER + size + TAIL <= self.block.len;
        is_it.then(|| Worn {
            // SAFETY: a block is larger than a header.
            user: unsafe { self.header().add(1).cast() },
            size,
            origin: Origin::numbered((word >> (SIZE_BITS + OFFSET_BITS)) as u8),
            state: State::Live,
            is_closed: false,
            tag,
            is_far: false,
        })
    }

    /// Where the user's bytes seem to be of a block whose header something wrote over. Another thread may be putting
    /// the armour on or taking it off: the tag is 0 meanwhile, or changes.
    ///
    /// # Safety
    /// As for [`Suit::look`].
    pub(crate) unsafe fn defaced(&self) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise; all of it is atomic.
        let tag = unsafe { &self.header().as_ref().tag };
        let before = tag.load(Acquire);
        // SAFETY: the caller's promise.
        let is_damaged = unsafe { self.look() } == Err(Damaged);
        // Acquire: what was looked at was so before the tag is read again.
        fence(Acquire);
        let is_settled = before != 0 && tag.load(Relaxed) == before;
        (is_damaged && is_settled).then(|| self.place(HEADER))
    }

    /// What was written beside a live block, although its user may resize or release it meanwhile: what is seen
    /// counts only if the header is the same before and after, twice.
    ///
    /// # Safety
    /// The block is in memory that can be read, all pages that the user has among it.
    pub(crate) unsafe fn look_twice(&self) -> Option<(Worn, Wound)> {
        let once = || {
            // SAFETY: the caller's promise.
            let worn = unsafe { self.look() }.ok().filter(Worn::is_live)?;
            // SAFETY: as above.
            let wound = unsafe { self.wound(&worn) }?;
            // Acquire: if what was seen was written meanwhile, the tag of before is not found any more.
            fence(Acquire);
            // SAFETY: as above.
            (unsafe { self.look() } == Ok(worn)).then_some((worn, wound))
        };
        once().filter(|seen| once().as_ref() == Some(seen))
    }

    /// The first canary that was written over.
    ///
    /// # Safety
    /// The block is live, worn like this, and nobody releases it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn wound(&self, worn: &Worn) -> Option<Wound> {
        let (before, behind) = self.canaries(worn.user, worn.size, worn.is_far);
        let word = self.key.canary(worn.tag);
        // SAFETY: both lie in the block.
        unsafe {
            let before_changed = Canary { word, ends_strings: false }.first_change(before);
            before_changed.map(|at| Wound::Before(before.len - at)).or_else(|| {
                Canary { word, ends_strings: true }.first_change(behind).map(Wound::Behind)
            })
        }
    }

    /// Whether something was written behind the user's bytes, of a block that [`Suit::look_at_nearest`] knows.
    ///
    /// # Safety
    /// As for [`Suit::wound`].
    #[inline(always)]
    pub(crate) unsafe fn is_wounded_behind(&self, worn: &Worn) -> bool {
        let (_, behind) = self.canaries(worn.user, worn.size, false);
        let canary = Canary { word: self.key.canary(worn.tag), ends_strings: true };
        // SAFETY: it lies in the block, and has the bytes of the tail.
        unsafe {
            core::hint::assert_unchecked(behind.len >= TAIL);
            canary.first_change(behind).is_some()
        }
    }

    /// Makes a live block retired, unless another thread has just done that.
    ///
    /// # Safety
    /// The block was worn like this, and its user gives it up.
    #[inline(always)]
    pub(crate) unsafe fn retire(&self, worn: &Worn) -> bool {
        // SAFETY: the caller's promise.
        let retired = unsafe { self.change(worn, State::Live, State::Retired) };
        // Release: whoever finds what is wiped now does not find the tag of a live block (see `look_twice`).
        fence(Release);
        retired
    }

    /// Makes a block another thing, unless another thread has just done so.
    ///
    /// # Safety
    /// The block was worn like this, and its header can be written to.
    #[inline(always)]
    pub(crate) unsafe fn change(&self, worn: &Worn, from: State, to: State) -> bool {
        // SAFETY: the caller's promise.
        let tag = unsafe { &self.header().as_ref().tag };
        tag.compare_exchange(from.tag(worn.tag), to.tag(worn.tag), AcqRel, Relaxed).is_ok()
    }

    /// Makes a retired block that is not guarded read as zero behind its header (A3).
    ///
    /// # Safety
    /// The block is the caller's.
    #[inline(always)]
    pub(crate) unsafe fn wipe(&self, worn: &Worn) {
        let behind = self.behind_header(worn);
        // SAFETY: the caller's promise.
        unsafe { behind.start.write_bytes(0, behind.len) };
    }

    /// All of a block that is not guarded but its header.
    #[inline(always)]
    pub(crate) fn behind_header(&self, worn: &Worn) -> Region {
        let header = header_len(worn.is_far);
        // SAFETY: a block is larger than its header.
        let start = unsafe { self.block.start.add(header) };
        Region { start, len: self.block.len - header }
    }

    /// The offset of the first byte of a retired block that was written to; of a guarded one, of its header.
    ///
    /// # Safety
    /// The block is retired, and the caller's.
    pub(crate) unsafe fn stain(&self) -> Option<usize> {
        // SAFETY: the caller's promise.
        match unsafe { self.look() } {
            Ok(worn) if !worn.is_live() && self.guarded => None,
            Ok(worn) if !worn.is_live() => {
                // SAFETY: the caller's promise.
                let behind = unsafe { first_nonzero(self.behind_header(&worn)) };
                behind.map(|offset| header_len(worn.is_far) + offset)
            }
            _ => Some(0),
        }
    }

    /// Takes the armour off a retired block, which is bare then, and says whether its header is as it was. What was
    /// written behind that is found when the memory is handed out again.
    ///
    /// # Safety
    /// The block is the caller's, and its header can be written to.
    #[inline(always)]
    pub(crate) unsafe fn take_off(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let (tag, _, live) = self.look_near();
            let is_near = tag == State::Retired.tag(live);
            let is_far = !is_near && self.look().is_ok_and(|worn| !worn.is_live());
            let header = self.header().as_ref();
            header.tag.store(0, Relaxed);
            // Release: whoever finds what is zero now does not find the tag of before (see `defaced`).
            fence(Release);
            header.word.store(0, Relaxed);
            let behind = self.header().add(1).cast::<u8>();
            if self.guarded {
                // Its canaries, too.
                behind.write_bytes(0, PAGE - HEADER);
            } else if is_far {
                behind.write_bytes(0, FAR);
            }
            is_near || is_far
        }
    }
}

/// The offset of the first byte of a region that is not zero.
///
/// # Safety
/// The region can be read, and is aligned to 8 bytes, as its length is.
#[inline(always)]
pub(crate) unsafe fn first_nonzero(region: Region) -> Option<usize> {
    // SAFETY: the caller's promise.
    let words =
        unsafe { core::slice::from_raw_parts(region.start.cast::<u64>().as_ptr(), region.len / 8) };
    // Without an exit, so that the compiler takes several words at once: nearly all regions are clean.
    if words.iter().fold(0, |all, word| all | word) == 0 {
        return None;
    }
    let index = words.iter().position(|&word| word != 0)?;
    Some(index * 8 + words[index].trailing_zeros() as usize / 8)
}
