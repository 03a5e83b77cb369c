//! The library: its version, and the pool it has itself.

use super::hl_pool;
use core::ffi::{CStr, c_char};

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL inside"),
    };

/// The library's version, such as "1.2.3".
#[unsafe(no_mangle)]
pub extern "C" fn hl_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The pool that the library has itself, the one behind malloc where that is substituted; sampled blocks of malloc, and,
/// if it is hardened, those of 0 bytes are not the pool's. It adds a system heap to itself when it first needs one, and
/// can't be reset or deleted. In the child of a fork it is usable if no other thread was in a function of the library,
/// or if it is the one of libheapmaster_malloc.so.
#[unsafe(no_mangle)]
pub extern "C" fn hl_default_pool() -> *mut hl_pool {
    hl_pool::default_handle()
}
