//! Pools, blocks and values without a raw pointer.
//!
//! Each borrows what it lies in: a [`Block`] and a [`PoolBox`] their pool, a [`Pool`] the memory of its heaps. So
//! the compiler lets none of them outlive it.
//!
//! Soundness rests on two invariants:
//! - S1: nobody but a pool reaches the memory that it borrows, as long as anybody reaches the pool. A pool that is
//!   forgotten is never dropped, and its memory free for other uses: so nothing but the pool may point into it, and
//!   its heaps are not in the registry.
//! - S2: the memory is `MaybeUninit`. What lies in it, values with padding and metadata, leaves bytes behind that
//!   are not initialised, which the owner of a `[u8]` could read.

#[cfg(feature = "allocator-api2")]
mod allocator;
mod block;
mod boxed;

pub use block::Block;
pub use boxed::PoolBox;

use crate::MemoryPool;
use crate::error::Error;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;

/// A pool over borrowed memory, without unsafe code: a [`MemoryPool`] that can't outlive its heaps, with blocks
/// that can't outlive it.
///
/// It does all that a [`MemoryPool`] does, and is [`Send`] and [`Sync`] like it. Allocate by
/// [`MemoryPool::block`], [`MemoryPool::boxed`], or, with the feature `allocator-api2`, by collections that
/// take an allocator.
///
/// ```
/// use heapmaster::Pool;
/// use std::mem::MaybeUninit;
///
/// let mut first = [MaybeUninit::uninit(); 16 * 1024];
/// let mut second = Vec::with_capacity(64 * 1024);
///
/// let pool = Pool::new();
/// pool.add_heap(&mut first)?;
/// pool.add_heap(second.spare_capacity_mut())?;
///
/// let mut block = pool.block(100)?;
/// block[99] = 7;
/// block.resize(20_000)?;
/// assert_eq!((block[99], block[19_999]), (7, 0));
///
/// let number = pool.boxed(42)?;
/// assert_eq!(*number, 42);
/// assert_eq!(pool.stats().live_blocks, 2);
/// # Ok::<(), heapmaster::Error>(())
/// ```
///
/// A block can't outlive its pool:
/// ```compile_fail,E0505
/// # let mut memory = [std::mem::MaybeUninit::uninit(); 4096];
/// # let pool = heapmaster::Pool::new();
/// # pool.add_heap(&mut memory)?;
/// let block = pool.block(100)?;
/// drop(pool);
/// assert_eq!(block[0], 0);
/// # Ok::<(), heapmaster::Error>(())
/// ```
///
/// Nor can a pool outlive its memory, neither in use ...
/// ```compile_fail,E0505
/// # let mut memory = vec![std::mem::MaybeUninit::uninit(); 4096];
/// let pool = heapmaster::Pool::new();
/// pool.add_heap(&mut memory)?;
/// drop(memory);
/// let block = pool.block(100);
/// # Ok::<(), heapmaster::Error>(())
/// ```
///
/// ... nor in its drop, which looks at its heaps:
/// ```compile_fail,E0597
/// let pool = heapmaster::Pool::new();
/// let mut memory = [std::mem::MaybeUninit::uninit(); 4096];
/// pool.add_heap(&mut memory)?;
/// # Ok::<(), heapmaster::Error>(())
/// ```
///
/// Meanwhile nobody else uses the memory:
/// ```compile_fail,E0499
/// # let mut memory = [std::mem::MaybeUninit::<u8>::uninit(); 4096];
/// let pool = heapmaster::Pool::new();
/// pool.add_heap(&mut memory)?;
/// memory[0].write(1);
/// assert_eq!(pool.stats().heaps, 1);
/// # Ok::<(), heapmaster::Error>(())
/// ```
///
/// A pool that is lent for a shorter time does not take shorter-lived memory:
/// ```compile_fail,E0597
/// # let mut memory = [std::mem::MaybeUninit::uninit(); 4096];
/// let pool = heapmaster::Pool::new();
/// pool.add_heap(&mut memory)?;
/// {
///     let mut shorter = [std::mem::MaybeUninit::uninit(); 4096];
///     let lent: &heapmaster::Pool<'_> = &pool;
///     lent.add_heap(&mut shorter)?;
/// }
/// let block = pool.block(100);
/// # Ok::<(), heapmaster::Error>(())
/// ```
pub struct Pool<'heap> {
    pool: MemoryPool,
    /// Invariant: a pool takes memory of its own lifetime, no shorter one.
    memory: PhantomData<fn(&'heap ()) -> &'heap ()>,
}

impl<'heap> Pool<'heap> {
    /// A pool without heaps.
    ///
    /// ```
    /// let pool = heapmaster::Pool::new();
    /// assert!(pool.block(1).is_err());
    /// ```
    pub const fn new() -> Self {
        Pool { pool: MemoryPool::new(), memory: PhantomData }
    }

    /// Adds memory as a heap, at any time, also while there are blocks. It need not be aligned; metadata takes the
    /// first bytes, less than 4 % of 64 KiB or more.
    ///
    /// It is `MaybeUninit`, because what lies in it leaves bytes behind that are not initialised: get it from
    /// [`Box::new_uninit_slice`], [`Vec::spare_capacity_mut`] or an array. Other pools report pointers into it as
    /// [`Error::NotInPool`], not as [`Error::OtherPool`].
    ///
    /// Cost: a step a page of metadata, and a heap of the process.
    ///
    /// # Errors
    /// [`Error::HeapTooSmall`]; [`Error::HeapOverlaps`] for memory that is the pool's own, as a block of one that lives for
    /// ever may be.
    ///
    /// [`Box::new_uninit_slice`]: https://doc.rust-lang.org/std/boxed/struct.Box.html#method.new_uninit_slice
    /// [`Vec::spare_capacity_mut`]: https://doc.rust-lang.org/std/vec/struct.Vec.html#method.spare_capacity_mut
    ///
    /// ```
    /// use heapmaster::{Error, Pool};
    ///
    /// let mut memory = Box::new_uninit_slice(1 << 20);
    /// let mut tiny = Box::new_uninit_slice(10);
    /// let pool = Pool::new();
    /// pool.add_heap(&mut memory)?;
    /// assert!(matches!(pool.add_heap(&mut tiny), Err(Error::HeapTooSmall { size: 10, .. })));
    /// assert!(pool.stats().capacity_bytes > 1_000_000);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn add_heap(&self, memory: &'heap mut [MaybeUninit<u8>]) -> Result<(), Error> {
        // SAFETY: the memory is borrowed for at least as long as anybody reaches the pool (S1).
        unsafe { self.pool.add_borrowed_heap(memory.as_mut_ptr().cast(), memory.len()) }
    }
}

impl Default for Pool<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Pool<'_> {
    type Target = MemoryPool;

    fn deref(&self) -> &MemoryPool {
        &self.pool
    }
}

/// Has nothing to do, but tells the compiler that the drop of a pool needs the memory of its heaps.
impl Drop for Pool<'_> {
    fn drop(&mut self) {}
}

impl fmt::Debug for Pool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A live block of a pool, which is released with it.
struct Owned<'pool> {
    pool: &'pool MemoryPool,
    address: NonNull<u8>,
}

// SAFETY: the block is this owner's alone, and the pool can be used from every thread.
unsafe impl Send for Owned<'_> {}
// SAFETY: as above; who shares it does nothing with the block.
unsafe impl Sync for Owned<'_> {}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody uses the block after its owner.
        let released = unsafe { self.pool.release(self.address) };
        debug_assert!(released.is_ok());
    }
}
