//! Which granules hold data that somebody wrote: so that free ones can be purged, and runs that nobody used
//! yet need not be zeroed.

use super::{Buddy, Granule, Kind, Order};
use crate::bits::Bitmap;
use core::ptr::NonNull;

/// See U7.
pub(super) struct Touched {
    granules: Bitmap,
    free: u32,
}

impl Touched {
    /// # Safety
    /// As for [`Bitmap::new`], with a bit a granule.
    pub(super) unsafe fn new(words: NonNull<u64>, capacity: u32) -> Touched {
        // SAFETY: the caller's promise.
        Touched { granules: unsafe { Bitmap::new(words, capacity as usize) }, free: 0 }
    }
}

impl Buddy {
    /// The `granules` from `head` on have come into use; says whether all of them were fresh.
    pub(super) fn note_use(&mut self, head: Granule, granules: u32) -> bool {
        let Some(touched) = &mut self.touched else { return false };
        let (start, end) = (head.index(), head.index() + granules as usize);
        let old = touched.granules.count(start, end) as u32;
        touched.free -= old;
        touched.granules.set_range(start, end);
        old == 0
    }

    /// So many granules in use have become free.
    #[inline]
    pub(super) fn note_release(&mut self, granules: u32) {
        if let Some(touched) = &mut self.touched {
            touched.free += granules;
        }
    }

    /// Free granules that were in use since they were last purged; 0 where use isn't tracked.
    #[inline]
    pub(crate) fn purgeable(&self) -> u32 {
        self.touched.as_ref().map_or(0, |touched| touched.free)
    }

    /// Calls `purge` with ranges of free granules that together hold all those to purge. Those of a range
    /// for which it answers true count as fresh from then on. Says how many those were. Cost: a step a free
    /// block.
    pub(crate) fn purge(&mut self, mut purge: impl FnMut(Granule, Granule) -> bool) -> u32 {
        let before = self.purgeable();
        self.merge_spares();
        let mut position = 0;
        while self.purgeable() > 0
            && let Some((found, head, order)) = self.free_block_from(position, Order(0))
        {
            position = found + 1;
            let (start, end) = (head.index(), head.index() + order.granules() as usize);
            if let Some(touched) = &mut self.touched
                && let count @ 1.. = touched.granules.count(start, end) as u32
                && purge(head, head.plus(order.granules()))
            {
                touched.free -= count;
                touched.granules.clear_range(start, end);
            }
        }
        before - self.purgeable()
    }

    /// Whether U7 holds. Cost: a step an extent.
    pub(super) fn touched_is_right(&self) -> bool {
        let Some(touched) = &self.touched else { return true };
        let mut free = 0;
        let used_are_touched = self.extents(Granule(0)).all(|extent| {
            let (start, end) =
                (extent.head.index(), extent.head.index() + extent.granules as usize);
            let count = touched.granules.count(start, end) as u32;
            free += if extent.kind == Kind::Free { count } else { 0 };
            extent.kind == Kind::Free || count == extent.granules
        });
        used_are_touched && free == touched.free && touched.granules.check(0, self.end as usize)
    }
}
