//! The thread's last error, the names of statuses, and the misuse handler.

use super::hl_pool;
use super::last_error::{self, MESSAGE};
use crate::error::{Error, Status};
use crate::pool::set_found_handler_if_none;
use core::ffi::{CStr, c_char, c_void};
use core::fmt::{self, Write};
use spin::mutex::SpinMutex;

/// A misuse of a pool, as the misuse handler is told of it.
#[repr(C)]
pub struct hl_misuse {
    /// sizeof(hl_misuse) of the library.
    pub struct_size: usize,
    /// What is wrong with the pointer.
    pub status: Status,
    /// The pool that was given the pointer; NULL for what was found in a call that succeeds
    /// (::HL_ERR_WRITTEN_AFTER_RELEASE).
    pub pool: *mut hl_pool,
    /// The pointer.
    pub pointer: *const c_void,
    /// Start of the live block that the pointer is in or was expected to start, or of the freed one that was written to
    /// (::HL_ERR_WRITTEN_AFTER_RELEASE); NULL if there is none, or it is not known, as where something wrote over the
    /// header of the block (::HL_ERR_UNDERRUN).
    pub block: *const c_void,
    /// Bytes of that live block, or of the freed object that the pointer is in; 0 if not known.
    pub block_size: usize,
    /// One line that names the pointer and says what is wrong with it.
    pub message: *const c_char,
}

/// Is told of a misuse. May use pools; must not unwind.
pub type hl_misuse_fn =
    Option<unsafe extern "C" fn(misuse: *const hl_misuse, context: *mut c_void)>;

struct Handler {
    function: hl_misuse_fn,
    context: *mut c_void,
}

// SAFETY: whoever set the handler promised that any thread may call it with the context.
unsafe impl Send for Handler {}

static HANDLER: SpinMutex<Handler, crate::os::YieldAfterSpin> =
    SpinMutex::new(Handler { function: None, context: core::ptr::null_mut() });

/// Keeps an error as the thread's last, and says its status.
#[cold]
pub(super) fn fail(error: Error) -> Status {
    last_error::set(error);
    error.status()
}

/// [`fail`] for an error of a call that was given a block: tells the misuse handler if it is a misuse.
///
/// # Safety
/// The handle is a live pool.
#[cold]
pub(super) unsafe fn fail_misused(pool: *mut hl_pool, error: Error) -> Status {
    fail(error);
    tell_handler(pool, &error);
    // What the handler did with pools must not hide why this call failed.
    fail(error)
}

/// Tells the misuse handler of an error that nobody's call has failed with.
fn tell_handler_of_found(error: &Error) {
    tell_handler(core::ptr::null_mut(), error);
}

/// Tells the misuse handler of an error, if it is a misuse.
fn tell_handler(pool: *mut hl_pool, error: &Error) {
    let Some(pointer) = error.misused_pointer() else { return };
    let (function, context) = {
        let handler = HANDLER.lock();
        (handler.function, handler.context)
    };
    let Some(function) = function else { return };
    let (block, block_size) = match *error {
        Error::InteriorPointer { block, size, .. } => (block, size),
        Error::SizeMismatch { pointer, size, .. }
        | Error::Overrun { pointer, size, .. }
        | Error::Underrun { pointer, size, offset: 1.. } => (pointer, size),
        Error::OriginMismatch { pointer, .. } => (pointer, 0),
        Error::AlreadyReleased { size, .. } => (0, size),
        Error::WrittenAfterRelease { block, .. } => (block, 0),
        _ => (0, 0),
    };
    let mut message = [0; MESSAGE];
    let misuse = hl_misuse {
        struct_size: size_of::<hl_misuse>(),
        status: error.status(),
        pool,
        pointer: core::ptr::without_provenance(pointer),
        block: core::ptr::without_provenance(block),
        block_size,
        message: write_message(&mut message, error),
    };
    // SAFETY: whoever set the handler promised that it may be called.
    unsafe { function(&misuse, context) };
}

/// A C string in a buffer of fixed size.
struct Text<'buffer> {
    buffer: &'buffer mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.buffer.len() - 1 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        self.buffer[self.len..][..text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }
}

fn write_message(buffer: &mut [u8; MESSAGE], error: &Error) -> *const c_char {
    let mut text = Text { buffer, len: 0 };
    // Writing to a buffer can't fail, and what does not fit is cut.
    let _ = write!(text, "{error}");
    text.buffer[text.len] = 0;
    buffer.as_ptr().cast()
}

/// Why this thread's last failing call failed; ::HL_OK if none has. Calls that succeed leave it alone.
#[unsafe(no_mangle)]
pub extern "C" fn hl_last_error() -> Status {
    last_error::get().map_or(Status::Ok, |error| error.status())
}

/// A line that says why this thread's last failing call failed, and names the pointer or value at fault; ""
/// if none has failed. Valid until the thread's next failing call or next call of this function.
#[unsafe(no_mangle)]
pub extern "C" fn hl_last_error_message() -> *const c_char {
    match last_error::get() {
        None => c"".as_ptr(),
        Some(error) => last_error::with_message(|buffer| write_message(buffer, &error)),
    }
}

