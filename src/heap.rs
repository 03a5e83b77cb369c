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
use crate::safe::Block;
use crate::system::default_pool;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A number of bytes of the default pool, released when it is dropped.
///
/// The bytes are zero at first, and aligned to 16. It can be sent to and shared with other threads. Chunks are equal if
/// their bytes are.
#[derive(PartialEq, Eq)]
pub struct Chunk {
    block: Block<'static>,
}

impl Chunk {
    /// Allocates a chunk of `len` bytes. Cost: that of
    /// [`MemoryPool::alloc_zeroed`](crate::MemoryPoolWith::alloc_zeroed).
    ///
    /// # Errors
    /// `OutOfMemory`, `SizeOverflow`.
    pub fn allocate(len: usize) -> Result<Chunk, Error> {
        Ok(Chunk { block: default_pool().block(len)? })
    }

    /// Makes the chunk `len` bytes long, as [`Block::resize`] does.
    ///
    /// # Errors
    /// As [`Chunk::allocate`]; then the chunk is as it was.
    ///
    /// ```
    /// let mut chunk = heapmaster::heap::Chunk::allocate(2)?;
    /// chunk[1] = 7;
    /// chunk.resize(4)?;
    /// assert_eq!(*chunk, [0, 7, 0, 0]);
    /// # Ok::<(), heapmaster::Error>(())
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        self.block.resize(len)
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.block.as_ptr()
    }

    /// The first byte, to write to.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.block.as_mut_ptr()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.block
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Chunk {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("address", &self.as_ptr()).field("len", &self.len()).finish()
    }
}

/// Releases a chunk now rather than when it goes out of scope.
///
/// # Safety
/// No pointer that was taken from the chunk is used any more.
pub unsafe fn deallocate(chunk: Chunk) {
    drop(chunk);
}
