//! Blocks: allocated and released, in Rust with errors that say why not, and, resized too, by the C names over raw
//! pointers.

use super::heap::{Fresh, Request};
use super::{Claim, MIN_ALIGNMENT, MemoryPool, Wanted};
use crate::armour::Region;
use crate::error::{Error, Status};
use crate::slab::{ClassId, MAX_OBJECT, Refused};
use core::ptr::NonNull;
use spin::RelaxStrategy;

/// Bytes of a zeroed block from which on its pages are got from the system anew: most programs that want so many touch
/// few of them. glibc does so from there on, too.
const WORTH_PURGING: usize = 32 << 20;

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
            // SAFETY: the block has at least `size` bytes, and is ours.
            unsafe { self.wipe(Region { start: block.address, len: size }, WORTH_PURGING) };
        }
        Ok(block.address)
    }

    /// Allocates a block of at least `size` bytes whose address is a multiple of `alignment`, any power of
    /// two.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`], and `BadAlignment`, and `AlignmentOverflow` of a hardened pool.
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
        if self.wears_armour(block.addr().get()) {
            return self.release_armoured(self, block.addr().get(), Claim::POOL);
        }
        self.release_bare(block)
    }

    /// [`MemoryPool::release`], of a block without an armour.
    pub(crate) fn release_bare(&self, block: NonNull<u8>) -> Result<(), Error> {
        let mut inner = self.lock();
        match inner.release(block.addr().get()) {
            Ok(()) => Ok(()),
            Err(Refused) => Err(self.refused(inner, block.addr().get())),
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
        if self.wears_armour(address) {
            let claim = Claim { size: Some(size), ..Claim::POOL };
            return self.release_armoured(self, address, claim);
        }
        let mut inner = self.lock();
        match inner.live(address) {
            Some((_, live)) if live.size < size => {
                Err(inner.size_mismatch(address, size, live.size))
            }
            _ => match inner.release(address) {
                Ok(()) => Ok(()),
                Err(Refused) => Err(self.refused(inner, address)),
            },
        }
    }

    /// Bytes that may be used of the live block that starts at `block`.
    ///
    /// # Errors
    /// As [`MemoryPool::release`].
    pub fn usable_size(&self, block: NonNull<u8>) -> Result<usize, Error> {
        let address = block.addr().get();
        if self.wears_armour(address) {
            return self.armoured_size(self, address);
        }
        let inner = self.lock();
        match inner.live(address) {
            Some((_, live)) => Ok(live.size),
            None => Err(self.refused(inner, address)),
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
    #[must_use = "the block is lost, and what failed not known, unless this is looked at"]
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
    #[must_use = "the block may be elsewhere now"]
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
    #[must_use = "a refusal says what was wrong with the call"]
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