fn known(status: i32) -> Option<Status> {
    Status::ALL.iter().copied().find(|&known| known as i32 == status)
}

/// The name of a status, such as "HL_ERR_OUT_OF_MEMORY"; "HL_ERR_UNKNOWN" for a number that is none.
#[unsafe(no_mangle)]
pub extern "C" fn hl_status_name(status: i32) -> *const c_char {
    known(status).map_or(c"HL_ERR_UNKNOWN", name).as_ptr()
}

/// What a status means, in a line; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hl_status_message(status: i32) -> *const c_char {
    known(status).map_or(c"unknown status", meaning).as_ptr()
}

fn name(status: Status) -> &'static CStr {
    match status {
        Status::Ok => c"HL_OK",
        Status::InvalidArgument => c"HL_ERR_INVALID_ARGUMENT",
        Status::OutOfMemory => c"HL_ERR_OUT_OF_MEMORY",
        Status::LimitReached => c"HL_ERR_LIMIT_REACHED",
        Status::SizeOverflow => c"HL_ERR_SIZE_OVERFLOW",
        Status::BadAlignment => c"HL_ERR_BAD_ALIGNMENT",
        Status::HeapNull => c"HL_ERR_HEAP_NULL",
        Status::HeapTooSmall => c"HL_ERR_HEAP_TOO_SMALL",
        Status::HeapWraps => c"HL_ERR_HEAP_WRAPS",
        Status::HeapOverlaps => c"HL_ERR_HEAP_OVERLAPS",
        Status::HeapUnknown => c"HL_ERR_HEAP_UNKNOWN",
        Status::HeapInUse => c"HL_ERR_HEAP_IN_USE",
        Status::NotInPool => c"HL_ERR_NOT_IN_POOL",
        Status::InteriorPointer => c"HL_ERR_INTERIOR_POINTER",
        Status::AlreadyReleased => c"HL_ERR_ALREADY_RELEASED",
        Status::OtherPool => c"HL_ERR_OTHER_POOL",
        Status::SizeMismatch => c"HL_ERR_SIZE_MISMATCH",
        Status::Corrupted => c"HL_ERR_CORRUPTED",
        Status::System => c"HL_ERR_SYSTEM",
        Status::Overrun => c"HL_ERR_OVERRUN",
        Status::Underrun => c"HL_ERR_UNDERRUN",
        Status::WrittenAfterRelease => c"HL_ERR_WRITTEN_AFTER_RELEASE",
        Status::OriginMismatch => c"HL_ERR_ORIGIN_MISMATCH",
    }
}

fn meaning(status: Status) -> &'static CStr {
    match status {
        Status::Ok => c"success",
        Status::InvalidArgument => c"an argument is one that no call accepts",
        Status::OutOfMemory => c"no heap of the pool has room for the request",
        Status::LimitReached => c"the pool's limit forbids the request",
        Status::SizeOverflow => c"the size is larger than any block can be",
        Status::BadAlignment => c"the alignment is not a power of two",
        Status::HeapNull => c"the heap's address is NULL",
        Status::HeapTooSmall => c"the heap has no room for one block beside its metadata",
        Status::HeapWraps => c"the heap reaches beyond the end of the address space",
        Status::HeapOverlaps => c"the heap overlaps one that this pool has, or another",
        Status::HeapUnknown => c"no heap of the pool holds the address",
        Status::HeapInUse => c"the heap has live blocks",
        Status::NotInPool => c"the pointer was never handed out by the pool",
        Status::InteriorPointer => c"the pointer is inside a live block, but not its start",
        Status::AlreadyReleased => c"the pointer is in free memory: its block was released already",
        Status::OtherPool => c"the pointer is in a heap of another pool",
        Status::SizeMismatch => c"the block can't have been allocated with that size",
        Status::Corrupted => c"the pool's books contradict themselves: something wrote over them",
        Status::System => c"the operating system refused",
        Status::Overrun => c"something wrote behind the end of the block",
        Status::Underrun => c"something wrote before the start of the block",
        Status::WrittenAfterRelease => c"something wrote to memory that had been released",
        Status::OriginMismatch => c"the block was allocated by what this can't release",
    }
}

/// Sets what is called, in the whole process, for each pointer that hl_release, hl_release_sized,
/// hl_release_many, hl_resize or hl_usable_size refuses; NULL removes it. There is one handler. It runs in the thread
/// that made the call, with no lock held, before the call returns its status. It is called as well when a hardened
/// pool finds, while it allocates, that something wrote to memory that had been released. Calls that other threads have
/// under way may still call the handler that was set before, after this has returned.
#[unsafe(no_mangle)]
pub extern "C" fn hl_set_misuse_handler(handler: hl_misuse_fn, context: *mut c_void) {
    *HANDLER.lock() = Handler { function: handler, context };
    set_found_handler_if_none(tell_handler_of_found);
}
