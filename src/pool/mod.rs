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
mod check;
mod global;
mod hardened;
mod heap;
mod heaps;
mod inner;
mod lock;
mod owned;
mod registry;
mod shortage;
mod stats;
#[cfg(test)]
mod tests;
mod walk;

pub use hardened::set_found_handler;
pub(crate) use hardened::{Bare, Guards, Hardened};
pub use hardened::{Claim, Fault, Wanted};
pub(crate) use hardened::{found, set_found_handler_if_none};
pub(crate) use heap::{
    Backing, Fresh, MAX_RESERVATION, Request, Reservation, reserved_metadata_bytes,
};
pub use heap::{MAX_SIZE, MIN_ALIGNMENT};
pub use inner::Context;
pub use stats::{HeapStats, PoolStats};
pub use walk::{BlockInfo, BlockState};

use crate::armour::Quarantine;
use crate::error::{Error, Status};
use crate::slab::{ClassId, MAX_OBJECT, Refused};
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::AtomicPtr;
use heap::Heap;
use inner::{Callback, Inner};
use lock::{Guard, Lock};
use spin::RelaxStrategy;

/// Adds memory to a pool that has none left for a request; true if it did. A heap of `needed` bytes serves the
/// request for certain, wherever it lies. See [`MemoryPool::set_grow_callback`].
pub type GrowFn<R> = unsafe fn(pool: &MemoryPool<R>, needed: usize, context: Context) -> bool;

