//! The C ABI: checks arguments, calls the pool, and turns errors into statuses. No logic of its own.
//!
//! A null handle is refused with a status, never followed. Functions that return a pointer return null on
//! failure, and leave the reason in `hl_last_error()` and `errno`. The documentation here is what
//! `include/heapmaster.h` says: the header is generated from these files.

#![allow(non_camel_case_types)]
// What these functions ask of their callers is the C documentation of each.
#![allow(clippy::missing_safety_doc)]

mod batches;
mod blocks;
mod errors;
mod heaps;
mod insight;
mod last_error;
mod library;
mod limits;
mod pools;

use crate::error::{Error, Status};
use crate::system::MemoryPool;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use errors::fail;
use pools::hl_pool;

const NULL_POOL: Error = Error::InvalidArgument("invalid argument: the pool is NULL");

/// The pool behind a handle.
///
/// # Safety
/// The handle is null or a live pool.
unsafe fn live<'a>(pool: *mut hl_pool) -> Result<&'a MemoryPool, Error> {
    // SAFETY: the caller's promise; a handle begins with its pool, or is it.
    unsafe { pool.cast::<MemoryPool>().as_ref() }.ok_or(NULL_POOL)
}

/// The status of a call that returns nothing else.
fn status(result: Result<(), Error>) -> Status {
    match result {
        Ok(()) => Status::Ok,
        Err(error) => fail(error),
    }
}

/// The pointer, or null with `errno` set.
fn pointer(result: Result<NonNull<u8>, Error>) -> *mut c_void {
    match result {
        Ok(block) => block.as_ptr().cast(),
        Err(error) => fail_with_null(error),
    }
}

/// Null, with the last error and `errno` set.
#[cold]
fn fail_with_null<T>(error: Error) -> *mut T {
    fail(error);
    let errno = match error {
        Error::OutOfMemory { .. }
        | Error::LimitReached { .. }
        | Error::SizeOverflow { .. }
        | Error::AlignmentOverflow { .. } => libc::ENOMEM,
        Error::System { errno, .. } => errno,
        _ => libc::EINVAL,
    };
    crate::os::set_errno(errno);
    null_mut()
}

/// Copies a struct that begins with its size to a caller who may know an older, shorter form of it.
///
/// # Safety
/// `T` begins with a `usize`, its size; `out` is null or as large as its own first field says.
unsafe fn put<T: Copy>(out: *mut T, value: T) -> Result<(), Error> {
    let size_field = out.cast::<usize>();
    if size_field.is_null() {
        return Err(Error::InvalidArgument("invalid argument: the result pointer is NULL"));
    }
    // SAFETY: the struct begins with its size.
    let size = unsafe { size_field.read() };
    if size < size_of::<usize>() {
        return Err(Error::InvalidArgument(
            "invalid argument: struct_size is not set, or too small",
        ));
    }
    // SAFETY: the caller's struct has `size` bytes, the value all of its own; the size field stays the
    // caller's.
    unsafe {
        let known = size.min(size_of::<T>());
        out.cast::<u8>().copy_from_nonoverlapping((&raw const value).cast(), known);
        size_field.write(size);
    }
    Ok(())
}
