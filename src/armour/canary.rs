//! What fills the bytes beside the user's, so that it shows when they are written to.

use super::Region;

/// The most bytes of a hem: what most objects have behind the user's, for up to 256 bytes their sizes are 16 apart.
/// A hem is written and looked at without a branch, since its length can't be foreseen.
pub(crate) const HEM: usize = 24;

/// The words that a hem lies in.
type Words = [u64; HEM / 8];

/// For hems of all lengths, which bytes of the words are theirs: all ones from the length's place on.
static HEMS: [u8; 2 * HEM] = {
    let mut bytes = [0; 2 * HEM];
    let mut at = HEM;
    while at < bytes.len() {
        bytes[at] = !0;
        at += 1;
    }
    bytes
};

/// Which of the words' last `len` bytes, at most [`HEM`].
#[inline(always)]
fn last_bytes(len: usize) -> Words {
    debug_assert!(len <= HEM);
    // SAFETY: as many bytes lie behind the first `HEM`.
    unsafe { HEMS.as_ptr().add(len).cast::<Words>().read_unaligned() }
}

/// Bytes that repeat, so that the last eight of a region are the word's.
#[derive(Clone, Copy)]
pub(crate) struct Canary {
    pub(crate) word: u64,
    /// Whether the very first is zero instead.
    pub(crate) ends_strings: bool,
}

impl Canary {
    /// The eight bytes that are so many before the region's end.
    #[inline]
    fn before_end(self, distance: usize) -> u64 {
        self.word.rotate_left(distance as u32 % 8 * 8)
    }

    /// The first eight bytes of a region of `len`.
    #[inline]
    fn first(self, len: usize) -> u64 {
        let first = self.before_end(len);
        if self.ends_strings { first & !0xff } else { first }
    }

    /// Calls `f` with offsets in a region of `len` bytes, at least eight, and the eight bytes that are to be there, so
    /// that all are covered, some twice, until it answers false.
    #[inline(always)]
    fn words(self, len: usize, mut f: impl FnMut(usize, u64) -> bool) {
        let last = len - 8;
        let mut more = f(0, self.first(len));
        // Most regions have no more than two words: the loop, as the compiler makes it, costs more than those.
        if last > 8 {
            let word = self.before_end(len);
            let mut at = 8;
            while more && at < last {
                more = f(at, word);
                at += 8;
            }
        }
        if more && last > 0 {
            f(last, self.word);
        }
    }

    /// The byte at an offset in a region of `len`.
    fn byte(self, offset: usize, len: usize) -> u8 {
        if offset == 0 { self.first(len) as u8 } else { self.before_end(len - offset) as u8 }
    }

    /// What the words are whose last bytes are a hem of `len`, and zeroes before it.
    #[inline(always)]
    fn hem(self, len: usize) -> Words {
        // The first byte is a zero.
        last_bytes(len - 1).map(|bytes| bytes & self.word)
    }

    /// [`Canary::fill`] of a hem that ends strings, and zeroes before it.
    ///
    /// # Safety
    /// The region has at most [`HEM`] bytes, and one at least; so many before its end, which is aligned to 8, can be
    /// written to.
    #[inline(always)]
    pub(crate) unsafe fn fill_hem(self, region: Region) {
        // SAFETY: the caller's promise.
        unsafe { region.start.add(region.len).cast::<Words>().sub(1).write(self.hem(region.len)) };
    }

    /// Whether a hem that ends strings has changed.
    ///
    /// # Safety
    /// As for [`Canary::fill_hem`], but that they can be read is enough. What of them is the user's is taken as the machine
    /// has it, whether or not he has ever written it.
    #[inline(always)]
    pub(crate) unsafe fn is_changed_hem(self, region: Region) -> bool {
        // SAFETY: the caller's promise.
        let words = unsafe { region.start.add(region.len).cast::<Words>().sub(1).read() };
        let (expected, bytes) = (self.hem(region.len), last_bytes(region.len));
        let changes = (0..words.len()).map(|at| words[at] & bytes[at] ^ expected[at]);
        changes.fold(0, |all, change| all | change) != 0
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
                (0..len).for_each(|at| start.add(at).write(self.byte(at, len)));
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
                return (0..len).find(|&at| start.add(at).read() != self.byte(at, len));
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
