//! The header of a block: what its word and tag say, and how it is written, read, and changed.

use super::{Canary, HEADER, PAGE, Suit, TAIL};
use crate::error::Origin;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, fence};

/// The user's size, the start of his bytes, the origin: in the word of a header.
const SIZE_BITS: u32 = 44;
const OFFSET_BITS: u32 = 16;
const OFFSET_UNIT: usize = 16;

/// The most bytes that a user can ask for.
pub(crate) const MAX_SIZE: usize = (1 << SIZE_BITS) - 1;

/// In the word: the pages about the block were closed.
const CLOSED: u64 = 1 << 62;

#[repr(C)]
pub(super) struct Header {
    tag: AtomicU64,
    word: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == HEADER);

/// Bytes of the start of the user's, which comes behind the header where the word has no room for it.
const FAR: usize = size_of::<u64>();

/// Bytes before which there are no canaries.
#[inline(always)]
pub(super) const fn header_len(is_far: bool) -> usize {
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
    pub(super) tag: u64,
    pub(super) is_far: bool,
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

impl Suit {
    #[inline(always)]
    pub(super) fn header(&self) -> NonNull<Header> {
        // SAFETY: a guarded block has more than a page.
        unsafe { self.block.start.add(self.header_offset()).cast() }
    }

    /// Writes header and canaries. Whoever reads the header meanwhile finds none of ours.
    ///
    /// # Safety
    /// The block is the caller's, and has the user's bytes.
    pub(crate) unsafe fn write(
        &self,
        user: NonNull<u8>,
        size: usize,
        origin: Origin,
        is_closed: bool,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.write_about(user, size, origin, is_closed, false) };
    }

    /// [`Suit::write`]; the user's bytes too may become zero where they `are_free`.
    ///
    /// # Safety
    /// As for [`Suit::write`].
    #[inline(always)]
    pub(super) unsafe fn write_about(
        &self,
        user: NonNull<u8>,
        size: usize,
        origin: Origin,
        is_closed: bool,
        are_free: bool,
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
        let (before, behind) = self.canaries(user, size, is_far, is_closed);
        let canary = self.key.canary(tag);
        // SAFETY: all of them lie in the block, beside the user's bytes; of one that is not guarded a tail is left.
        unsafe {
            core::hint::assert_unchecked(self.guarded || behind.len >= TAIL);
            let string_end = Canary { word: canary, ends_strings: true };
            if are_free && self.has_hem(behind) {
                string_end.fill_hem(behind);
            } else {
                string_end.fill(behind);
            }
            // Last: the hem's words may begin before the user's.
            Canary { word: canary, ends_strings: false }.fill(before);
            if is_far {
                self.header().add(1).cast::<u64>().write(far);
            }
        }
        header.word.store(word, Relaxed);
        // Release: whoever finds the tag finds the canaries.
        header.tag.store(tag, Release);
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
