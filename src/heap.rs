//! Owned chunks of memory from the default pool.
//!
//! ```
//! use heapmaster::heap;
//!
//! let mut chunk = heap::Chunk::allocate(64)?;
//! chunk[0] = 42;
//! chunk[63] = 7;
//! assert_eq!((chunk[0], chunk[1], chunk[63]), (42, 0, 7));
//!
//! // By hand ...
//! // SAFETY: nothing points into the chunk any more.
//! unsafe { heap::deallocate(chunk) };
//!
//! // ... or when it goes out of scope.
//! let other = heap::Chunk::allocate(1 << 20)?;
//! assert_eq!(other.len(), 1 << 20);
//! drop(other);
//! # Ok::<(), heapmaster::Error>(())
//! ```

use crate::error::Error;
use crate::system::default_pool;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A number of bytes of the default pool, released when it is dropped.
///
/// The bytes are zero at first, and aligned to 16.
pub struct Chunk {
    block: NonNull<u8>,
    len: usize,
}

// SAFETY: a chunk owns its bytes, and the pool can be used from every thread.
unsafe impl Send for Chunk {}
// SAFETY: as above; a shared chunk is only read.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Allocates a chunk of `len` bytes.
    ///
    /// # Errors
    /// `OutOfMemory`, `SizeOverflow`.
    pub fn allocate(len: usize) -> Result<Chunk, Error> {
        Ok(Chunk { block: default_pool().alloc_zeroed(len)?, len })
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.block.as_ptr()
    }

    /// The first byte, to write to.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.block.as_ptr()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block is live, has `len` bytes, and they were zeroed.
        unsafe { core::slice::from_raw_parts(self.block.as_ptr(), self.len) }
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the chunk is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.block.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("address", &self.block).field("len", &self.len).finish()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the block is the chunk's own, and nobody uses it after the chunk.
        let released = unsafe { default_pool().release(self.block) };
        debug_assert!(released.is_ok());
    }
}

/// Releases a chunk now rather than when it goes out of scope.
///
/// # Safety
/// No pointer that was taken from the chunk is used any more.
pub unsafe fn deallocate(chunk: Chunk) {
    drop(chunk);
}
