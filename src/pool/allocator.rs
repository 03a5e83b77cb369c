//! The pool as the allocator of collections, by the trait that std has on nightly and the crate `allocator-api2`
//! on stable Rust. Layouts of no bytes take nothing from the pool.

use super::MemoryPool;
use crate::error::Error;
use allocator_api2::alloc::{AllocError, Allocator};
use core::alloc::Layout;
use core::ptr::{NonNull, without_provenance_mut};
use spin::RelaxStrategy;

/// What a layout of no bytes is served with.
fn no_bytes(layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let address = NonNull::new(without_provenance_mut(layout.align())).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(address, 0))
}

fn bytes(block: Result<NonNull<u8>, Error>, size: usize) -> Result<NonNull<[u8]>, AllocError> {
    block.map(|block| NonNull::slice_from_raw_parts(block, size)).map_err(|_| AllocError)
}

// SAFETY: blocks are disjoint, as large and as aligned as asked for, and stay live until they are released or the
// pool is dropped, wherever it is moved.
unsafe impl<R: RelaxStrategy> Allocator for MemoryPool<R> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match layout.size() {
            0 => no_bytes(layout),
            size => bytes(self.alloc_aligned(layout.align(), size), size),
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match layout.size() {
            0 => no_bytes(layout),
            size => bytes(self.alloc_layout_zeroed(layout), size),
        }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the block is the caller's to give up.
            let released = unsafe { self.release(block) };
            debug_assert!(released.is_ok());
        }
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: the caller's promise.
        bytes(unsafe { self.fit(block, old, new) }, new.size())
    }

    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let block = unsafe { self.grow(block, old, new) }?;
        // SAFETY: the block has as many bytes as the new layout, no fewer than the old.
        unsafe { block.cast::<u8>().add(old.size()).write_bytes(0, new.size() - old.size()) };
        Ok(block)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return no_bytes(new);
        }
        // SAFETY: the caller's promise.
        bytes(unsafe { self.fit(block, old, new) }, new.size())
    }
}
