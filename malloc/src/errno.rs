//! The calling thread's error number. C programs look at it after a success too (`strtol`, `readdir`), so
//! that changing it then is an error that shows far away.

use core::ffi::c_int;

pub(crate) use libc::{EINVAL, ENOMEM};

pub(crate) fn set(code: c_int) {
    // SAFETY: libc answers the address of this thread's errno, which lives as long as the thread.
    unsafe { *libc::__errno_location() = code };
}

/// Does something and leaves `errno` as it was.
pub(crate) fn kept<R>(action: impl FnOnce() -> R) -> R {
    // SAFETY: as in `set`.
    let before = unsafe { *libc::__errno_location() };
    let result = action();
    set(before);
    result
}
