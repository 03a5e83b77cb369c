//! Heaps: added, drained, removed.

use super::{hl_pool, live, status};
use crate::error::Status;
use core::ffi::c_void;

/// Adds the `size` bytes at `memory` to the pool as a heap. Neither need be aligned. The pool's metadata
/// takes the first bytes: less than 4 % of 64 KiB or more, some 500 of 4 KiB.
///
/// ::HL_ERR_HEAP_NULL, ::HL_ERR_HEAP_TOO_SMALL, ::HL_ERR_HEAP_WRAPS (around the end of the address space),
/// ::HL_ERR_SIZE_OVERFLOW (more than PTRDIFF_MAX), ::HL_ERR_HEAP_OVERLAPS (one that a pool has, its metadata, or the
/// handle before the first heap of hl_pool_new_in()); then the pool is as it was. A heap may lie inside a block of
/// another pool. That it lies in a block, and not in what is free, is the caller's word.
///
/// The memory must stay valid until the heap is removed or the pool deleted, and only the blocks in it that
/// were handed out may be written to. Other threads may use the pool meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_add_heap(
    pool: *mut hl_pool,
    memory: *mut c_void,
    size: usize,
) -> Status {
    // SAFETY: the caller hands in a live pool or null, and memory for it.
    status(unsafe { live(pool) }.and_then(|live| unsafe { live.add_heap(memory.cast(), size) }))
}

/// Reserves up to `max_size` bytes of address space, 0 for as many as the system agrees to, and adds them to
/// the pool as a heap. Memory is committed as the heap grows, and given back as it runs empty. Every block of it gives
/// an address in its region, as does hl_pool_walk() once it has served one.
///
/// ::HL_ERR_HEAP_TOO_SMALL below 1 MiB; ::HL_ERR_SIZE_OVERFLOW, ::HL_ERR_SYSTEM if there is no such address
/// space.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_add_system_heap(pool: *mut hl_pool, max_size: usize) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| live.add_system_heap(max_size)))
}

/// Allocates nothing more from the heap that holds the address `memory`, any in its region, so that
/// hl_remove_heap() succeeds once its blocks are released; one that grows by hl_resize() moves to another heap.
/// Only hl_pool_reset() undoes it. ::HL_ERR_HEAP_UNKNOWN if no heap holds the address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_drain_heap(pool: *mut hl_pool, memory: *mut c_void) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| live.drain_heap(memory.cast())))
}

/// Removes the heap that holds the address `memory`, any in its region, and gives the memory back to the caller, or to the
/// system if it came from there. Other threads may use the pool meanwhile.
///
/// ::HL_ERR_HEAP_UNKNOWN; ::HL_ERR_HEAP_IN_USE while it has live blocks, how many and of how many bytes
/// hl_last_error_message() says, and for ever if it is the one that `malloc` began with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_remove_heap(pool: *mut hl_pool, memory: *mut c_void) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| live.remove_heap(memory.cast())))
}
