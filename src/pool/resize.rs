//! Blocks that are to hold more bytes, or fewer: where they are, elsewhere with their pages, or copied.

use super::heap::{Request, Resized};
use super::{Claim, MAX_SIZE, MIN_ALIGNMENT, MemoryPool};
use crate::error::Error;
use core::ops::Range;
use core::ptr::NonNull;
use spin::RelaxStrategy;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Makes a block hold `size` bytes, where it is if that can be, else elsewhere with its contents. For 0 bytes it
    /// becomes a smallest block; it is not released. A block that moves has the alignment of [`MemoryPool::alloc`]. Cost:
    /// a step a byte if it moves, or, of 512 KiB and more in a system heap, some calls of the system where those are
    /// less work.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`] and [`MemoryPool::release`]; then the block is as it was.
    ///
    /// # Safety
    /// If the block is a live one and moves, nobody uses its old address any more.
    pub unsafe fn resize(&self, block: NonNull<u8>, size: usize) -> Result<NonNull<u8>, Error> {
        let address = block.addr().get();
        if self.wears_armour(address) {
            return self.resize_armoured(self, address, size, Claim::POOL);
        }
        // SAFETY: the caller's promise.
        unsafe { self.resize_bare(block, Request { size, alignment: MIN_ALIGNMENT }) }
    }

    /// [`MemoryPool::resize`], of a block without an armour, with an alignment that it has from then on.
    ///
    /// # Safety
    /// As for [`MemoryPool::resize`].
    pub(super) unsafe fn resize_bare(
        &self,
        block: NonNull<u8>,
        request: Request,
    ) -> Result<NonNull<u8>, Error> {
        let Request { size, alignment } = request;
        let (done, old_size, new) = match self.resize_uncopied(block, request)? {
            Resized::Is(block) => return Ok(block),
            Resized::Copy { done, bytes, to } => (done, bytes, to),
        };
        let may_stay = size <= old_size && request.suits(block);
        let new = match new {
            Some(new) => new,
            None if may_stay => {
                // Too much smaller to stay, but no reason to ask anybody for memory.
                let mut inner = self.lock();
                let new = inner.alloc(request);
                self.warn_if_due(inner);
                match new {
                    Some(new) => new.address,
                    None => return Ok(self.shrink(block, size)),
                }
            }
            None => match self.alloc_aligned(alignment, size) {
                Ok(new) => new,
                Err(error) => return self.resize_at_last(block, request, error),
            },
        };
        // SAFETY: both blocks are live, so that they don't overlap, and have so many bytes; the old one is the
        // caller's to give up.
        unsafe { self.replace(block, new, done..old_size.min(size)) }
    }

    /// Makes a block without an armour hold more bytes without another one, if what was done for want of memory lets it;
    /// else says what is wanting.
    #[cold]
    pub(crate) fn resize_at_last(
        &self,
        block: NonNull<u8>,
        request: Request,
        error: Error,
    ) -> Result<NonNull<u8>, Error> {
        let resized = match self.resize_uncopied(block, request)? {
            Resized::Is(block) => block,
            Resized::Copy { done, bytes, to } => {
                let new = to.ok_or(error)?;
                // SAFETY: both blocks are live, and have so many bytes; the old one is the caller's to give up.
                unsafe { self.replace(block, new, done..bytes) }?
            }
        };
        // To allocate another one has failed, but not the request.
        self.lock().take_back_failure();
        Ok(resized)
    }

    /// Makes a block without an armour hold as many bytes as requested where it is, or else has it move with its pages,
    /// or else says what is to be copied.
    pub(crate) fn resize_uncopied(
        &self,
        block: NonNull<u8>,
        request: Request,
    ) -> Result<Resized, Error> {
        let (address, size) = (block.addr().get(), request.size);
        let mut inner = self.lock();
        let Some((heap, live)) = inner.live(address) else {
            return Err(self.refused(inner, address));
        };
        if size > MAX_SIZE {
            return Err(Error::SizeOverflow { count: 1, size });
        }
        let resized = if request.suits(block) && inner.resize(heap, live, size) {
            Some(Resized::Is(block))
        } else {
            inner.move_run(heap, live, request)
        };
        if resized.is_some() {
            self.warn_if_due(inner);
        }
        Ok(resized.unwrap_or(Resized::Copy { done: 0, bytes: live.size, to: None }))
    }

    /// Gives back what can be given back of a live block that stays where it is.
    fn shrink(&self, block: NonNull<u8>, size: usize) -> NonNull<u8> {
        let mut inner = self.lock();
        if let Some((heap, live)) = inner.live(block.addr().get()) {
            inner.shrink(heap, live, size);
        }
        block
    }

    /// [`replace`], of blocks of this pool.
    ///
    /// # Safety
    /// As for [`replace`].
    pub(super) unsafe fn replace(
        &self,
        block: NonNull<u8>,
        new: NonNull<u8>,
        bytes: Range<usize>,
    ) -> Result<NonNull<u8>, Error> {
        // SAFETY: the caller's promise.
        unsafe { replace(block, new, bytes, |block| self.release(block)) }
    }
}

/// Copies some bytes of a block to a new one, and releases it by `release`. It is the caller's until then, so it can be
/// copied without the lock.
///
/// # Safety
/// Both blocks are live and have these bytes, the old one is the caller's to give up, and nobody else knows the new
/// one.
pub(crate) unsafe fn replace(
    block: NonNull<u8>,
    new: NonNull<u8>,
    bytes: Range<usize>,
    release: impl Fn(NonNull<u8>) -> Result<(), Error>,
) -> Result<NonNull<u8>, Error> {
    // SAFETY: the caller's promise; two live blocks don't overlap.
    unsafe {
        new.add(bytes.start).copy_from_nonoverlapping(block.add(bytes.start), bytes.len());
    }
    // It fails if somebody has released the block meanwhile, against the caller's promise.
    release(block).map(|()| new).inspect_err(|_| _ = release(new))
}
