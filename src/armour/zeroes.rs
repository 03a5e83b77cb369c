//! Zeroes: what free memory of a hardened pool consists of.
//!
//! Most blocks are small, and each has another length than the one before. Loops over them, the C library's among
//! them, end where the processor does not expect it, which costs more than to go over some bytes twice. So up to
//! [`SHORT`] bytes there are as many steps for all.

use super::Region;

/// Bytes of most objects.
const SHORT: usize = 256;

/// Words that are taken at once of those.
const LONG_STEP: usize = 8;
/// Of what is shorter than that.
const SHORT_STEP: usize = 2;

/// Offsets of four steps of `WORDS` that cover `len` bytes: as many as one step has, up to four times that.
#[inline(always)]
fn offsets<const WORDS: usize>(len: usize) -> [usize; 4] {
    let step = size_of::<[u64; WORDS]>();
    let last = len - step;
    [0, last.min(step), last.min(2 * step), last]
}

/// Makes a region zero.
///
/// # Safety
/// It can be written to, and is aligned to 8 bytes, as its length is.
#[inline(always)]
pub(super) unsafe fn wipe(region: Region) {
    // SAFETY: the caller's promise.
    unsafe {
        match region.len {
            64..=SHORT => wipe_in_steps::<LONG_STEP>(region),
            16..64 => wipe_in_steps::<SHORT_STEP>(region),
            len => region.start.write_bytes(0, len),
        }
    }
}

/// # Safety
/// As for [`wipe`], and for [`offsets`].
#[inline(always)]
unsafe fn wipe_in_steps<const WORDS: usize>(region: Region) {
    for at in offsets::<WORDS>(region.len) {
        // SAFETY: the step lies in the region.
        unsafe { region.start.add(at).cast::<[u64; WORDS]>().write([0; WORDS]) };
    }
}

/// The offset of the first byte of a region that is not zero.
///
/// # Safety
/// The region can be read, and is aligned to 8 bytes, as its length is.
#[inline(always)]
pub(crate) unsafe fn first_nonzero(region: Region) -> Option<usize> {
    // Without an exit, so that the compiler takes several words at once: nearly all regions are clean.
    // SAFETY: the caller's promise.
    let all = unsafe {
        match region.len {
            64..=SHORT => or_in_steps::<LONG_STEP>(region),
            16..64 => or_in_steps::<SHORT_STEP>(region),
            _ => or(words(region)),
        }
    };
    if all == 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { find_nonzero(region) }
}

fn or(words: &[u64]) -> u64 {
    words.iter().fold(0, |all, word| all | word)
}

/// # Safety
/// As for [`first_nonzero`], and for [`offsets`].
#[inline(always)]
unsafe fn or_in_steps<const WORDS: usize>(region: Region) -> u64 {
    let mut all = [0; WORDS];
    for at in offsets::<WORDS>(region.len) {
        // SAFETY: the step lies in the region.
        let step = unsafe { region.start.add(at).cast::<[u64; WORDS]>().read() };
        all.iter_mut().zip(step).for_each(|(all, word)| *all |= word);
    }
    or(&all)
}

/// # Safety
/// As for [`first_nonzero`].
unsafe fn words<'region>(region: Region) -> &'region [u64] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(region.start.cast().as_ptr(), region.len / 8) }
}

/// # Safety
/// As for [`first_nonzero`].
#[cold]
#[inline(never)]
unsafe fn find_nonzero(region: Region) -> Option<usize> {
    // SAFETY: the caller's promise.
    let words = unsafe { words(region) };
    let index = words.iter().position(|&word| word != 0)?;
    Some(index * 8 + words[index].trailing_zeros() as usize / 8)
}
