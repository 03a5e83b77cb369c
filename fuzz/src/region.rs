//! Memory to be handed in as a heap.

use crate::are_all;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::ptr::NonNull;

/// Memory in front of which some bytes lie that nobody may change; what lies behind it the sanitizer watches.
pub struct Region {
    /// The bytes in front, then the region.
    memory: NonNull<u8>,
    skipped: usize,
    size: usize,
}

/// What the bytes in front are.
const FILL: u8 = 0xA5;

/// The same bytes in the input put a region at the same place in a page, each time.
const PAGE: usize = 4096;

impl Region {
    /// `size` bytes that begin `skipped` bytes behind the start of a page.
    pub fn new(skipped: u16, size: usize) -> Region {
        let skipped = usize::from(skipped) % PAGE;
        let layout = Self::layout(skipped, size);
        // SAFETY: the layout is not empty.
        let Some(memory) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the memory is new and has these bytes.
        unsafe { memory.write_bytes(FILL, skipped) };
        Region { memory, skipped, size }
    }

    fn layout(skipped: usize, size: usize) -> Layout {
        Layout::from_size_align(skipped + size.max(1), PAGE).expect("regions are small")
    }

    pub fn pointer(&self) -> *mut c_void {
        // SAFETY: the region begins so many bytes into the memory.
        unsafe { self.memory.add(self.skipped) }.as_ptr().cast()
    }

    pub fn start(&self) -> usize {
        self.pointer().addr()
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.start()) < self.size
    }

    /// The address so many bytes into the region, or as many less as it has.
    pub fn address(&self, offset: usize) -> usize {
        self.start() + offset % self.size.max(1)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the memory has these bytes, and `new` wrote them.
        let front = unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.skipped) };
        let kept = are_all(front, FILL);
        // SAFETY: `new` allocated it with this layout, and no heap is there any more.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.skipped, self.size)) };
        assert!(kept, "bytes in front of a heap were written to");
    }
}
