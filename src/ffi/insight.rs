//! Insight: statistics, walk, check, map.

use super::{hl_pool, live, put, status};
use crate::error::{Error, Status};
use crate::pool::{BlockInfo, BlockState, MAX_SIZE};
use core::ffi::{c_char, c_void};

/// What a pool has, and has done. Sizes are in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hl_pool_statistics {
    /// Set it to sizeof(hl_pool_statistics) before the call; so many bytes are filled in, as far as the
    /// library knows them.
    pub struct_size: usize,
    /// Number of heaps.
    pub heaps: usize,
    /// Bytes in blocks of the heaps, used and free: what they have but for metadata and trimmings.
    pub capacity_bytes: usize,
    /// Bytes that the heaps' metadata takes; of a system heap, what belongs to its committed part.
    pub metadata_bytes: usize,
    /// Bytes in use: whole granules of spans and runs.
    pub used_bytes: usize,
    /// The most bytes there ever were in use.
    pub peak_used_bytes: usize,
    /// capacity_bytes less used_bytes.
    pub free_bytes: usize,
    /// Bytes of the largest free block. Neighbouring ones may make up a larger run.
    pub largest_free_block: usize,
    /// Blocks that were allocated and not released.
    pub live_blocks: usize,
    /// The sum of their usable sizes; of a hardened pool, of what they take with header and canaries.
    pub live_bytes: usize,
    /// Blocks ever allocated from the heaps that the pool has now.
    pub allocations: u64,
    /// Blocks ever released to them.
    pub releases: u64,
    /// Allocations and resizes that failed for want of memory.
    pub failures: u64,
    /// Pointers that were refused, for whatever reason, and, of a hardened pool, writes to released blocks that were
    /// found when their memory was used again.
    pub misuses: u64,
    /// The limit of used_bytes; 0 for none.
    pub limit: usize,
}

/// What a heap has. Sizes are in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hl_heap_statistics {
    /// Set it to sizeof(hl_heap_statistics) before the call; so many bytes are filled in, as far as the
    /// library knows them.
    pub struct_size: usize,
    /// The region, as it was handed in.
    pub memory: *mut c_void,
    /// Its size.
    pub size: usize,
    /// The granule: sizes of runs are multiples of it.
    pub granule: usize,
    /// Bytes in blocks, used and free.
    pub capacity_bytes: usize,
    /// Bytes that metadata takes; of a system heap, what belongs to its committed part.
    pub metadata_bytes: usize,
    /// Bytes in use: whole granules of spans and runs.
    pub used_bytes: usize,
    /// capacity_bytes less used_bytes.
    pub free_bytes: usize,
    /// Bytes of the largest free block. Neighbouring ones may make up a larger run.
    pub largest_free_block: usize,
    /// Blocks that were allocated and not released.
    pub live_blocks: usize,
    /// The sum of their usable sizes; of a hardened pool, of what they take with header and canaries.
    pub live_bytes: usize,
    /// Number of spans.
    pub spans: usize,
    /// Whether hl_drain_heap() was called for it.
    pub draining: bool,
}

/// A block, as hl_pool_walk() shows it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hl_block_info {
    /// sizeof(hl_block_info) of the library.
    pub struct_size: usize,
    /// Its first byte.
    pub address: *mut c_void,
    /// Its bytes.
    pub size: usize,
    /// Whether it is handed out.
    pub state: BlockState,
}

/// Is shown a block; false ends the walk.
pub type hl_visit_fn =
    Option<unsafe extern "C" fn(block: *const hl_block_info, context: *mut c_void) -> bool>;

