//! The pool: heaps, a lock, limits, statistics.
//!
//! Under the pool's lock a request goes to the home heap, the one that served last; if it can't, to the
//! others in the order they were added; then heaps that can grow do; then any heap may serve it from a place
//! that suits it less well. What is still missing is asked for without the lock, from the callbacks.
//!
//! Lock order: a pool's `growth`, its `inner`, the registry's. No lock is held while a callback or a visitor
//! runs.

#[cfg(feature = "allocator-api2")]
mod allocator;
mod batch;
mod blocks;
mod check;
mod fork;
mod global;
mod hardened;
mod heap;
mod heaps;
mod inner;
mod limits;
mod lock;
mod others;
mod owned;
mod purge;
mod registry;
mod resize;
mod shortage;
mod stash;
mod stats;
#[cfg(test)]
mod tests;
mod walk;

pub use hardened::set_found_handler;
pub(crate) use hardened::{Armoury, Bare, Guards, MOST_CHECKED, Rack, Roll};
pub use hardened::{Claim, Fault, Wanted};
pub(crate) use hardened::{found, set_found_handler_if_none};
pub(crate) use heap::{Backing, MAX_RESERVATION, Request, Reservation, ReservedMetadata, Resized};
pub use heap::{MAX_SIZE, MIN_ALIGNMENT};
pub use limits::{Context, GrowFn, LowMemoryFn};
pub(crate) use lock::{Wait, try_while};
pub(crate) use resize::replace;
pub(crate) use stash::Stash;
pub use stats::{HeapStats, PoolStats};
pub use walk::{BlockInfo, BlockState};

use crate::error::Error;
use crate::slab::MAX_OBJECT;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::AtomicPtr;
use heap::Heap;
use inner::Inner;
use lock::{Guard, Lock};
use spin::RelaxStrategy;

/// Adds a heap that has room for a block of so many bytes with that alignment; false if there is none.
pub(crate) type SourceFn<R> = fn(pool: &MemoryPool<R>, size: usize, alignment: usize) -> bool;

/// A set of heaps, out of which blocks of memory are allocated, and to which they are released.
///
/// A pool takes memory from its heaps and from nowhere else. It can be shared between threads: every method
/// takes `&self`, and waits, as `R` says, while another thread is in one. [`Pool`](crate::Pool) is the same
/// without unsafe code.
///
/// Every block's address is a multiple of [`MIN_ALIGNMENT`]. A pointer that is not the start of a live block
/// of the pool is refused with its own error, at every size, always; a refused call changes nothing.
///
/// Allocation, release and resizing in place take a bounded number of steps, whatever the heaps hold; where the
/// heap that served last has no room, a step a heap more. What costs more says so.
///
/// ```
/// use heapmaster::MemoryPool;
///
/// let mut memory = vec![0u8; 64 * 1024];
/// let pool = MemoryPool::new();
/// // SAFETY: the pool is dropped before the memory, which nothing else uses meanwhile.
/// unsafe { pool.add_heap(memory.as_mut_ptr(), memory.len()) }?;
///
/// let block = pool.hl_alloc(100);
/// assert!(!block.is_null());
/// // SAFETY: the block has 100 bytes, and is not used after its release.
/// unsafe {
///     block.write_bytes(7, 100);
///     let block = pool.hl_resize(block, 200);
///     assert_eq!(*block.add(99), 7);
///     assert_eq!(pool.hl_release(block), heapmaster::Status::Ok);
///     assert_eq!(pool.hl_release(block), heapmaster::Status::AlreadyReleased);
/// }
/// # drop(pool);
/// # Ok::<(), heapmaster::Error>(())
/// ```
#[repr(C)]
pub struct MemoryPool<R: RelaxStrategy = spin::Spin> {
    /// First, so that the address of the lock is the pool's.
    inner: Lock<Inner<R>, R>,
    /// Objects for less bytes than this are at hand once the lock is taken. With the next bound it says whether there
    /// is a lock, so that an allocation compares its size and has the answer to that too.
    at_hand_below: usize,
    /// Objects for less bytes than this are at hand, because there is no lock.
    unlocked_below: usize,
    /// Where the pool gets a heap from by itself.
    source: Option<SourceFn<R>>,
    /// Held by the thread that asks the source, so that others don't ask for the same.
    growth: Lock<(), R>,
    /// Null, unless blocks of the pool wear an armour.
    armoury: AtomicPtr<Armoury>,
}

