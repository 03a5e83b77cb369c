//! What fills the bytes beside the user's, so that it shows when they are written to.

use super::Region;

/// Bytes that repeat, from the first byte of a region on.
#[derive(Clone, Copy)]
pub(crate) struct Canary {
    pub(crate) word: u64,
    /// Whether the very first is zero instead.
    pub(crate) ends_strings: bool,
}

impl Canary {
    /// The eight bytes from an offset on, which is not 0.
    #[inline]
    fn at(self, offset: usize) -> u64 {
        self.word.rotate_right(offset as u32 % 8 * 8)
    }

    #[inline]
    fn first(self) -> u64 {
        if self.ends_strings { self.word & !0xff } else { self.word }
    }

    /// Calls `f` with offsets in a region of `len` bytes, at least eight, and the eight bytes that are to be there, so
    /// that all are covered, some twice, until it answers false.
    #[inline(always)]
    fn words(self, len: usize, mut f: impl FnMut(usize, u64) -> bool) {
        let last = len - 8;
        let mut more = f(0, self.first());
        // Most regions have no more than two words: the loop, as the compiler makes it, costs more than those.
        if last > 8 {
            let mut at = 8;
            while more && at < last {
                more = f(at, self.word);
                at += 8;
            }
        }
        if more && last > 0 {
            f(last, self.at(last));
        }
    }

    /// The byte at an offset.
    fn byte(self, offset: usize) -> u8 {
        if offset == 0 { self.first() as u8 } else { self.at(offset) as u8 }
    }

    /// Fills a region.
    ///
    /// # Safety
    /// It can be written to.
    #[inline(always)]
    pub(crate) unsafe fn fill(self, region: Region) {
        let Region { start, len } = region;
        // SAFETY: all of it lies in the region.
        unsafe {
            if len >= 8 {
                self.words(len, |at, word| {
                    start.add(at).cast::<u64>().write_unaligned(word);
                    true
                });
            } else {
                (0..len).for_each(|at| start.add(at).write(self.byte(at)));
            }
        }
    }

    /// The offset of the first byte of a region that is another.
    ///
    /// # Safety
    /// It can be read.
    #[inline(always)]
    pub(crate) unsafe fn first_change(self, region: Region) -> Option<usize> {
        let Region { start, len } = region;
        // SAFETY: all of it lies in the region.
        unsafe {
            if len < 8 {
                return (0..len).find(|&at| start.add(at).read() != self.byte(at));
            }
            let mut change = None;
            self.words(len, |at, word| {
                let difference = start.add(at).cast::<u64>().read_unaligned() ^ word;
                if difference != 0 {
                    change = Some(at + difference.trailing_zeros() as usize / 8);
                }
                difference == 0
            });
            change
        }
    }
}