/// Fills in what the pool has now. Cost: a step a heap and size class, and one a span, run and free block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_stats(
    pool: *mut hl_pool,
    statistics: *mut hl_pool_statistics,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| {
        let stats = live.stats();
        let value = hl_pool_statistics {
            struct_size: size_of::<hl_pool_statistics>(),
            heaps: stats.heaps,
            capacity_bytes: stats.capacity_bytes,
            metadata_bytes: stats.metadata_bytes,
            used_bytes: stats.used_bytes,
            peak_used_bytes: stats.peak_used_bytes,
            free_bytes: stats.free_bytes,
            largest_free_block: stats.largest_free_block,
            live_blocks: stats.live_blocks,
            live_bytes: stats.live_bytes,
            allocations: stats.allocations,
            releases: stats.releases,
            failures: stats.failures,
            misuses: stats.misuses,
            limit: stats.limit.unwrap_or(0),
        };
        // SAFETY: the caller hands in a struct whose size it has set, or null.
        unsafe { put(statistics, value) }
    }))
}

/// Fills in what the heap that holds the address `memory`, any in its region, has now. ::HL_ERR_HEAP_UNKNOWN if none does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_heap_stats(
    pool: *mut hl_pool,
    memory: *const c_void,
    statistics: *mut hl_heap_statistics,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| {
        let stats = live.heap_stats(memory.cast())?;
        let value = hl_heap_statistics {
            struct_size: size_of::<hl_heap_statistics>(),
            memory: stats.memory.cast(),
            size: stats.size,
            granule: stats.granule,
            capacity_bytes: stats.capacity_bytes,
            metadata_bytes: stats.metadata_bytes,
            used_bytes: stats.used_bytes,
            free_bytes: stats.free_bytes,
            largest_free_block: stats.largest_free_block,
            live_blocks: stats.live_blocks,
            live_bytes: stats.live_bytes,
            spans: stats.spans,
            draining: stats.draining,
        };
        // SAFETY: the caller hands in a struct whose size it has set, or null.
        unsafe { put(statistics, value) }
    }))
}

/// Calls `visit` for each block of the pool, live and free, in the order of their addresses, until it
/// returns false. Objects of a span are shown one by one. A system heap that has not served a block yet has no memory,
/// so that nothing of it is shown.
///
/// No lock is held while it runs, so it may release, allocate and resize. What changes during the walk, by
/// it or by other threads, may be shown as it was just before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_walk(
    pool: *mut hl_pool,
    visit: hl_visit_fn,
    context: *mut c_void,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| {
        let visit = visit.ok_or(Error::InvalidArgument("invalid argument: visit is NULL"))?;
        live.walk(|&BlockInfo { address, size, state }| {
            let struct_size = size_of::<hl_block_info>();
            let block = hl_block_info { struct_size, address: address.cast(), size, state };
            // SAFETY: the caller hands in a function that may be called with its context.
            unsafe { visit(&block, context) }
        });
        Ok(())
    }))
}

/// Checks every invariant of the pool's books. ::HL_ERR_CORRUPTED if one does not hold, which
/// hl_last_error_message() names. Of a hardened pool also what was written beside a live block, or to one that waits
/// in quarantine or is free: ::HL_ERR_OVERRUN, ::HL_ERR_UNDERRUN, ::HL_ERR_WRITTEN_AFTER_RELEASE. Other threads wait
/// meanwhile. Cost: a step a granule; in a hardened pool all free memory is read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_check(pool: *mut hl_pool) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| live.check()))
}

/// Draws the heap that holds the address `memory` as a string of `size - 1` characters, each for an equal
/// share of it: '.' free, '1' to '9' tenths in use, '#' all in use. ::HL_ERR_HEAP_UNKNOWN if none does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_map(
    pool: *mut hl_pool,
    memory: *const c_void,
    text: *mut c_char,
    size: usize,
) -> Status {
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.and_then(|live| {
        if text.is_null() || size == 0 || size > MAX_SIZE {
            return Err(Error::InvalidArgument("invalid argument: there is no room for the text"));
        }
        // SAFETY: the caller hands in `size` characters.
        let text = unsafe { core::slice::from_raw_parts_mut(text.cast::<u8>(), size) };
        let (characters, end) = text.split_at_mut(size - 1);
        live.map(memory.cast(), characters)?;
        end[0] = 0;
        Ok(())
    }))
}
