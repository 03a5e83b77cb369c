//! Limits and callbacks.

use super::{hl_pool, live, status};
use crate::error::Status;
use crate::pool::Context;
use crate::system::MemoryPool;
use core::ffi::c_void;

/// Is told that only `free_bytes` of the pool's heaps are left free.
pub type hl_low_memory_fn =
    Option<unsafe extern "C" fn(pool: *mut hl_pool, free_bytes: usize, context: *mut c_void)>;

/// Adds memory to a pool that has no room for a request; true if it did. A heap of `needed` bytes, metadata and
/// alignment included, serves the request for certain, wherever it lies.
pub type hl_grow_fn =
    Option<unsafe extern "C" fn(pool: *mut hl_pool, needed: usize, context: *mut c_void) -> bool>;

/// Lets the blocks of the pool take at most `bytes` bytes of its heaps, counted in whole granules of spans
/// and runs (`used_bytes` of the statistics); 0 lifts the limit. Live blocks stay so, also beyond it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_set_limit(pool: *mut hl_pool, bytes: usize) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.map(|live| live.set_limit((bytes != 0).then_some(bytes))))
}

/// Sets what is called when free bytes have fallen below `threshold` bytes, by an allocation, hl_resize() or
/// hl_remove_heap(), once until they have risen above it again, and each time before an allocation fails for want of
/// memory or at the limit. NULL removes it.
///
/// The callback runs in the thread that made the call, with no lock held: it may release and allocate. At most four
/// callbacks of a pool run at once; an allocation that would call one more fails without, and that free bytes have
/// fallen is told by the next that takes some. Calls that other threads have under way may still call the callback
/// that was set before, after this has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_set_low_memory_callback(
    pool: *mut hl_pool,
    threshold: usize,
    callback: hl_low_memory_fn,
    context: *mut c_void,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.map(|live| {
        let context = words(pool, callback.map(|callback| callback as *mut c_void), context);
        let function = callback.map(|_| low_memory as _);
        // SAFETY: the caller promises that the callback may be called with the context.
        unsafe { live.set_low_memory_callback(threshold, function, context) }
    }))
}

/// Sets what is called when no heap has room for a request: it may add a heap, and return true for the
/// allocation to be tried again; up to eight times for one request. NULL removes it.
///
/// The callback runs in the thread that allocates, with no lock held: it may use the pool. At most four
/// callbacks of a pool run at once; an allocation that would call one more fails without. Calls that other threads have
/// under way may still call the callback that was set before, after this has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_set_grow_callback(
    pool: *mut hl_pool,
    callback: hl_grow_fn,
    context: *mut c_void,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.map(|live| {
        let context = words(pool, callback.map(|callback| callback as *mut c_void), context);
        let function = callback.map(|_| grow as _);
        // SAFETY: the caller promises that the callback may be called with the context.
        unsafe { live.set_grow_callback(function, context) }
    }))
}

/// What the pool gives back: the handle, the callback and its own context.
fn words(pool: *mut hl_pool, callback: Option<*mut c_void>, context: *mut c_void) -> Context {
    [pool.cast(), callback.unwrap_or(core::ptr::null_mut()), context]
}

/// # Safety
/// The words are those that [`hl_pool_set_low_memory_callback`] made.
unsafe fn low_memory(_: &MemoryPool, free_bytes: usize, [pool, callback, context]: Context) {
    // SAFETY: the second word is a callback of this type, or null.
    let callback: hl_low_memory_fn = unsafe { core::mem::transmute(callback) };
    if let Some(callback) = callback {
        // SAFETY: whoever set it promised that it may be called.
        unsafe { callback(pool.cast(), free_bytes, context) }
    }
}

/// # Safety
/// The words are those that [`hl_pool_set_grow_callback`] made.
unsafe fn grow(_: &MemoryPool, needed: usize, [pool, callback, context]: Context) -> bool {
    // SAFETY: the second word is a callback of this type, or null.
    let callback: hl_grow_fn = unsafe { core::mem::transmute(callback) };
    // SAFETY: whoever set it promised that it may be called.
    callback.is_some_and(|callback| unsafe { callback(pool.cast(), needed, context) })
}
