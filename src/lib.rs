//! A memory pool that knows where your memory is.
//!
//! A program hands regions of memory, its *heaps*, to a [`MemoryPool`], and allocates from them. The pool
//! takes memory from nowhere else, can be used by any number of threads, refuses every pointer that is not
//! the start of a live block, and tells what it holds. The same pool over a heap that the library reserves
//! from the system is Rust's global allocator (`MemoryPool::system`), the home of [`heap::Chunk`], and, in
//! the package `heapmaster-malloc`, what stands behind `malloc`.
//!
//! C programs use it through `include/heapmaster.h`.
//!
//! # The ladder
//! Each layer knows only those above it in this list.
//!
//! | layer | subject |
//! |---|---|
//! | `error` | statuses and errors |
//! | `bits` | 64-ary bitmaps |
//! | `buddy` | one heap's granules: runs and spans of them |
//! | `slab` | size classes, objects in spans |
//! | `armour` | what shows that something was written beside a block |
//! | `pool` | heaps, lock, limits, statistics: [`MemoryPool`] |
//! | `os` | reserve, commit, purge: the only door to the system |
//! | `system` | heaps from the system, the default pool |
//! | `sampled` | blocks on pages of their own, with a record |
//! | `cache` | per-thread caches of the default pool |
//! | [`heap`] | owned chunks of the default pool |
//! | `ffi` | the C ABI |

#![cfg_attr(not(test), no_std)]
// Without the system nobody reserves memory, which the pool's heaps could be made of.
#![cfg_attr(not(feature = "system"), allow(dead_code, unused_imports))]

mod error;

mod bits;
mod buddy;
mod slab;

mod armour;

mod pool;

#[cfg(feature = "system")]
mod os;
#[cfg(feature = "system")]
mod system;

#[cfg(feature = "system")]
mod sampled;

#[cfg(feature = "system")]
#[doc(hidden)]
pub mod cache;

#[cfg(feature = "system")]
pub mod heap;

#[cfg(feature = "system")]
mod ffi;

pub use error::{Error, Origin, Status};
#[cfg(feature = "system")]
pub use os::YieldAfterSpin;
#[cfg(feature = "system")]
#[doc(hidden)]
pub use os::last_words;
#[cfg(not(feature = "system"))]
pub use pool::MemoryPool;
pub use pool::{
    BlockInfo, BlockState, Context, GrowFn, HeapStats, LowMemoryFn, MAX_SIZE, MIN_ALIGNMENT,
    PoolStats,
};
#[cfg(feature = "system")]
#[doc(hidden)]
pub use system::enable_decay;
#[cfg(feature = "system")]
pub use system::{MemoryPool, default_pool};