impl<R: RelaxStrategy> Default for MemoryPool<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// The life of a pool, and of its heaps.
///
/// ```
/// use heapmaster::{Error, MemoryPool};
///
/// let mut regions = [vec![0u8; 64 * 1024], vec![0u8; 1 << 20]];
/// let pool = MemoryPool::new();
/// for region in &mut regions {
///     // SAFETY: the regions outlive the pool, and nothing else uses them.
///     unsafe { pool.add_heap(region.as_mut_ptr(), region.len()) }?;
/// }
///
/// // A heap can be removed when it is empty.
/// let block = pool.alloc(1000)?;
/// let heap = regions[0].as_ptr();
/// pool.drain_heap(heap)?;
/// assert!(matches!(pool.remove_heap(heap), Err(Error::HeapInUse { blocks: 1, .. })));
/// // SAFETY: the block is not used any more.
/// unsafe { pool.release(block) }?;
/// pool.remove_heap(heap)?;
/// # drop(pool);
/// # Ok::<(), Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// A pool without heaps.
    pub const fn new() -> Self {
        Self::with(None, false)
    }

    /// A pool without heaps that takes no lock.
    ///
    /// # Safety
    /// At any time at most one thread is in a method of the pool, and what one has done there happens before what the next
    /// does.
    pub const unsafe fn single_threaded() -> Self {
        Self::with(None, true)
    }

    /// A pool that calls `source` for a heap when it has no room for so many bytes.
    pub(crate) const fn with_source(source: SourceFn<R>) -> Self {
        Self::with(Some(source), false)
    }

    const fn with(source: Option<SourceFn<R>>, single_threaded: bool) -> Self {
        let inner = Lock::new(Inner::new(), single_threaded);
        let growth = Lock::new((), single_threaded);
        const BEYOND_OBJECTS: usize = MAX_OBJECT + 1;
        MemoryPool {
            inner,
            at_hand_below: if single_threaded { 0 } else { BEYOND_OBJECTS },
            unlocked_below: if single_threaded { BEYOND_OBJECTS } else { 0 },
            source,
            growth,
            armoury: AtomicPtr::new(null_mut()),
        }
    }

    fn lock(&self) -> Guard<'_, Inner<R>, R> {
        self.inner.lock()
    }

    /// Adds the `size` bytes at `memory` as a heap. Address and size need not be aligned; metadata takes the
    /// first bytes, less than 4 % of 64 KiB or more. It may lie inside a block of another pool. Cost: a step a page of
    /// metadata, and a heap of the process.
    ///
    /// # Errors
    /// `HeapNull`, `HeapTooSmall`, `HeapWraps`, `SizeOverflow`, `HeapOverlaps`.
    ///
    /// # Safety
    /// Until the heap is removed or the pool dropped, the memory may be read and written, and nobody else
    /// uses what the pool has not handed out.
    pub unsafe fn add_heap(&self, memory: *mut u8, size: usize) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.add_region(memory, size, 0, true) }
    }

    /// [`MemoryPool::add_heap`], of memory whose first `taken` bytes stay the caller's: the heap begins behind them, but
    /// other pools are kept off them, too.
    ///
    /// # Safety
    /// As for [`MemoryPool::add_heap`], of what lies behind.
    pub(crate) unsafe fn add_heap_behind(
        &self,
        memory: *mut u8,
        size: usize,
        taken: usize,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.add_region(memory, size, taken, true) }
    }

    /// [`MemoryPool::add_heap`], for memory whose owner may use it again once the pool is forgotten, without the
    /// drop that would tell the registry.
    ///
    /// # Safety
    /// As for [`MemoryPool::add_heap`], as long as anybody can reach the pool.
    pub(crate) unsafe fn add_borrowed_heap(
        &self,
        memory: *mut u8,
        size: usize,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.add_region(memory, size, 0, false) }
    }

    /// # Safety
    /// As for [`MemoryPool::add_heap`]; of a heap that is not registered, as for
    /// [`MemoryPool::add_borrowed_heap`].
    unsafe fn add_region(
        &self,
        memory: *mut u8,
        size: usize,
        taken: usize,
        registered: bool,
    ) -> Result<(), Error> {
        let start = NonNull::new(memory).ok_or(Error::HeapNull)?;
        let address = start.addr().get();
        // One byte less than all: the address behind the last must exist.
        if address.checked_add(size).is_none() {
            return Err(Error::HeapWraps { address, size });
        }
        if size > MAX_SIZE {
            return Err(Error::SizeOverflow { count: 1, size });
        }
        let too_small = Error::HeapTooSmall { address, size };
        let left = size.checked_sub(taken).filter(|&left| left > 0).ok_or(too_small)?;
        self.lock().add_heap(address, size, registered, || {
            // SAFETY: the caller's promise.
            unsafe { Heap::in_region(start.add(taken), left) }.map_err(|_| too_small)
        })
    }

    /// Adds a heap over reserved memory.
    ///
    /// # Safety
    /// As for [`Heap::in_reservation`].
    pub(crate) unsafe fn add_reservation(
        &self,
        reservation: Reservation,
        backing: &'static Backing,
    ) -> Result<(), Error> {
        let (address, size) = (reservation.memory.addr().get(), reservation.size);
        self.lock().add_heap(address, size, true, || {
            // SAFETY: the caller's promise.
            Ok(unsafe { Heap::in_reservation(reservation, backing) })
        })
    }

    /// Removes the heap whose region holds `address`, which must have no live blocks. The low-memory callback may run.
    /// Cost: a step a heap of the process.
    ///
    /// # Errors
    /// `HeapUnknown`; `HeapInUse`, with the live blocks and bytes. The heap that threads' caches know always is: the
    /// first of the default pool, where that stands behind `malloc`.
    pub fn remove_heap(&self, address: *const u8) -> Result<(), Error> {
        if self.has_armours() {
            self.give_back_waiting_in(address.addr())?;
        }
        let mut inner = self.lock();
        inner.remove_heap(address.addr())?;
        self.warn_if_due(inner);
        Ok(())
    }

    /// Allocates nothing more from the heap whose region holds `address`, so that it can be removed once its
    /// blocks are released.
    ///
    /// # Errors
    /// `HeapUnknown`.
    pub fn drain_heap(&self, address: *const u8) -> Result<(), Error> {
        self.lock().drain_heap(address.addr())?;
        if self.has_armours() {
            self.empty_rack();
        }
        Ok(())
    }

    /// Releases every block at once. The heaps stay, drained ones are in use again. Cost: a step a block.
    ///
    /// # Safety
    /// No block is used any more, nor released: no [`Block`](crate::Block), [`PoolBox`](crate::PoolBox) or collection of
    /// the pool is left, not even to be dropped.
    pub unsafe fn reset(&self) {
        if self.has_armours() {
            self.forget_armours();
        }
        self.lock().reset()
    }
}

impl<R: RelaxStrategy> fmt::Debug for MemoryPool<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what is behind the lock, which whoever prints this may have to wait for.
        f.debug_struct("MemoryPool").finish_non_exhaustive()
    }
}

/// No code of others unwinds while a pool is changed, or at all where it is called by a pool (`without_unwinding`), so that
/// none can leave it half-way by a panic.
impl<R: RelaxStrategy> UnwindSafe for MemoryPool<R> {}
impl<R: RelaxStrategy> RefUnwindSafe for MemoryPool<R> {}

impl<R: RelaxStrategy> Drop for MemoryPool<R> {
    fn drop(&mut self) {
        self.inner.get_mut().remove_all_heaps();
    }
}