/// Is told that only so many free bytes are left. See [`MemoryPool::set_low_memory_callback`].
pub type LowMemoryFn<R> = unsafe fn(pool: &MemoryPool<R>, free_bytes: usize, context: Context);

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
    /// Null, unless the pool is hardened.
    hardened: AtomicPtr<Hardened>,
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
    /// At any time at most one thread is in a method of the pool.
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
            hardened: AtomicPtr::new(null_mut()),
        }
    }

    fn lock(&self) -> Guard<'_, Inner<R>, R> {
        self.inner.lock()
    }

    /// Adds the `size` bytes at `memory` as a heap. Address and size need not be aligned; metadata takes the
    /// first bytes, less than 4 % of 64 KiB or more. Cost: a step a page of metadata, and a heap of the process.
    ///
    /// # Errors
    /// `HeapNull`, `HeapTooSmall`, `HeapWraps`, `HeapOverlaps`.
    ///
    /// # Safety
    /// Until the heap is removed or the pool dropped, the memory may be read and written, and nobody else
    /// uses what the pool has not handed out.
    pub unsafe fn add_heap(&self, memory: *mut u8, size: usize) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.add_region(memory, size, true) }
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
        unsafe { self.add_region(memory, size, false) }
    }

    /// # Safety
    /// As for [`MemoryPool::add_heap`]; of a heap that is not registered, as for
    /// [`MemoryPool::add_borrowed_heap`].
    unsafe fn add_region(
        &self,
        memory: *mut u8,
        size: usize,
        registered: bool,
    ) -> Result<(), Error> {
        let start = NonNull::new(memory).ok_or(Error::HeapNull)?;
        let address = start.addr().get();
        if size == 0 {
            return Err(Error::HeapTooSmall { address, size });
        }
        // One byte less than all: the address behind the last must exist.
        if address.checked_add(size).is_none() || size > MAX_SIZE {
            return Err(Error::HeapWraps { address, size });
        }
        // SAFETY: the caller's promise.
        self.lock().add_heap(address, size, registered, || unsafe { Heap::in_region(start, size) })
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

    /// Removes the heap whose region holds `address`, which must have no live blocks. Cost: a step a heap of the
    /// process.
    ///
    /// # Errors
    /// `HeapUnknown`; `HeapInUse`, with the live blocks and bytes.
    pub fn remove_heap(&self, address: *const u8) -> Result<(), Error> {
        if self.is_hardened() {
            self.empty_quarantine(self);
        }
        self.lock().remove_heap(address.addr())
    }

    /// Allocates nothing more from the heap whose region holds `address`, so that it can be removed once its
    /// blocks are released.
    ///
    /// # Errors
    /// `HeapUnknown`.
    pub fn drain_heap(&self, address: *const u8) -> Result<(), Error> {
        self.lock().drain_heap(address.addr())
    }

    /// Releases every block at once. The heaps stay, drained ones are in use again. Cost: a step a block.
    ///
    /// # Safety
    /// No block is used any more.
    pub unsafe fn reset(&self) {
        if self.is_hardened() {
            self.quarantine(Quarantine::clear);
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

/// No code of others runs while a pool is changed, so that none can leave it half-way by a panic.
impl<R: RelaxStrategy> UnwindSafe for MemoryPool<R> {}
impl<R: RelaxStrategy> RefUnwindSafe for MemoryPool<R> {}

impl<R: RelaxStrategy> Drop for MemoryPool<R> {
    fn drop(&mut self) {
        self.inner.get_mut().remove_all_heaps();
    }
}

/// Allocation and release, with errors that say why not.
///
/// ```
/// use heapmaster::{Error, MemoryPool};
///
/// static POOL: MemoryPool = MemoryPool::system();
///
/// let page = POOL.alloc_aligned(4096, 4096)?;
/// assert!(page.addr().get().is_multiple_of(4096) && POOL.owns(page.as_ptr()));
/// let text = POOL.alloc_zeroed(100)?;
/// // SAFETY: the block is live, and its old address not used any more.
/// let text = unsafe { POOL.resize(text, 10_000) }?;
/// assert!(POOL.usable_size(text)? >= 10_000);
/// // SAFETY: the blocks are not used any more; what is released twice is refused.
/// unsafe {
///     POOL.release(page)?;
///     assert!(matches!(POOL.release(page), Err(Error::AlreadyReleased { .. })));
///     POOL.release_sized(text, 10_000)?;
/// }
/// # Ok::<(), Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Allocates a block of at least `size` bytes; for 0 bytes one of the smallest.
    ///
    /// # Errors
    /// `OutOfMemory`, `LimitReached`, `SizeOverflow`.
    #[inline]
    pub fn alloc(&self, size: usize) -> Result<NonNull<u8>, Error> {
        match self.alloc_at_hand(size) {
            Some(object) => Ok(object),
            None => self.alloc_other(size),
        }
    }

    /// An object that can be had at once.
    #[inline(always)]
    pub(crate) fn alloc_at_hand(&self, size: usize) -> Option<NonNull<u8>> {
        if size < self.at_hand_below {
            // SAFETY: the bound is that of objects.
            return unsafe { self.inner.try_lock_shared()?.alloc_at_hand(size) };
        }
        if size < self.unlocked_below {
            // SAFETY: the bound is that of objects, in a pool for one thread.
            return unsafe { self.inner.unlocked().alloc_at_hand(size) };
        }
        None
    }

    /// [`MemoryPool::alloc`], when that found nothing at hand.
    #[inline(never)]
    pub(crate) fn alloc_other(&self, size: usize) -> Result<NonNull<u8>, Error> {
        if self.is_hardened() {
            return self.alloc_armoured(self, Wanted::bytes(size));
        }
        if size <= MAX_OBJECT {
            let id = ClassId::holding(size);
            let mut inner = self.lock();
            if let Some(object) = inner.alloc_object(id) {
                return Ok(object);
            }
            if let Some(object) = inner.alloc_from_new(id) {
                self.warn_if_due(inner);
                return Ok(object);
            }
        }
        self.alloc_slow(Request { size, alignment: MIN_ALIGNMENT }).map(|block| block.address)
    }

    /// Allocates a block of at least `size` bytes, of which the first `size` are zero. Cost: a step a byte
    /// besides, but for fresh memory of the system.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`].
    pub fn alloc_zeroed(&self, size: usize) -> Result<NonNull<u8>, Error> {
        if self.is_hardened() {
            return self.alloc_armoured(self, Wanted { zeroed: true, ..Wanted::bytes(size) });
        }
        let block = if size <= MAX_OBJECT {
            Fresh { address: self.alloc(size)?, zeroed: false }
        } else {
            self.alloc_slow(Request { size, alignment: MIN_ALIGNMENT })?
        };
        if !block.zeroed {
            // SAFETY: the block has at least `size` bytes.
            unsafe { block.address.write_bytes(0, size) };
        }
        Ok(block.address)
    }

    /// Allocates a block of at least `size` bytes whose address is a multiple of `alignment`, any power of
    /// two.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`], and `BadAlignment`.
    pub fn alloc_aligned(&self, alignment: usize, size: usize) -> Result<NonNull<u8>, Error> {
        if alignment <= MIN_ALIGNMENT && alignment.is_power_of_two() {
            return self.alloc(size);
        }
        if !alignment.is_power_of_two() {
            return Err(Error::BadAlignment { alignment });
        }
        if self.is_hardened() {
            return self.alloc_armoured(self, Wanted { alignment, ..Wanted::bytes(size) });
        }
        self.alloc_slow(Request { size, alignment }).map(|block| block.address)
    }

    /// Releases a block.
    ///
    /// # Errors
    /// `NotInPool`, `InteriorPointer`, `AlreadyReleased`, `OtherPool`.
    ///
    /// # Safety
    /// If it is a live block, nobody uses it any more. Any other pointer is safe, and refused.
    #[inline]
    pub unsafe fn release(&self, block: NonNull<u8>) -> Result<(), Error> {
        if self.release_at_hand(block.as_ptr()) { Ok(()) } else { self.release_other(block) }
    }

    /// Releases an object that is known at once; null never is.
    #[inline(always)]
    pub(crate) fn release_at_hand(&self, block: *mut u8) -> bool {
        let Some(inner) = self.inner.try_lock() else { return false };
        match inner.release_at_hand(block.addr()) {
            Ok(false) => true,
            Ok(true) => {
                core::mem::forget(inner);
                self.after_release(block);
                true
            }
            Err(Refused) => false,
        }
    }

    /// The countdown has ended of the span that `block` was released of, by the caller, who has the lock.
    #[cold]
    #[inline(never)]
    fn after_release(&self, block: *mut u8) {
        // SAFETY: the caller forgot its guard.
        unsafe { self.inner.held() }.after_release(block.addr());
    }

    /// [`MemoryPool::release`], for every block; sooner for those that are not known at once.
    #[inline(never)]
    pub(crate) fn release_other(&self, block: NonNull<u8>) -> Result<(), Error> {
        if self.is_hardened() {
            return self.release_armoured(self, block.addr().get(), Claim::POOL);
        }
        self.release_bare(block)
    }

    /// [`MemoryPool::release`], of a block without an armour.
    pub(crate) fn release_bare(&self, block: NonNull<u8>) -> Result<(), Error> {
        let mut inner = self.lock();
        match inner.release(block.addr().get()) {
            Ok(()) => Ok(()),
            Err(Refused) => Err(inner.misuse(block.addr().get())),
        }
    }

    /// Releases a block that was allocated with, or last resized to, `size` bytes.
    ///
    /// # Errors
    /// As [`MemoryPool::release`], and `SizeMismatch` if the block is smaller.
    ///
    /// # Safety
    /// As for [`MemoryPool::release`].
    pub unsafe fn release_sized(&self, block: NonNull<u8>, size: usize) -> Result<(), Error> {
        let address = block.addr().get();
        if self.is_hardened() {
            let claim = Claim { size: Some(size), ..Claim::POOL };
            return self.release_armoured(self, address, claim);
        }
        let mut inner = self.lock();
        match inner.live(address) {
            Some((_, live)) if live.size < size => {
                Err(inner.size_mismatch(address, size, live.size))
            }
            _ => inner.release(address).map_err(|_| inner.misuse(address)),
        }
    }

    /// Makes a block hold `size` bytes, where it is if that can be, else elsewhere with its contents copied.
    /// For 0 bytes it becomes a smallest block; it is not released. Cost: a step a byte if it moves. A block that
    /// moves has the alignment of [`MemoryPool::alloc`].
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`] and [`MemoryPool::release`]; then the block is as it was.
    ///
    /// # Safety
    /// If the block is a live one and moves, nobody uses its old address any more.
    pub unsafe fn resize(&self, block: NonNull<u8>, size: usize) -> Result<NonNull<u8>, Error> {
        let address = block.addr().get();
        if self.is_hardened() {
            return self.resize_armoured(self, address, size, Claim::POOL);
        }
        let old_size = {
            let mut inner = self.lock();
            let Some((heap, live)) = inner.live(address) else {
                return Err(inner.misuse(address));
            };
            if size > MAX_SIZE {
                return Err(Error::SizeOverflow { count: 1, size });
            }
            if inner.resize(heap, live, size) {
                self.warn_if_due(inner);
                return Ok(block);
            }
            live.size
        };
        let new = if size > old_size {
            self.alloc(size)?
        } else {
            // Smaller, and too much smaller to stay: but no reason to ask anybody for memory.
            let new = self.lock().alloc(Request { size, alignment: MIN_ALIGNMENT });
            match new {
                Some(new) => new.address,
                None => return Ok(self.shrink(block, size)),
            }
        };
        // SAFETY: both blocks are live, so that they don't overlap, and have so many bytes; the old one is the
        // caller's to give up.
        unsafe { self.replace(block, new, old_size.min(size)) }
    }

    /// Copies the first bytes of a block to a new one, and releases it. It is the caller's until then, so it can be
    /// copied without the lock.
    ///
    /// # Safety
    /// As for [`MemoryPool::release`]; both blocks have that many bytes, and nobody else knows the new one.
    unsafe fn replace(
        &self,
        block: NonNull<u8>,
        new: NonNull<u8>,
        bytes: usize,
    ) -> Result<NonNull<u8>, Error> {
        // SAFETY: the caller's promise; two live blocks don't overlap.
        unsafe { new.copy_from_nonoverlapping(block, bytes) };
        // SAFETY: the caller's promise.
        if let Err(error) = unsafe { self.release(block) } {
            // Somebody released it meanwhile, against the caller's promise.
            // SAFETY: nobody knows the new block.
            let _ = unsafe { self.release(new) };
            return Err(error);
        }
        Ok(new)
    }

    /// Gives back what can be given back of a live block that stays where it is.
    fn shrink(&self, block: NonNull<u8>, size: usize) -> NonNull<u8> {
        let mut inner = self.lock();
        if let Some((heap, live)) = inner.live(block.addr().get()) {
            inner.shrink(heap, live, size);
        }
        block
    }

    /// Bytes that may be used of the live block that starts at `block`.
    ///
    /// # Errors
    /// As [`MemoryPool::release`].
    pub fn usable_size(&self, block: NonNull<u8>) -> Result<usize, Error> {
        let address = block.addr().get();
        if self.is_hardened() {
            return self.armoured_size(self, address);
        }
        let mut inner = self.lock();
        match inner.live(address) {
            Some((_, live)) => Ok(live.size),
            None => Err(inner.misuse(address)),
        }
    }

    /// Whether `address` lies in a heap of the pool.
    pub fn owns(&self, address: *const u8) -> bool {
        self.lock().owns(address.addr())
    }

    /// The same, without waiting; `None` while the pool is being changed.
    pub(crate) fn try_owns(&self, address: usize) -> Option<bool> {
        Some(self.inner.try_lock()?.owns(address))
    }
}

/// The C names over raw pointers; null stands for no block.
impl<R: RelaxStrategy> MemoryPool<R> {
    /// [`MemoryPool::alloc`]; null if that fails.
    #[inline]
    pub fn hl_alloc(&self, size: usize) -> *mut u8 {
        match self.alloc_at_hand(size) {
            Some(object) => object.as_ptr(),
            None => self.hl_alloc_other(size),
        }
    }

    /// Of the same signature as its caller, so that the call is a jump.
    #[cold]
    #[inline(never)]
    fn hl_alloc_other(&self, size: usize) -> *mut u8 {
        self.alloc_other(size).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// [`MemoryPool::resize`]; null, with the block as it was, if that fails. A null block is allocated.
    ///
    /// # Safety
    /// As for [`MemoryPool::resize`].
    pub unsafe fn hl_resize(&self, block: *mut u8, size: usize) -> *mut u8 {
        let Some(block) = NonNull::new(block) else { return self.hl_alloc(size) };
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, size) }.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// [`MemoryPool::release`]; a null block is `Ok`.
    ///
    /// # Safety
    /// As for [`MemoryPool::release`].
    #[inline]
    pub unsafe fn hl_release(&self, block: *mut u8) -> Status {
        if self.release_at_hand(block) { Status::Ok } else { self.hl_release_other(block) }
    }

    /// Of the same signature as its caller, so that the call is a jump.
    #[cold]
    #[inline(never)]
    fn hl_release_other(&self, block: *mut u8) -> Status {
        let Some(block) = NonNull::new(block) else { return Status::Ok };
        self.release_other(block).map_or_else(|error| error.status(), |()| Status::Ok)
    }
}

/// Limits and callbacks.
///
/// ```
/// use heapmaster::{Context, Error, MemoryPool};
///
/// unsafe fn grow(pool: &MemoryPool, needed: usize, _: Context) -> bool {
///     pool.add_system_heap(needed.max(1 << 20)).is_ok()
/// }
///
/// let pool = MemoryPool::new();
/// // SAFETY: the function can be called from any thread, and needs no context.
/// unsafe { pool.set_grow_callback(Some(grow), [std::ptr::null_mut(); 3]) };
/// pool.set_limit(Some(1 << 20));
/// let block = pool.alloc(100_000)?;
/// assert!(matches!(pool.alloc(1 << 20), Err(Error::LimitReached { .. })));
/// // SAFETY: the block is not used any more.
/// unsafe { pool.release(block) }?;
/// # Ok::<(), Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Lets spans and runs take at most so many bytes of the heaps; `None` lifts the limit. Blocks that are
    /// live stay so, also beyond the limit.
    pub fn set_limit(&self, bytes: Option<usize>) {
        self.lock().set_limit(bytes)
    }

    /// Sets what is called when free bytes have fallen below `threshold`, once until they have risen above
    /// it, and before an allocation fails for want of memory. No lock is held while it runs.
    ///
    /// # Safety
    /// From any thread that uses the pool, `function` may be called with `context`, until another one is set.
    pub unsafe fn set_low_memory_callback(
        &self,
        threshold: usize,
        function: Option<LowMemoryFn<R>>,
        context: Context,
    ) {
        let callback = function.map(|function| Callback { function, context });
        self.lock().set_low_memory(threshold, callback);
    }

    /// Sets what is called when no heap has room for a request: it may add a heap, and answer true. No lock
    /// is held while it runs.
    ///
    /// # Safety
    /// From any thread that uses the pool, `function` may be called with `context`, until another one is set.
    pub unsafe fn set_grow_callback(&self, function: Option<GrowFn<R>>, context: Context) {
        self.lock().grow = function.map(|function| Callback { function, context });
    }

    /// Gives memory back to the system that heaps got from it and have free; says how many bytes. Cost: a step a
    /// free block, and a call of the system.
    pub fn trim(&self) -> usize {
        self.lock().trim()
    }
}

/// Rounds of decay, for whoever has the time.
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Begins a round: it is to purge what has been free since the one before.
    pub(crate) fn begin_decay(&self) {
        self.lock().begin_decay();
    }

    /// Purges some more of it; the lock is held for about a millisecond. Says whether there is more.
    pub(crate) fn decay(&self) -> bool {
        self.lock().decay()
    }

    /// Calls `done`, under the lock, with the free bytes that could be purged.
    pub(crate) fn end_decay<T>(&self, done: impl FnOnce(usize) -> T) -> T {
        let inner = self.lock();
        done(inner.purgeable())
    }
}

/// Forking with the pool in use by other threads: for `pthread_atfork`, whose handlers both sides run.
///
/// ```
/// static POOL: heapmaster::MemoryPool = heapmaster::MemoryPool::system();
///
/// POOL.before_fork();
/// // fork()
/// // SAFETY: this thread has called `before_fork`.
/// unsafe { POOL.after_fork() };
/// assert!(POOL.alloc(10).is_ok());
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Takes the pool's locks and the registry's, so that a fork finds neither half-way through a change. Until
    /// [`MemoryPool::after_fork`] nobody, the caller included, can use the pool.
    pub fn before_fork(&self) {
        self.lock_for_fork();
        Self::lock_registry();
    }

    /// Releases what [`MemoryPool::before_fork`] took: in the parent, and in the child.
    ///
    /// # Safety
    /// The calling thread called `before_fork`, or it is the copy of the thread that did.
    pub unsafe fn after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            Self::unlock_registry();
            self.unlock_after_fork();
        }
    }

    /// Takes the pool's locks alone.
    pub(crate) fn lock_for_fork(&self) {
        core::mem::forget(self.growth.lock());
        core::mem::forget(self.lock());
    }

    /// Releases what [`MemoryPool::lock_for_fork`] took.
    ///
    /// # Safety
    /// As for [`MemoryPool::after_fork`].
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.inner.force_unlock();
            self.growth.force_unlock();
        }
    }

    /// Takes the lock of the registry, which comes after those of all pools.
    pub(crate) fn lock_registry() {
        registry::lock_for_fork::<R>();
    }

    /// Releases what [`MemoryPool::lock_registry`] took.
    ///
    /// # Safety
    /// As for [`MemoryPool::after_fork`].
    pub(crate) unsafe fn unlock_registry() {
        // SAFETY: the caller's promise.
        unsafe { registry::unlock_after_fork() }
    }
}
