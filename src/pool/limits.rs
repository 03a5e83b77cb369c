//! Limits of a pool, and the callbacks that a program sets: who is told that memory runs low, and who may add some.

use super::MemoryPool;
use super::inner::Inner;
use core::ffi::c_void;
use spin::RelaxStrategy;

/// What a callback is given back; the C border needs three words.
pub type Context = [*mut c_void; 3];

/// Adds memory to a pool that has none left for a request; true if it did. A heap of `needed` bytes serves the
/// request for certain, wherever it lies. See [`MemoryPool::set_grow_callback`].
pub type GrowFn<R> = unsafe fn(pool: &MemoryPool<R>, needed: usize, context: Context) -> bool;

/// Is told that only so many free bytes are left. See [`MemoryPool::set_low_memory_callback`].
pub type LowMemoryFn<R> = unsafe fn(pool: &MemoryPool<R>, free_bytes: usize, context: Context);

/// A function and what it is given.
pub(super) struct Callback<F> {
    pub(super) function: F,
    pub(super) context: Context,
}

impl<F: Copy> Copy for Callback<F> {}
impl<F: Copy> Clone for Callback<F> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The limit of a pool that has none.
pub(super) const NO_LIMIT: usize = usize::MAX;

impl<R: RelaxStrategy> Inner<R> {
    fn set_limit(&mut self, bytes: Option<usize>) {
        self.limit = bytes.unwrap_or(NO_LIMIT);
    }

    fn set_low_memory(&mut self, threshold: usize, callback: Option<Callback<LowMemoryFn<R>>>) {
        self.low_memory = callback;
        self.low_memory_threshold = threshold;
        self.low_memory_armed = true;
    }

    pub(super) fn rearm_low_memory(&mut self) {
        if self.free_bytes() >= self.low_memory_threshold {
            self.low_memory_armed = true;
        }
    }

    /// What to call because free bytes have fallen below the threshold, which has entered. Where too many callbacks run
    /// it is due later.
    pub(super) fn low_memory_due(&mut self) -> Option<(Callback<LowMemoryFn<R>>, usize)> {
        let (callback, threshold) = (self.low_memory?, self.low_memory_threshold);
        if self.free_bytes() >= threshold || !self.low_memory_armed {
            return None;
        }
        self.empty_stashes();
        self.settle();
        let free = self.free_bytes();
        if free >= threshold || !self.enter_callback() {
            return None;
        }
        self.low_memory_armed = false;
        Some((callback, free))
    }
}

/// Limits and callbacks.
///
/// ```
/// use heapmaster::{Context, Error, MemoryPool};
///
/// unsafe fn grow(pool: &MemoryPool, needed: usize, _: Context) -> bool {
///     pool.add_system_heap(needed.max(1 << 20)).is_ok()
/// }
///
/// let pool = MemoryPool::new();
/// // SAFETY: the function can be called from any thread, and needs no context.
/// unsafe { pool.set_grow_callback(Some(grow), [std::ptr::null_mut(); 3]) };
/// pool.set_limit(Some(1 << 20));
/// let block = pool.alloc(100_000)?;
/// assert!(matches!(pool.alloc(1 << 20), Err(Error::LimitReached { .. })));
/// // SAFETY: the block is not used any more.
/// unsafe { pool.release(block) }?;
/// # Ok::<(), Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Lets spans and runs take at most so many bytes of the heaps; `None` lifts the limit. Blocks that are
    /// live stay so, also beyond the limit.
    pub fn set_limit(&self, bytes: Option<usize>) {
        self.lock().set_limit(bytes)
    }

    /// Sets what is called when free bytes have fallen below `threshold`, by an allocation, a resize or the removal of a
    /// heap, once until they have risen above it, and before an allocation fails for want of memory or at the limit. No
    /// lock is held while it runs. Of the callbacks of a pool four run at a time, in all threads together: for who would
    /// call a fifth, it is as if there was none, or this one comes later.
    ///
    /// # Safety
    /// From any thread that uses the pool, `function` may be called with `context`, until another one is set and
    /// the calls that were under way then have returned. It does not unwind: if it panics the program ends.
    pub unsafe fn set_low_memory_callback(
        &self,
        threshold: usize,
        function: Option<LowMemoryFn<R>>,
        context: Context,
    ) {
        let callback = function.map(|function| Callback { function, context });
        self.lock().set_low_memory(threshold, callback);
    }

    /// Sets what is called when no heap has room for a request: it may add a heap, and answer true. For one request it
    /// is asked eight times at the most, and not beyond the limit. No lock is held while it runs, and as many run at a time
    /// as [`MemoryPool::set_low_memory_callback`] says: who would call a fifth finds no memory.
    ///
    /// # Safety
    /// As for [`MemoryPool::set_low_memory_callback`].
    pub unsafe fn set_grow_callback(&self, function: Option<GrowFn<R>>, context: Context) {
        self.lock().grow = function.map(|function| Callback { function, context });
    }
}
