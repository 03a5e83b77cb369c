//! Memory for one allocator.

/// Bytes that an allocator gets where a suite doesn't say otherwise.
pub const SIZE: usize = 64 << 20;

/// Where a region begins counts from a multiple of this: powers of two see it always at the same place, wherever the
/// system has room.
const ALIGNMENT: usize = SIZE;

/// In an odd page, at 16, as a large block of glibc's `malloc` does. A program that hands a pool its memory rarely
/// has it aligned to more, and what that costs an allocator belongs in its figures; but it is to cost the same each
/// time.
const OFFSET: usize = 5 * 4096 + 16;

/// Zeroed memory, not touched yet if it is large.
pub struct Region {
    memory: *mut [u8],
    skipped: usize,
    size: usize,
}

impl Region {
    pub fn new(size: usize) -> Self {
        let memory = Box::into_raw(vec![0; size + ALIGNMENT].into_boxed_slice());
        let skipped = OFFSET.wrapping_sub(memory.addr()) % ALIGNMENT;
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
