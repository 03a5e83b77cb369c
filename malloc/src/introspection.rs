//! `mallinfo` and the others that look at the allocator or tune it.
//!
//! glibc's figures describe its arenas. Here they are what they mean to a reader, taken from the statistics of
//! the pool; what has no counterpart is 0:
//!
//! | field      | here                                                             |
//! |------------|------------------------------------------------------------------|
//! | `arena`    | bytes of the heaps in use, in whole granules                     |
//! | `uordblks` | bytes in live blocks                                             |
//! | `fordblks` | the rest of `arena`: room in spans, ready to be allocated        |
//! | `hblks`, `hblkhd` | 0: no block has a mapping of its own                      |
//! | `ordblks`, `smblks`, `fsmblks`, `usmblks`, `keepcost` | 0                     |

use crate::errno::EINVAL;
use crate::text::{Text, say, write_to_standard_error};
use core::ffi::c_int;
use core::fmt::Write;
use heapmaster::{PoolStats, cache, default_pool};

/// `struct mallinfo2`, and with `int` the older `struct mallinfo`. The fields are those of `malloc.h`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs, reason = "see the table of the module")]
pub struct MallInfo<T> {
    pub arena: T,
    pub ordblks: T,
    pub smblks: T,
    pub hblks: T,
    pub hblkhd: T,
    pub usmblks: T,
    pub fsmblks: T,
    pub uordblks: T,
    pub fordblks: T,
    pub keepcost: T,
}

/// The figures of the table above.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> MallInfo<usize> {
    figures()
}

fn figures() -> MallInfo<usize> {
    let statistics = default_pool().stats();
    MallInfo {
        arena: statistics.used_bytes,
        uordblks: statistics.live_bytes,
        fordblks: free_in_spans(&statistics),
        ..MallInfo::default()
    }
}

/// `mallinfo2` for programs from the time of 32 bits. Where glibc's figures wrap around, these stop at
/// `INT_MAX`.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> MallInfo<c_int> {
    let saturated = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let MallInfo { arena, uordblks, fordblks, .. } = figures();
    MallInfo {
        arena: saturated(arena),
        uordblks: saturated(uordblks),
        fordblks: saturated(fordblks),
        ..MallInfo::default()
    }
}

/// Gives free memory back to the system now, all of it: `padding`, what glibc would keep at the top of its
/// heap, has no meaning here. Returns 1 if there was any, else 0.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_padding: usize) -> c_int {
    c_int::from(cache::trim() > 0)
}

/// Writes the statistics of the pool on standard error.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    write(&default_pool().stats());
}

/// The same at the end of the program.
pub(crate) fn write_last_statistics() {
    match cache::last_stats() {
        Some(statistics) => write(&statistics),
        None => say(format_args!("no statistics: the program ended in the midst of an allocation")),
    }
}

fn write(statistics: &PoolStats) {
    let PoolStats {
        heaps,
        capacity_bytes,
        metadata_bytes,
        used_bytes,
        peak_used_bytes,
        live_blocks,
        live_bytes,
        allocations,
        releases,
        failures,
        misuses,
        ..
    } = statistics;
    let mut text = Text::<1024>::new();
    // The text is larger than these lines can get.
    let _ = write!(
        text,
        "heapmaster:\n\
         heaps            = {heaps:>20}\n\
         capacity bytes   = {capacity_bytes:>20}\n\
         metadata bytes   = {metadata_bytes:>20}\n\
         used bytes       = {used_bytes:>20}\n\
         peak used bytes  = {peak_used_bytes:>20}\n\
         live blocks      = {live_blocks:>20}\n\
         live bytes       = {live_bytes:>20}\n\
         allocations      = {allocations:>20}\n\
         releases         = {releases:>20}\n\
         failures         = {failures:>20}\n\
         misuses          = {misuses:>20}\n"
    );
    write_to_standard_error(text.as_bytes());
}

/// Writes the statistics as XML, in the elements that glibc uses. `options` must be 0, else the answer is
/// `EINVAL`.
///
/// # Safety
///
/// `stream` is an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        return EINVAL;
    }
    let statistics = default_pool().stats();
    let PoolStats { used_bytes, peak_used_bytes, metadata_bytes, live_blocks, live_bytes, .. } =
        statistics;
    let free = free_in_spans(&statistics);
    let mut text = Text::<1024>::new();
    // The text is larger than these lines can get.
    let _ = write!(
        text,
        "<malloc version=\"1\">\n\
         <total type=\"live\" count=\"{live_blocks}\" size=\"{live_bytes}\"/>\n\
         <total type=\"rest\" count=\"0\" size=\"{free}\"/>\n\
         <total type=\"mmap\" count=\"0\" size=\"0\"/>\n\
         <system type=\"current\" size=\"{used_bytes}\"/>\n\
         <system type=\"max\" size=\"{peak_used_bytes}\"/>\n\
         <aspace type=\"total\" size=\"{used_bytes}\"/>\n\
         <aspace type=\"metadata\" size=\"{metadata_bytes}\"/>\n\
         </malloc>\n"
    );
    // No lock of ours is held: the stream may well allocate its buffer now.
    // SAFETY: the text is readable for its length; the stream is the caller's.
    unsafe { libc::fwrite(text.as_bytes().as_ptr().cast(), 1, text.as_bytes().len(), stream) };
    0
}

/// Returns 1 for the parameters of `mallopt(3)` that are hints about speed, and does nothing: the pool has
/// neither arenas nor thresholds. Returns 0, an error, for those that would change what a program sees
/// (`M_PERTURB`, `M_CHECK_ACTION`) and for unknown ones.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(parameter: c_int, _value: c_int) -> c_int {
    let is_hint = matches!(
        parameter,
        libc::M_MXFAST
            | libc::M_TRIM_THRESHOLD
            | libc::M_TOP_PAD
            | libc::M_MMAP_THRESHOLD
            | libc::M_MMAP_MAX
            | libc::M_ARENA_TEST
            | libc::M_ARENA_MAX
    );
    c_int::from(is_hint)
}

fn free_in_spans(statistics: &PoolStats) -> usize {
    statistics.used_bytes.saturating_sub(statistics.live_bytes)
}
