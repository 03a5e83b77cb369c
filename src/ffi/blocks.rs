//! Blocks: allocated, resized, released.

use super::errors::{fail, fail_misused};
use super::{fail_with_null, hl_pool, live, pointer};
use crate::error::{Error, Status};
use core::ffi::c_void;
use core::ptr::NonNull;

/// Allocates a block of at least `size` bytes; for 0 bytes one of the smallest, of its own address. The
/// address is a multiple of 16.
///
/// NULL with ::HL_ERR_OUT_OF_MEMORY, ::HL_ERR_LIMIT_REACHED or ::HL_ERR_SIZE_OVERFLOW (errno ENOMEM).
/// Cost: bounded, whatever the heaps hold; where the heap that served last has no room, a step a heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_alloc(pool: *mut hl_pool, size: usize) -> *mut c_void {
    // SAFETY: the caller hands in a live pool or null.
    let at_hand = unsafe { live(pool) }.ok().and_then(|live| live.alloc_at_hand(size));
    match at_hand {
        Some(object) => object.as_ptr().cast(),
        // SAFETY: as for this function.
        None => unsafe { alloc_other(pool, size) },
    }
}

/// [`hl_alloc`], when that found nothing at hand. Of the same signature, so that the call is a jump.
#[cold]
#[inline(never)]
unsafe extern "C" fn alloc_other(pool: *mut hl_pool, size: usize) -> *mut c_void {
    // SAFETY: the caller hands in a live pool or null.
    pointer(unsafe { live(pool) }.and_then(|live| live.alloc_other(size)))
}

/// Allocates a block of at least `count` times `size` bytes, all of them zero; otherwise as hl_alloc().
/// ::HL_ERR_SIZE_OVERFLOW also if the product overflows. Cost: a step a byte besides.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_alloc_zeroed(
    pool: *mut hl_pool,
    count: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller hands in a live pool or null.
    pointer(unsafe { live(pool) }.and_then(|live| {
        let bytes = count.checked_mul(size).ok_or(Error::SizeOverflow { count, size })?;
        live.alloc_zeroed(bytes)
    }))
}

/// Allocates a block of at least `size` bytes whose address is a multiple of `alignment`; otherwise as
/// hl_alloc(). Any power of two up to the size of a heap can be served; ::HL_ERR_BAD_ALIGNMENT (errno EINVAL)
/// for what isn't a power of two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_alloc_aligned(
    pool: *mut hl_pool,
    alignment: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller hands in a live pool or null.
    pointer(unsafe { live(pool) }.and_then(|live| live.alloc_aligned(alignment, size)))
}

/// Makes a block hold `size` bytes, in place if that can be, else in another place, with its contents as far
/// as they fit. Returns the block's address from then on. A NULL block is allocated. For 0 bytes
/// the block becomes one of the smallest: it is not released. The alignment is that of hl_alloc().
///
/// NULL, with the block as it was, for the reasons of hl_alloc() and hl_release(). Cost: bounded if it stays,
/// a step a byte if it moves; in a system heap one of 512 KiB or more moves by some calls of the system,
/// where those are less work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_resize(
    pool: *mut hl_pool,
    block: *mut c_void,
    size: usize,
) -> *mut c_void {
    let Some(block) = NonNull::new(block.cast::<u8>()) else {
        // SAFETY: as for this function.
        return unsafe { hl_alloc(pool, size) };
    };
    // SAFETY: the caller hands in a live pool or null.
    let live = match unsafe { live(pool) } {
        Ok(live) => live,
        Err(error) => return fail_with_null(error),
    };
    // SAFETY: the caller gives up the block's old address.
    match unsafe { live.resize(block, size) } {
        Ok(block) => block.as_ptr().cast(),
        Err(error) => {
            // SAFETY: the handle is a live pool.
            unsafe { fail_misused(pool, error) };
            fail_with_null(error)
        }
    }
}

/// The status of a release, of which a refusal goes to the misuse handler.
///
/// # Safety
/// The pool is live or null.
unsafe fn release_status(pool: *mut hl_pool, released: Result<(), Error>) -> Status {
    match released {
        Ok(()) => Status::Ok,
        // SAFETY: only a live pool refuses a block, and only a refusal has a use for the pool.
        Err(error) => unsafe { fail_misused(pool, error) },
    }
}

/// Releases a block, which must not be used any more. NULL is fine. Keeps errno.
///
/// A pointer that is not the start of a live block of the pool is refused, always and at every size, and
/// nothing changes: ::HL_ERR_NOT_IN_POOL if it was never handed out, ::HL_ERR_INTERIOR_POINTER if it is inside
/// a live block, ::HL_ERR_ALREADY_RELEASED if it is in free memory, ::HL_ERR_OTHER_POOL if it is in a heap of
/// another pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_release(pool: *mut hl_pool, block: *mut c_void) -> Status {
    // SAFETY: the caller hands in a live pool or null, and gives up the block.
    if unsafe { live(pool) }.is_ok_and(|live| live.release_at_hand(block.cast())) {
        return Status::Ok;
    }
    // SAFETY: as for this function.
    unsafe { release_other(pool, block) }
}

/// [`hl_release`], when the block was not known at once. Of the same signature, so that the call is a jump.
#[cold]
#[inline(never)]
unsafe extern "C" fn release_other(pool: *mut hl_pool, block: *mut c_void) -> Status {
    let Some(block) = NonNull::new(block.cast::<u8>()) else { return Status::Ok };
    // SAFETY: the caller hands in a live pool or null.
    let released = unsafe { live(pool) }.and_then(|live| live.release_other(block));
    // SAFETY: the caller hands in a live pool or null.
    unsafe { release_status(pool, released) }
}

/// Releases a block of which the size is known that it was allocated with or last resized to; otherwise as
/// hl_release(). ::HL_ERR_SIZE_MISMATCH, with nothing changed, if the block is smaller than that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_release_sized(
    pool: *mut hl_pool,
    block: *mut c_void,
    size: usize,
) -> Status {
    let Some(block) = NonNull::new(block.cast::<u8>()) else { return Status::Ok };
    // SAFETY: the caller hands in a live pool or null, and gives up the block.
    let released = unsafe { live(pool).and_then(|live| live.release_sized(block, size)) };
    // SAFETY: the caller hands in a live pool or null.
    unsafe { release_status(pool, released) }
}

/// How many bytes of a block may be used: at least those asked for. 0 for NULL, and, with the reasons of
/// hl_release() in hl_last_error(), for what isn't a live block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_usable_size(pool: *mut hl_pool, block: *const c_void) -> usize {
    let block = NonNull::new(block.cast_mut().cast::<u8>());
    // SAFETY: the caller hands in a live pool or null.
    let size =
        unsafe { live(pool) }.and_then(|live| block.map_or(Ok(0), |it| live.usable_size(it)));
    match size {
        Ok(size) => size,
        Err(error) => {
            // SAFETY: only a live pool refuses a block.
            unsafe { fail_misused(pool, error) };
            0
        }
    }
}

/// Whether an address lies in one of the pool's heaps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_owns(pool: *mut hl_pool, address: *const c_void) -> bool {
    // SAFETY: the caller hands in a live pool or null.
    match unsafe { live(pool) } {
        Ok(live) => live.owns(address.cast()),
        Err(error) => {
            fail(error);
            false
        }
    }
}
