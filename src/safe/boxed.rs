//! Owned values in a pool.

use super::Owned;
use crate::MemoryPool;
use crate::error::Error;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};

/// A value in a pool. When it is dropped, so is the value, and its block is released.
///
/// Made by [`MemoryPool::boxed`]. It can be sent to other threads if the value can, and shared if the value can.
///
/// ```
/// use heapmaster::{Pool, PoolBox};
///
/// let mut memory = Box::new_uninit_slice(4096);
/// let pool = Pool::new();
/// pool.add_heap(&mut memory)?;
/// let mut words = pool.boxed(vec!["buddy", "slab"])?;
/// words.push("span");
/// assert_eq!(words.len(), 3);
/// assert_eq!(PoolBox::into_inner(words).concat(), "buddyslabspan");
/// assert_eq!(pool.stats().live_blocks, 0);
/// # Ok::<(), heapmaster::Error>(())
/// ```
pub struct PoolBox<'pool, T> {
    /// Is dropped before the memory that it lies in.
    value: NonNull<T>,
    memory: Owned<'pool>,
}

// SAFETY: a box owns its value.
unsafe impl<T: Send> Send for PoolBox<'_, T> {}
// SAFETY: a shared box is a shared value.
unsafe impl<T: Sync> Sync for PoolBox<'_, T> {}

impl MemoryPool {
    /// Moves a value into the pool. Cost: that of [`MemoryPool::alloc_aligned`], and of the move.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`]; then the value is dropped.
    ///
    /// ```
    /// let number = heapmaster::default_pool().boxed(42)?;
    /// assert_eq!(*number + 1, 43);
    /// # Ok::<(), heapmaster::Error>(())
    /// ```
    pub fn boxed<T>(&self, value: T) -> Result<PoolBox<'_, T>, Error> {
        let address = self.alloc_aligned(align_of::<T>(), size_of::<T>())?;
        let memory = Owned { pool: self, address };
        let place = address.cast::<T>();
        // SAFETY: the block is large enough, aligned, and nobody else's.
        unsafe { place.write(value) };
        Ok(PoolBox { value: place, memory })
    }
}

impl<T> PoolBox<'_, T> {
    /// Moves the value out of the pool, and releases its block.
    pub fn into_inner(boxed: Self) -> T {
        let boxed = ManuallyDrop::new(boxed);
        // SAFETY: the box is not used again, nor dropped: its parts are taken out of it once, here.
        let (value, memory) = unsafe { (boxed.value.read(), ptr::read(&boxed.memory)) };
        drop(memory);
        value
    }
}

impl<T> Deref for PoolBox<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value is alive as long as its box.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for PoolBox<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the box is borrowed mutably.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for PoolBox<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the value is alive, and nobody uses it after its box.
        unsafe { self.value.drop_in_place() };
    }
}

impl<T> AsRef<T> for PoolBox<'_, T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T> AsMut<T> for PoolBox<'_, T> {
    fn as_mut(&mut self) -> &mut T {
        self
    }
}

/// Boxes are equal if their values are.
impl<T: PartialEq> PartialEq for PoolBox<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for PoolBox<'_, T> {}

impl<T: fmt::Display> fmt::Display for PoolBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for PoolBox<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
