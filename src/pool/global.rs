//! Blocks by their [`Layout`], and the pool as Rust's allocator.

use super::heap::Request;
use super::{MIN_ALIGNMENT, MemoryPool};
use crate::error::Error;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use spin::RelaxStrategy;

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Allocates a block of zeros.
    pub(super) fn alloc_layout_zeroed(&self, layout: Layout) -> Result<NonNull<u8>, Error> {
        if layout.align() <= MIN_ALIGNMENT {
            return self.alloc_zeroed(layout.size());
        }
        let block = self.alloc_aligned(layout.align(), layout.size())?;
        // SAFETY: the block has that many bytes.
        unsafe { block.write_bytes(0, layout.size()) };
        Ok(block)
    }

    /// Makes a block of one layout one of another, where it is if that can be, else elsewhere with its contents.
    ///
    /// # Safety
    /// As for [`MemoryPool::resize`], and the block was allocated with the old layout.
    pub(super) unsafe fn fit(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<u8>, Error> {
        let (size, alignment) = (new.size(), new.align());
        if alignment <= MIN_ALIGNMENT {
            // SAFETY: the caller's promise.
            return unsafe { self.resize(block, size) };
        }
        if !self.wears_armour(block.addr().get()) {
            // SAFETY: the caller's promise.
            return unsafe { self.resize_bare(block, Request { size, alignment }) };
        }
        match self.alloc_aligned(alignment, size) {
            // SAFETY: the old block is the caller's to give up, and each has as many bytes as its layout.
            Ok(other) => unsafe { self.replace(block, other, 0..old.size().min(size)) },
            // It fits as it is.
            Err(_) if size <= old.size() && alignment <= old.align() => Ok(block),
            Err(error) => Err(error),
        }
    }
}

// SAFETY: blocks are disjoint, live until released, as large and as aligned as asked for; no method unwinds (see
// `without_unwinding`).
unsafe impl<R: RelaxStrategy> GlobalAlloc for MemoryPool<R> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.alloc_aligned(layout.align(), layout.size()).map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block is the caller's to give up.
        let _ = unsafe { self.hl_release(block) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.alloc_layout_zeroed(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(block) = NonNull::new(block) else { return null_mut() };
        // SAFETY: the caller promises that the size, rounded up to the alignment, is none that overflows.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the block has that layout, and is the caller's to move.
        unsafe { self.fit(block, layout, new) }.map_or(null_mut(), NonNull::as_ptr)
    }
}
