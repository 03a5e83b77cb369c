//! What shows that something was written beside the bytes of a live block, or to a retired one.

use super::header::{Worn, header_len};
use super::{Canary, Suit, TAIL, first_nonzero};
use core::sync::atomic::{Ordering::Acquire, fence};

/// Which canary was written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wound {
    /// At an offset before the user's first byte.
    Before(usize),
    /// At an offset behind his last.
    Behind(usize),
}

impl Suit {
    /// The first canary that was written over.
    ///
    /// # Safety
    /// The block is live, worn like this, and nobody releases it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn wound(&self, worn: &Worn) -> Option<Wound> {
        let (before, behind) = self.canaries(worn.user, worn.size, worn.is_far, worn.is_closed);
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
        let (_, behind) = self.canaries(worn.user, worn.size, false, false);
        let canary = Canary { word: self.key.canary(worn.tag), ends_strings: true };
        // SAFETY: it lies in the block, and has the bytes of the tail.
        unsafe {
            core::hint::assert_unchecked(behind.len >= TAIL);
            if self.has_hem(behind) {
                canary.is_changed_hem(behind)
            } else {
                canary.first_change(behind).is_some()
            }
        }
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
}
