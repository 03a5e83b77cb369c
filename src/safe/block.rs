//! Owned bytes of a pool.

use super::Owned;
use crate::MemoryPool;
use crate::error::Error;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::slice;

/// Bytes of a pool, released when they are dropped. They are aligned to
/// [`MIN_ALIGNMENT`](crate::MIN_ALIGNMENT), and never uninitialised: zero unless something was written.
///
/// Made by [`MemoryPool::block`] and [`MemoryPool::block_of`]. It can be sent to and shared with other threads.
///
/// ```
/// use heapmaster::{Block, Error, Pool};
///
/// fn greeting<'pool>(pool: &'pool Pool<'_>, name: &str) -> Result<Block<'pool>, Error> {
///     let mut text = pool.block_of(b"Hello, ")?;
///     let start = text.len();
///     text.resize(start + name.len())?;
///     text[start..].copy_from_slice(name.as_bytes());
///     Ok(text)
/// }
///
/// let mut memory = Box::new_uninit_slice(4096);
/// let pool = Pool::new();
/// pool.add_heap(&mut memory)?;
/// assert_eq!(&*greeting(&pool, "world")?, b"Hello, world");
/// # Ok::<(), Error>(())
/// ```
pub struct Block<'pool> {
    owned: Owned<'pool>,
    /// Bytes from the start of the block that are initialised, and part of it as the owner sees it.
    len: usize,
}

impl MemoryPool {
    /// Allocates a block of `len` bytes, all of them zero. Cost: that of [`MemoryPool::alloc_zeroed`].
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`].
    ///
    /// ```
    /// let mut block = heapmaster::default_pool().block(64)?;
    /// assert_eq!(*block, [0; 64]);
    /// # Ok::<(), heapmaster::Error>(())
    /// ```
    pub fn block(&self, len: usize) -> Result<Block<'_>, Error> {
        let address = self.alloc_zeroed(len)?;
        Ok(Block { owned: Owned { pool: self, address }, len })
    }

    /// Allocates a block that holds a copy of `bytes`. Cost: that of [`MemoryPool::alloc`], and a step a byte.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`].
    pub fn block_of(&self, bytes: &[u8]) -> Result<Block<'_>, Error> {
        let address = self.alloc(bytes.len())?;
        // SAFETY: the block has that many bytes, and nobody else knows it.
        unsafe { address.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(Block { owned: Owned { pool: self, address }, len: bytes.len() })
    }
}

impl Block<'_> {
    /// Makes the block `len` bytes long, where it is if that can be, else elsewhere. New bytes are zero. Cost: that
    /// of [`MemoryPool::resize`], and a step a new byte.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`]; then the block is as it was.
    ///
    /// ```
    /// use heapmaster::{Error, Pool};
    ///
    /// let mut memory = Box::new_uninit_slice(64 * 1024);
    /// let pool = Pool::new();
    /// pool.add_heap(&mut memory)?;
    /// let mut block = pool.block_of(&[1, 2, 3])?;
    /// block.resize(5)?;
    /// assert_eq!(*block, [1, 2, 3, 0, 0]);
    /// assert_eq!(block.resize(1 << 20), Err(Error::OutOfMemory { size: 1 << 20 }));
    /// block.resize(2)?;
    /// assert_eq!(*block, [1, 2]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn resize(&mut self, len: usize) -> Result<(), Error> {
        // SAFETY: the block is this one's own, and its old address forgotten.
        self.owned.address = unsafe { self.owned.pool.resize(self.owned.address, len) }?;
        if let Some(new) = len.checked_sub(self.len) {
            // SAFETY: the block has `len` bytes. What lay behind the old ones was never the owner's.
            unsafe { self.owned.address.add(self.len).write_bytes(0, new) };
        }
        self.len = len;
        Ok(())
    }
}

impl Deref for Block<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block is live, and its first `len` bytes are initialised.
        unsafe { slice::from_raw_parts(self.owned.address.as_ptr(), self.len) }
    }
}

impl DerefMut for Block<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the block is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.owned.address.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Block<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Block<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Blocks are equal if their bytes are.
impl PartialEq for Block<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Block<'_> {}

impl fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.owned.address;
        f.debug_struct("Block").field("address", &address).field("len", &self.len).finish()
    }
}
