//! Batches: many blocks in one call.

use super::errors::{fail, fail_misused};
use super::{fail_with_null, hl_pool, live};
use crate::error::Error;
use core::ffi::c_void;

/// The caller's array of pointers.
///
/// # Safety
/// `blocks` is null or an array of `count` pointers that nobody else uses meanwhile.
unsafe fn slots<'a>(blocks: *mut *mut c_void, count: usize) -> Result<&'a mut [*mut u8], Error> {
    if count == 0 {
        return Ok(&mut []);
    }
    if blocks.is_null() {
        return Err(Error::InvalidArgument("invalid argument: the array of blocks is NULL"));
    }
    if count > isize::MAX as usize / size_of::<*mut u8>() {
        return Err(Error::SizeOverflow { count, size: size_of::<*mut u8>() });
    }
    // SAFETY: the caller's promise, and the array's bytes can be counted.
    Ok(unsafe { core::slice::from_raw_parts_mut(blocks.cast(), count) })
}

/// Allocates `count` blocks of at least `size` bytes each, and stores their addresses in `blocks`. Returns
/// how many there are; if fewer than `count`, hl_last_error() and errno say why, and the slots behind are
/// as they were. Cheaper than as many calls of hl_alloc().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_alloc_many(
    pool: *mut hl_pool,
    size: usize,
    count: usize,
    blocks: *mut *mut c_void,
) -> usize {
    // SAFETY: the caller hands in a live pool or null, and an array or null.
    let arguments = unsafe { live(pool).and_then(|live| Ok((live, slots(blocks, count)?))) };
    let (filled, result) = match arguments {
        Ok((live, slots)) => live.alloc_many(size, slots),
        Err(error) => (0, Err(error)),
    };
    if let Err(error) = result {
        fail_with_null::<c_void>(error);
    }
    filled
}

/// Releases the blocks whose addresses are in the `count` slots of `blocks`, as hl_release() does. Each slot
/// of a released block becomes NULL; one that is refused keeps its pointer, and does not stop the others.
/// Returns how many slots are NULL then; if fewer than `count`, hl_last_error() says why the last of the
/// others was refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_release_many(
    pool: *mut hl_pool,
    blocks: *mut *mut c_void,
    count: usize,
) -> usize {
    // SAFETY: the caller hands in a live pool or null, and an array or null.
    let arguments = unsafe { live(pool).and_then(|live| Ok((live, slots(blocks, count)?))) };
    let (this, mut slots) = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            fail(error);
            return 0;
        }
    };
    let mut released = 0;
    loop {
        // SAFETY: the caller gives up the blocks.
        let (through, result) = unsafe { this.release_many(slots) };
        released += through;
        let Err(error) = result else { return released };
        // SAFETY: only a live pool refuses a block.
        unsafe { fail_misused(pool, error) };
        slots = &mut slots[through + 1..];
    }
}
