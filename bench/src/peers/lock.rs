//! What makes a [`Peer`] of an allocator that needs exclusive access: a promise or a lock.

use std::cell::UnsafeCell;

use spin::Mutex;

use super::Peer;

/// An allocator without a lock of its own, over one region.
pub trait Unlocked: Sized {
    /// `None` when the region is too small.
    ///
    /// # Safety
    /// The bytes belong to the allocator from then on, and outlive it.
    unsafe fn over(memory: *mut u8, size: usize) -> Option<Self>;

    /// As [`Peer::alloc`].
    fn alloc(&mut self, size: usize) -> *mut u8;

    /// As [`Peer::release`].
    ///
    /// # Safety
    /// `block` is a live block of this allocator, allocated with this `size`.
    unsafe fn release(&mut self, block: *mut u8, size: usize);

    /// As [`Peer::outside`].
    fn outside(&self) -> usize {
        size_of::<Self>()
    }
}

/// For one thread.
pub struct Single<A>(UnsafeCell<A>);

impl<A> Single<A> {
    pub fn new(allocator: A) -> Self {
        Self(UnsafeCell::new(allocator))
    }
}

impl<A: Unlocked> Peer for Single<A> {
    fn alloc(&self, size: usize) -> *mut u8 {
        // SAFETY: the cell keeps this type to one thread, and no allocator calls itself.
        unsafe { (*self.0.get()).alloc(size) }
    }

    unsafe fn release(&self, block: *mut u8, size: usize) {
        // SAFETY: as in `alloc`, and the caller's promise.
        unsafe { (*self.0.get()).release(block, size) }
    }

    fn outside(&self) -> usize {
        // SAFETY: as in `alloc`.
        unsafe { (*self.0.get()).outside() }
    }
}

/// For all threads, behind a spin lock.
pub struct Locked<A>(Mutex<A>);

impl<A> Locked<A> {
    pub fn new(allocator: A) -> Self {
        Self(Mutex::new(allocator))
    }
}

impl<A: Unlocked> Peer for Locked<A> {
    fn alloc(&self, size: usize) -> *mut u8 {
        self.0.lock().alloc(size)
    }

    unsafe fn release(&self, block: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.lock().release(block, size) }
    }

    fn outside(&self) -> usize {
        self.0.lock().outside() + size_of::<Self>() - size_of::<A>()
    }
}
