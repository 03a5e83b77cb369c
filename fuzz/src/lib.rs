//! What the targets share. They go by `include/heapmaster.h`: every call is one of the C ABI, and what it
//! must answer follows from a model of the live blocks, or else from what the header says.

pub mod abi;
mod damage;
mod heap;
mod model;
mod poison;
mod region;
mod size;

pub use damage::{Beside, Damage};
pub use heap::NewHeap;
pub use model::{Block, Blocks};
pub use poison::{Poison, expect_zeroes};
pub use region::Region;
pub use size::{Alignment, Size};

use abi::*;
use heapmaster::Error;
use std::ffi::{CStr, c_void};

/// Whether all bytes are this one. Memory is compared with itself, for a comparison of each byte would be traced.
pub fn are_all(bytes: &[u8], byte: u8) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == byte && *rest == bytes[..rest.len()],
    }
}

/// Sets errno to what no call sets it to.
pub fn untouch_errno() {
    set_errno(UNTOUCHED);
}

/// Whether errno is as [`untouch_errno`] left it.
pub fn errno_is_untouched() -> bool {
    errno() == UNTOUCHED
}

const UNTOUCHED: i32 = 4711;

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_errno(errno: i32) {
    // SAFETY: it is the thread's own.
    unsafe { *libc::__errno_location() = errno }
}

/// A call that returned no pointer said why, and set errno to what belongs to it.
pub fn reason() -> Status {
    // SAFETY: it takes no pointer.
    let status = unsafe { hl_last_error() };
    let expected = match status {
        Status::OutOfMemory | Status::LimitReached | Status::SizeOverflow => libc::ENOMEM,
        _ => libc::EINVAL,
    };
    assert_eq!(errno(), expected, "errno of {status:?}");
    status
}

/// The pool's statistics, which add up.
pub fn stats(pool: Pool) -> Statistics {
    let mut statistics =
        Statistics { struct_size: size_of::<Statistics>(), ..Statistics::default() };
    // SAFETY: the pool is live, and the struct knows its size.
    assert_eq!(unsafe { hl_pool_stats(pool, &mut statistics) }, Status::Ok);
    assert_eq!(statistics.capacity_bytes, statistics.used_bytes + statistics.free_bytes);
    assert_eq!(statistics.allocations, statistics.releases + statistics.live_blocks as u64);
    assert!(statistics.largest_free_block <= statistics.free_bytes);
    assert!(statistics.live_bytes <= statistics.used_bytes);
    assert!(statistics.used_bytes <= statistics.peak_used_bytes);
    statistics
}

/// A pool without heaps and limits.
pub fn new_pool(flags: u32) -> Pool {
    let config = Config { struct_size: size_of::<Config>(), flags, limit: 0 };
    // SAFETY: the config is what it says.
    let pool = unsafe { hl_pool_new_with(&config) };
    assert!(!pool.is_null());
    pool
}

/// Released blocks of a hardened pool that wait as live ones.
pub const MOST_WAITING: usize = 128;

/// The pool has these live blocks. Those of a hardened pool wear an armour, and others may wait.
pub fn expect_live(stats: &Statistics, blocks: &Blocks) {
    const LEAST_ARMOUR: usize = 24;
    let (live, bytes) = (stats.live_blocks, stats.live_bytes);
    if blocks.are_hardened() {
        assert!((blocks.len()..=blocks.len() + MOST_WAITING).contains(&live), "{live} are live");
        assert!(bytes >= blocks.usable_bytes() + live * LEAST_ARMOUR, "{bytes} bytes are live");
    } else {
        assert_eq!((live, bytes), (blocks.len(), blocks.usable_bytes()));
    }
}

/// What `hl_pool_check` says.
pub fn checked(pool: Pool) -> Status {
    // SAFETY: the pool is live.
    unsafe { hl_pool_check(pool) }
}

/// The pool's books are sound.
pub fn check(pool: Pool) {
    assert_eq!(checked(pool), Status::Ok, "{:?}", message());
}

fn message() -> String {
    // SAFETY: the message is a C string.
    unsafe { CStr::from_ptr(hl_last_error_message()) }.to_string_lossy().into_owned()
}

/// A call failed with this error.
pub fn expect_error(status: Status, error: &Error) {
    assert_eq!(status, error.status());
    assert_eq!(message(), error.to_string());
}

/// A block as a walk shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub address: usize,
    pub size: usize,
    pub live: bool,
}

impl Shown {
    pub fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.address) < self.size
    }
}

/// All blocks of the pool, in the order of their addresses, none of which overlap.
pub fn walk(pool: Pool) -> Vec<Shown> {
    unsafe extern "C" fn show(block: *const BlockInfo, context: *mut c_void) -> bool {
        // SAFETY: the block is shown for this call, and the context is the list below.
        let (block, list) = unsafe { (&*block, &mut *context.cast::<Vec<Shown>>()) };
        let BlockInfo { address, size, state, .. } = *block;
        let address = address.addr();
        list.push(Shown { address, size, live: state == BlockState::Live });
        true
    }
    let mut list: Vec<Shown> = Vec::new();
    // SAFETY: the pool is live, and the list outlives the call.
    assert_eq!(unsafe { hl_pool_walk(pool, Some(show), (&raw mut list).cast()) }, Status::Ok);
    let apart = |pair: &[Shown]| pair[0].address + pair[0].size <= pair[1].address;
    assert!(list.windows(2).all(apart), "the blocks of a walk overlap");
    list
}
