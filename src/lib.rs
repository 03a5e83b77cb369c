//! A memory pool that knows where your memory is.
//!
//! A program hands regions of memory, its *heaps*, to a [`MemoryPool`], and allocates from them. The pool
//! takes memory from nowhere else, can be used by any number of threads, refuses every pointer that is not
//! the start of a live block, and tells what it holds. The same pool over a heap that the library reserves
//! from the system is Rust's global allocator (`MemoryPool::system`), the home of [`heap::Chunk`], and, in
//! the package `heapmaster-malloc`, what stands behind `malloc`.
//!
//! | what you have | what you use |
//! |---|---|
//! | memory of your own, borrowed for a while | [`Pool`], with [`Block`]s and [`PoolBox`]es, in safe Rust |
//! | memory at an address | [`MemoryPool::add_heap`](MemoryPoolWith::add_heap), with raw pointers |
//! | none: the system's | [`MemoryPool::system`], also as global allocator; [`heap::Chunk`] |
//!
//! ```
//! use heapmaster::Pool;
//!
//! let mut memory = Box::new_uninit_slice(1 << 20);
//! let pool = Pool::new();
//! pool.add_heap(&mut memory)?;
//! let mut block = pool.block(100)?;
//! block[0] = 1;
//! # Ok::<(), heapmaster::Error>(())
//! ```
//!
//! C programs use it through `include/heapmaster.h`, C++ ones through `include/heapmaster.hpp`.
//!
//! # Features
//! - `system` (on by default): heaps from the system, the default pool and the C ABI. Without it the crate is
//!   `no_std` and needs no operating system; locks wait by spinning.
//! - `allocator-api2`: pools, and references to them, are allocators of the collections that take one by the
//!   [trait](https://docs.rs/allocator-api2/0.2/allocator_api2/alloc/trait.Allocator.html) of that crate. See
//!   `examples/collections.rs`.
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
//! | `safe` | [`Pool`]s over borrowed memory, [`Block`]s and [`PoolBox`]es |
//! | [`heap`] | owned chunks of the default pool |
//! | `ffi` | the C ABI |

#![cfg_attr(not(test), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]
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

mod safe;

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
pub use pool::{
    BlockInfo, BlockState, Context, GrowFn, HeapStats, LowMemoryFn, MAX_SIZE, MIN_ALIGNMENT,
    MemoryPool as MemoryPoolWith, PoolStats,
};
pub use safe::{Block, Pool, PoolBox};
pub use spin::{RelaxStrategy, Spin};
#[cfg(feature = "system")]
#[doc(hidden)]
pub use system::enable_decay;
#[cfg(feature = "system")]
pub use system::{MemoryPool, default_pool};

/// [`MemoryPoolWith`], which has the documentation, with locks that wait by spinning.
#[cfg(not(feature = "system"))]
pub type MemoryPool = MemoryPoolWith<Spin>;

/// The examples of the documents are tests.
#[cfg(all(doctest, feature = "system"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/guide.md")]
    struct Guide;
}
