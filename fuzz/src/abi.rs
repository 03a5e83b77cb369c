//! `include/heapmaster.h`, in Rust.

use std::ffi::{c_char, c_void};

pub use heapmaster::{BlockState, Status};

/// `hl_pool *`
pub type Pool = *mut c_void;

pub const SINGLE_THREADED: u32 = 1;
pub const HARDENED: u32 = 2;

#[repr(C)]
pub struct Config {
    pub struct_size: usize,
    pub flags: u32,
    pub limit: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub struct_size: usize,
    pub heaps: usize,
    pub capacity_bytes: usize,
    pub metadata_bytes: usize,
    pub used_bytes: usize,
    pub peak_used_bytes: usize,
    pub free_bytes: usize,
    pub largest_free_block: usize,
    pub live_blocks: usize,
    pub live_bytes: usize,
    pub allocations: u64,
    pub releases: u64,
    pub failures: u64,
    pub misuses: u64,
    pub limit: usize,
}

#[repr(C)]
pub struct HeapStatistics {
    pub struct_size: usize,
    pub memory: *mut c_void,
    pub size: usize,
    pub granule: usize,
    pub capacity_bytes: usize,
    pub metadata_bytes: usize,
    pub used_bytes: usize,
    pub free_bytes: usize,
    pub largest_free_block: usize,
    pub live_blocks: usize,
    pub live_bytes: usize,
    pub spans: usize,
    pub draining: bool,
}

#[repr(C)]
pub struct BlockInfo {
    pub struct_size: usize,
    pub address: *mut c_void,
    pub size: usize,
    pub state: BlockState,
}

#[repr(C)]
pub struct Misuse {
    pub struct_size: usize,
    pub status: Status,
    pub pool: Pool,
    pub pointer: *const c_void,
    pub block: *const c_void,
    pub block_size: usize,
    pub message: *const c_char,
}

pub type VisitFn = unsafe extern "C" fn(*const BlockInfo, *mut c_void) -> bool;
pub type LowMemoryFn = unsafe extern "C" fn(Pool, usize, *mut c_void);
pub type GrowFn = unsafe extern "C" fn(Pool, usize, *mut c_void) -> bool;
pub type MisuseFn = unsafe extern "C" fn(*const Misuse, *mut c_void);

unsafe extern "C" {
    pub fn hl_pool_new() -> Pool;
    pub fn hl_pool_new_with(config: *const Config) -> Pool;
    pub fn hl_pool_new_in(memory: *mut c_void, size: usize) -> Pool;
    pub fn hl_pool_reset(pool: Pool) -> Status;
    pub fn hl_pool_delete(pool: Pool) -> Status;

    pub fn hl_add_heap(pool: Pool, memory: *mut c_void, size: usize) -> Status;
    pub fn hl_add_system_heap(pool: Pool, max_size: usize) -> Status;
    pub fn hl_drain_heap(pool: Pool, memory: *mut c_void) -> Status;
    pub fn hl_remove_heap(pool: Pool, memory: *mut c_void) -> Status;

    pub fn hl_alloc(pool: Pool, size: usize) -> *mut c_void;
    pub fn hl_alloc_zeroed(pool: Pool, count: usize, size: usize) -> *mut c_void;
    pub fn hl_alloc_aligned(pool: Pool, alignment: usize, size: usize) -> *mut c_void;
    pub fn hl_resize(pool: Pool, block: *mut c_void, size: usize) -> *mut c_void;
    pub fn hl_release(pool: Pool, block: *mut c_void) -> Status;
    pub fn hl_release_sized(pool: Pool, block: *mut c_void, size: usize) -> Status;
    pub fn hl_usable_size(pool: Pool, block: *const c_void) -> usize;
    pub fn hl_owns(pool: Pool, address: *const c_void) -> bool;

    pub fn hl_alloc_many(pool: Pool, size: usize, count: usize, blocks: *mut *mut c_void) -> usize;
    pub fn hl_release_many(pool: Pool, blocks: *mut *mut c_void, count: usize) -> usize;

    pub fn hl_pool_set_limit(pool: Pool, bytes: usize) -> Status;
    pub fn hl_pool_set_low_memory_callback(
        pool: Pool,
        threshold: usize,
        callback: Option<LowMemoryFn>,
        context: *mut c_void,
    ) -> Status;
    pub fn hl_pool_set_grow_callback(
        pool: Pool,
        callback: Option<GrowFn>,
        context: *mut c_void,
    ) -> Status;

    pub fn hl_pool_stats(pool: Pool, statistics: *mut Statistics) -> Status;
    pub fn hl_heap_stats(
        pool: Pool,
        memory: *const c_void,
        statistics: *mut HeapStatistics,
    ) -> Status;
    pub fn hl_pool_walk(pool: Pool, visit: Option<VisitFn>, context: *mut c_void) -> Status;
    pub fn hl_pool_check(pool: Pool) -> Status;
    pub fn hl_pool_map(pool: Pool, memory: *const c_void, text: *mut c_char, size: usize)
    -> Status;

    pub fn hl_last_error() -> Status;
    pub fn hl_last_error_message() -> *const c_char;
    pub fn hl_set_misuse_handler(handler: Option<MisuseFn>, context: *mut c_void);
}
