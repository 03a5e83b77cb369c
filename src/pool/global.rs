//! The pool as Rust's allocator.

use super::{MIN_ALIGNMENT, MemoryPool};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use spin::RelaxStrategy;

// SAFETY: blocks are disjoint, live until released, as large and as aligned as asked for; no method unwinds.
unsafe impl<R: RelaxStrategy> GlobalAlloc for MemoryPool<R> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.alloc_aligned(layout.align(), layout.size()).map_or(null_mut(), NonNull::as_ptr)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block is the caller's to give up.
        unsafe { self.hl_release(block) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= MIN_ALIGNMENT {
            return MemoryPool::alloc_zeroed(self, layout.size())
                .map_or(null_mut(), NonNull::as_ptr);
        }
        // SAFETY: the caller's promise about the layout.
        let block = unsafe { GlobalAlloc::alloc(self, layout) };
        if !block.is_null() {
            // SAFETY: the block has that many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if layout.align() <= MIN_ALIGNMENT {
            // SAFETY: the block is the caller's to move.
            return unsafe { self.hl_resize(block, new_size) };
        }
        let Ok(new) = self.alloc_aligned(layout.align(), new_size) else { return null_mut() };
        // SAFETY: both blocks are live and disjoint, and have that many bytes; the old one is the caller's
        // to give up.
        unsafe {
            new.as_ptr().copy_from_nonoverlapping(block, layout.size().min(new_size));
            self.hl_release(block);
        }
        new.as_ptr()
    }
}
