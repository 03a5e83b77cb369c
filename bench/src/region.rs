//! Memory for one allocator.

/// Bytes that an allocator gets where a suite doesn't say otherwise.
pub const SIZE: usize = 64 << 20;

const PAGE: usize = 4096;

/// Where in its page a region begins: at 16, as a large block of glibc's `malloc` does. A program that
/// hands a pool its memory rarely has it aligned to a page, and what that costs an allocator belongs in its
/// figures; but it is to cost the same each time.
const OFFSET: usize = 16;

/// Zeroed memory, not touched yet if it is large.
pub struct Region {
    memory: *mut [u8],
    skipped: usize,
    size: usize,
}

impl Region {
    pub fn new(size: usize) -> Self {
        let memory = Box::into_raw(vec![0; size + PAGE].into_boxed_slice());
        let skipped = OFFSET.wrapping_sub(memory.addr()) % PAGE;
        Self { memory, skipped, size }
    }

    pub fn start(&self) -> *mut u8 {
        self.memory.cast::<u8>().wrapping_add(self.skipped)
    }

    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` took the pointer from a box, and nothing else frees it.
        drop(unsafe { Box::from_raw(self.memory) });
    }
}
