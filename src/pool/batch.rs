//! Many blocks under one hold of the lock.

use super::MemoryPool;
use crate::error::Error;
use crate::slab::{ClassId, MAX_OBJECT, Refused};
use core::ptr::NonNull;
use spin::RelaxStrategy;

/// Batches, which cost less than as many calls.
///
/// ```
/// # let pool = heapmaster::MemoryPool::system();
/// let mut blocks = [std::ptr::null_mut(); 100];
/// let (filled, result) = pool.alloc_many(64, &mut blocks);
/// assert_eq!((filled, result), (100, Ok(())));
/// // SAFETY: the blocks are not used any more.
/// let (released, result) = unsafe { pool.release_many(&mut blocks) };
/// assert_eq!((released, result), (100, Ok(())));
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Fills `blocks` with blocks of at least `size` bytes. Says how many it got, and why there are no more.
    ///
    /// # Errors
    /// As [`MemoryPool::alloc`]; the blocks allocated before are in the first slots, and live.
    pub fn alloc_many(&self, size: usize, blocks: &mut [*mut u8]) -> (usize, Result<(), Error>) {
        let mut filled = 0;
        while filled < blocks.len() {
            filled += self.alloc_objects(size, &mut blocks[filled..]);
            // Where the fast path ends: a new span, a run, or the error.
            if let Some(slot) = blocks.get_mut(filled) {
                match self.alloc(size) {
                    Ok(block) => *slot = block.as_ptr(),
                    Err(error) => return (filled, Err(error)),
                }
                filled += 1;
            }
        }
        (filled, Ok(()))
    }

    /// Fills slots as long as the current span of the size's class has objects.
    fn alloc_objects(&self, size: usize, blocks: &mut [*mut u8]) -> usize {
        if size > MAX_OBJECT || self.is_hardened() {
            return 0;
        }
        let id = ClassId::holding(size);
        let mut inner = self.lock();
        let mut filled = 0;
        while let Some(slot) = blocks.get_mut(filled)
            && let Some(object) = inner.alloc_object(id)
        {
            *slot = object.as_ptr();
            filled += 1;
        }
        filled
    }

    /// Releases the blocks in `blocks` and sets their slots to null, up to the first that is refused; null
    /// slots are skipped. Says how many slots it is through with, and why it stopped.
    ///
    /// # Errors
    /// As [`MemoryPool::release`], of the slot with the index that is returned.
    ///
    /// # Safety
    /// As for [`MemoryPool::release`], for each of them.
    pub unsafe fn release_many(&self, blocks: &mut [*mut u8]) -> (usize, Result<(), Error>) {
        let mut inner = (!self.has_armours()).then(|| self.lock());
        for (index, slot) in blocks.iter_mut().enumerate() {
            let Some(block) = NonNull::new(*slot) else { continue };
            let address = block.addr().get();
            let released = match &mut inner {
                Some(inner) => inner.release(address).map_err(|Refused| inner.misuse(address)),
                None => self.release_other(block),
            };
            if let Err(error) = released {
                return (index, Err(error));
            }
            *slot = core::ptr::null_mut();
        }
        (blocks.len(), Ok(()))
    }
}
