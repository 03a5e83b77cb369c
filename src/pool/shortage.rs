//! What a pool does when no heap has room: it asks its source, and calls the callbacks.

use super::heap::{Fresh, Request};
use super::inner::Inner;
use super::limits::Callback;
use super::lock::Guard;
use super::others::without_unwinding;
use super::{LowMemoryFn, MAX_SIZE, MemoryPool};
use crate::error::Error;
use spin::RelaxStrategy;

/// Callbacks that may run at once, in different threads or one in another: one that runs out of memory itself
/// ends there, and not at the end of the stack.
const MOST_CALLBACKS: u32 = 4;

/// How often the grow callback is asked for one request: one that claims success but doesn't help would be asked
/// for ever.
const MOST_GROWTHS: u32 = 8;

/// What was tried for a request.
#[derive(Default)]
struct Tried {
    low_memory: bool,
    source: bool,
    growths: u32,
}

/// Bytes of a heap that serves a request for certain: twice the aligned block that holds it, for the heap may
/// lie anywhere, and metadata.
fn heap_for(request: Request) -> usize {
    let block = request.size.max(request.alignment).checked_next_power_of_two().unwrap_or(MAX_SIZE);
    block.saturating_mul(2).saturating_add(block / 8).saturating_add(4096)
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Allocates from wherever there is memory, and asks for some where there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_slow(&self, request: Request) -> Result<Fresh, Error> {
        let Request { size, .. } = request;
        if size > MAX_SIZE {
            return Err(Error::SizeOverflow { count: 1, size });
        }
        let mut tried = Tried::default();
        loop {
            let mut inner = self.lock();
            if let Some(block) = inner.alloc_also_stashed(request) {
                self.warn_if_due(inner);
                return Ok(block);
            }
            let error = inner.refusal(request);
            let generation = inner.generation;
            drop(inner);
            if !self.remedy(request, error, generation, &mut tried) {
                self.lock().count_failure();
                return Err(error);
            }
        }
    }

    /// Does the next thing that may help a request; false if nothing is left to do.
    fn remedy(&self, request: Request, error: Error, generation: u64, tried: &mut Tried) -> bool {
        if !core::mem::replace(&mut tried.low_memory, true) {
            let mut inner = self.lock();
            let callback = inner.low_memory.filter(|_| inner.enter_callback());
            let due = callback.map(|callback| (callback, inner.free_bytes()));
            drop(inner);
            if self.warn(due) {
                return true;
            }
        }
        if let Error::LimitReached { .. } = error {
            return false;
        }
        if !core::mem::replace(&mut tried.source, true)
            && self.grow_from_source(request, generation)
        {
            return true;
        }
        tried.growths += 1;
        let mut inner = self.lock();
        let grow = inner.grow.filter(|_| tried.growths <= MOST_GROWTHS && inner.enter_callback());
        drop(inner);
        grow.is_some_and(|Callback { function, context }| {
            // SAFETY: whoever set the callback promised that it may be called.
            let has_grown =
                without_unwinding(|| unsafe { function(self, heap_for(request), context) });
            self.leave_callback();
            has_grown
        })
    }

    /// Asks the source for a heap, unless another thread has got one since the pool was of that generation.
    fn grow_from_source(&self, request: Request, generation: u64) -> bool {
        let Some(source) = self.source else { return false };
        let _growth = self.growth.lock();
        let grown_meanwhile = self.lock().generation != generation;
        grown_meanwhile || source(self, request.size, request.alignment)
    }

    /// Calls the low-memory callback if it is due, once the lock is released.
    pub(super) fn warn_if_due(&self, mut inner: Guard<'_, Inner<R>, R>) {
        let due = inner.low_memory_due();
        drop(inner);
        self.warn(due);
    }

    /// Calls the low-memory callback if it is due, and has entered; says whether it was called.
    fn warn(&self, due: Option<(Callback<LowMemoryFn<R>>, usize)>) -> bool {
        let Some((Callback { function, context }, free_bytes)) = due else { return false };
        // SAFETY: whoever set the callback promised that it may be called.
        without_unwinding(|| unsafe { function(self, free_bytes, context) });
        self.leave_callback();
        true
    }

    /// A callback that had entered has run.
    fn leave_callback(&self) {
        let mut inner = self.lock();
        // Not below 0 in the child, if the callback has forked.
        inner.callbacks = inner.callbacks.saturating_sub(1);
    }
}

impl<R: RelaxStrategy> Inner<R> {
    /// Counts one more callback that runs, unless too many do already.
    pub(super) fn enter_callback(&mut self) -> bool {
        let may = self.callbacks < MOST_CALLBACKS;
        self.callbacks += u32::from(may);
        may
    }
}
