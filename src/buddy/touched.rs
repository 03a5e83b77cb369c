//! Which granules hold data that somebody wrote: so that free ones can be purged, and runs that nobody used
//! yet need not be zeroed.

use super::{Buddy, Granule, Kind, Order};
use crate::bits::Bitmap;
use core::ptr::NonNull;

/// See U7.
pub(super) struct Touched {
    granules: Bitmap,
    free: u32,
    /// The least that `free` has been since it was last asked for.
    idle: u32,
}

/// How far a purge is: it goes through the free blocks from the largest order down, whose blocks are the last to
/// be used again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sweep {
    /// The order it is at, and the position of the next block's bit; `None` before the first.
    at: Option<(Order, usize)>,
    /// Granules of that block that are done.
    done: u32,
    is_over: bool,
}

impl Sweep {
    /// Whether it has come to the end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Touched {
    /// # Safety
    /// As for [`Bitmap::new`], with a bit a granule.
    pub(super) unsafe fn new(words: NonNull<u64>, capacity: u32) -> Touched {
        // SAFETY: the caller's promise.
        Touched { granules: unsafe { Bitmap::new(words, capacity as usize) }, free: 0, idle: 0 }
    }

    /// How many of the `granules` from `head` on were in use since they were last purged.
    #[inline]
    pub(super) fn used_in(&self, head: Granule, granules: u32) -> u32 {
        self.granules.count(head.index(), head.index() + granules as usize) as u32
    }

    /// So many of the free ones are so no more.
    #[inline]
    fn take(&mut self, granules: u32) {
        self.free -= granules;
        self.idle = self.idle.min(self.free);
    }
}

impl Buddy {
    /// The `granules` from `head` on have come into use; says how many of them were in use since they were last
    /// purged: all, where use isn't tracked.
    #[inline]
    pub(super) fn note_use(&mut self, head: Granule, granules: u32) -> u32 {
        let Some(touched) = &mut self.touched else { return granules };
        let (start, end) = (head.index(), head.index() + granules as usize);
        let old = touched.used_in(head, granules);
        touched.take(old);
        touched.granules.set_range(start, end);
        old
    }

    /// The `granules` from `head` on, which are free, hold nothing any more, as if they had been purged.
    pub(crate) fn forget_use(&mut self, head: Granule, granules: u32) {
        let Some(touched) = &mut self.touched else { return };
        let (start, end) = (head.index(), head.index() + granules as usize);
        touched.take(touched.used_in(head, granules));
        touched.granules.clear_range(start, end);
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

    /// Granules that were purgeable all the time since this was last asked.
    pub(crate) fn take_idle(&mut self) -> u32 {
        self.touched
            .as_mut()
            .map_or(0, |touched| core::mem::replace(&mut touched.idle, touched.free))
    }

    /// Goes on with a sweep: calls `purge` with ranges of free granules until it has come to the end, or
    /// about `most` of those to purge were in them. Those of a range for which it answers true count as fresh from
    /// then on. Says how many those were. Cost: a step a free block and a range.
    pub(crate) fn purge(
        &mut self,
        sweep: &mut Sweep,
        most: u32,
        mut purge: impl FnMut(Granule, Granule) -> bool,
    ) -> u32 {
        /// Granules of a range: what one call may take long with.
        const RANGE: u32 = if cfg!(test) { 8 } else { 1024 };
        /// What a call costs by itself, in granules.
        const CALL: u32 = 16;
        let before = self.purgeable();
        let mut spent = 0;
        while spent < most && !sweep.is_over {
            let next = if self.purgeable() > 0 { self.next_of_sweep(sweep) } else { None };
            let Some((head, order)) = next else {
                sweep.is_over = true;
                break;
            };
            let end = order.granules().min(sweep.done + RANGE);
            let (start, end) =
                (head.plus(core::mem::replace(&mut sweep.done, end)), head.plus(end));
            let (from, to) = (start.index(), end.index());
            let Some(touched) = &mut self.touched else { return 0 };
            let count = touched.granules.count(from, to) as u32;
            if count > 0 {
                spent += count.max(CALL);
                if purge(start, end) {
                    touched.take(count);
                    touched.granules.clear_range(from, to);
                }
            }
        }
        before - self.purgeable()
    }

    /// The block that a sweep is at, or the next one if it is done with it.
    fn next_of_sweep(&mut self, sweep: &mut Sweep) -> Option<(Granule, Order)> {
        let (mut order, mut position) = sweep.at.unwrap_or_else(|| {
            self.merge_spares();
            let last = self.shape.orders() - 1;
            (Order(last as u8), self.begin(last) as usize)
        });
        loop {
            if let Some((found, head, found_order)) = self.free_block_from(position, order)
                && found_order == order
            {
                if sweep.at != Some((order, found)) {
                    *sweep = Sweep { at: Some((order, found)), ..Sweep::default() };
                }
                if sweep.done < order.granules() {
                    return Some((head, order));
                }
                position = found + 1;
            } else {
                order = Order(order.0.checked_sub(1)?);
                position = self.begin(order.index()) as usize;
            }
        }
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
