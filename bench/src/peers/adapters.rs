//! Each allocator made over one region and fitted to [`Peer`].

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use buddy_alloc::buddy_alloc::{BuddyAlloc, BuddyAllocParam};
use dlmalloc::Dlmalloc;
use heapmaster::MemoryPool;
use spin::Mutex;

use super::lock::{Locked, Single, Unlocked};
use super::{Peer, SharedPeer};

/// What HeapMaster gives every block, asked for from all.
const ALIGNMENT: usize = 16;

impl Peer for MemoryPool {
    fn alloc(&self, size: usize) -> *mut u8 {
        self.hl_alloc(size)
    }

    unsafe fn release(&self, block: *mut u8, _size: usize) {
        // SAFETY: the caller's promise.
        let _ = unsafe { self.hl_release(block) };
    }

    fn largest_free_share(&self) -> Option<f64> {
        let stats = self.stats();
        Some(stats.largest_free_block as f64 / stats.free_bytes as f64)
    }
}

pub unsafe fn heapmaster(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>> {
    // SAFETY: the caller's promise.
    Some(Box::new(unsafe { with_heap(MemoryPool::new(), memory, size) }?))
}

pub unsafe fn heapmaster_st(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    // SAFETY: the caller's promise; only a `SharedPeer` can get to another thread.
    Some(Box::new(unsafe { with_heap(MemoryPool::single_threaded(), memory, size) }?))
}

/// # Safety
/// As for `add_heap`.
unsafe fn with_heap(pool: MemoryPool, memory: *mut u8, size: usize) -> Option<MemoryPool> {
    // SAFETY: the caller's promise.
    unsafe { pool.add_heap(memory, size) }.ok()?;
    Some(pool)
}

/// An allocator with Rust's own interface.
struct Global<A>(A);

fn layout(size: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and no workload asks for a size near `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, ALIGNMENT) }
}

impl<A: GlobalAlloc> Peer for Global<A> {
    fn alloc(&self, size: usize) -> *mut u8 {
        // SAFETY: no workload asks for 0 bytes.
        unsafe { self.0.alloc(layout(size)) }
    }

    unsafe fn release(&self, block: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(block, layout(size)) }
    }
}

pub unsafe fn talc(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>> {
    let talc = talc::TalcLock::<Mutex<()>, _>::new(talc::source::Manual);
    // SAFETY: the caller's promise.
    unsafe { talc.lock().claim(memory, size) }?;
    Some(Box::new(Global(talc)))
}

pub unsafe fn buddy_system_allocator(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>> {
    let heap = buddy_system_allocator::LockedHeap::<32>::new();
    // SAFETY: the caller's promise.
    unsafe { heap.lock().init(memory.addr(), size) };
    Some(Box::new(Global(heap)))
}

pub unsafe fn linked_list_allocator(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>> {
    // SAFETY: the caller's promise.
    let heap = unsafe { linked_list_allocator::LockedHeap::new(memory, size) };
    Some(Box::new(Global(heap)))
}

/// As many lists for each power of two as in rlsf's own global allocator, and blocks of up to 128 MiB.
pub type Tlsf = rlsf::Tlsf<'static, u32, u64, 22, 64>;

impl Unlocked for Tlsf {
    unsafe fn over(memory: *mut u8, size: usize) -> Option<Self> {
        let mut tlsf = Self::new();
        let block = NonNull::slice_from_raw_parts(NonNull::new(memory)?, size);
        // SAFETY: the caller's promise.
        unsafe { tlsf.insert_free_block_ptr(block) }?;
        Some(tlsf)
    }

    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.allocate(layout(size)).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn release(&mut self, block: *mut u8, _size: usize) {
        // SAFETY: the caller's promise; a live block is not null.
        unsafe { self.deallocate(NonNull::new_unchecked(block), ALIGNMENT) }
    }
}

/// The system as dlmalloc sees it: it has one region, gives it whole to the first request, and takes
/// nothing back.
pub struct OneRegion(Cell<Option<(*mut u8, usize)>>);

// SAFETY: the memory it points to belongs to this value alone.
unsafe impl Send for OneRegion {}

/// dlmalloc's mark of memory that it must not try to give back.
const EXTERN: u32 = 1;

// SAFETY: `alloc` gives memory that nobody else has, and at least as much of it as is asked for.
unsafe impl dlmalloc::Allocator for OneRegion {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        match self.0.get() {
            Some((memory, available)) if size <= available => {
                self.0.set(None);
                (memory, available, EXTERN)
            }
            _ => (ptr::null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}

impl Unlocked for Dlmalloc<OneRegion> {
    unsafe fn over(memory: *mut u8, size: usize) -> Option<Self> {
        let mut dlmalloc = Self::new_with_allocator(OneRegion(Cell::new(Some((memory, size)))));
        // It rounds its one request to the system up to this, and the smallest region must hold that.
        dlmalloc.set_granularity(1024).then_some(dlmalloc)
    }

    fn alloc(&mut self, size: usize) -> *mut u8 {
        // SAFETY: the alignment is a power of two.
        unsafe { self.malloc(size, ALIGNMENT) }
    }

    unsafe fn release(&mut self, block: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.free(block, size, ALIGNMENT) }
    }
}

/// Of the crate buddy-alloc.
pub struct Buddy(BuddyAlloc);

// SAFETY: what it points to belongs to this value alone.
unsafe impl Send for Buddy {}

impl Unlocked for Buddy {
    unsafe fn over(memory: *mut u8, size: usize) -> Option<Self> {
        // Its smallest block; it aligns a block to no more than this.
        let param = BuddyAllocParam::new(memory, size, ALIGNMENT);
        // SAFETY: the caller's promise.
        Some(Self(unsafe { BuddyAlloc::new(param) }))
    }

    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.0.malloc(size)
    }

    unsafe fn release(&mut self, block: *mut u8, _size: usize) {
        self.0.free(block);
    }
}

/// Of the crate offset-allocator, which hands out offsets and wants a handle back. A program that uses it
/// keeps the handles with what it allocates; here they are in an array, by their block's unit.
pub struct Offsets {
    memory: *mut u8,
    allocator: offset_allocator::Allocator,
    handles: Box<[MaybeUninit<offset_allocator::Allocation>]>,
}

// SAFETY: what it points to belongs to this value alone.
unsafe impl Send for Offsets {}

impl Offsets {
    /// Bytes of what it counts in, so that every offset is aligned.
    const UNIT: usize = ALIGNMENT;

    /// Bytes of the region for each block or hole that it can keep books of.
    const BYTES_PER_NODE: usize = 64;

    /// Bytes of a node and of its place in the list of unused ones.
    const NODE: usize = 28 + 4;
}

impl Unlocked for Offsets {
    unsafe fn over(memory: *mut u8, size: usize) -> Option<Self> {
        let units = size / Self::UNIT;
        let nodes = size / Self::BYTES_PER_NODE;
        Some(Self {
            memory,
            allocator: offset_allocator::Allocator::with_max_allocs(
                units.try_into().ok()?,
                nodes.try_into().ok()?,
            ),
            handles: Box::new_uninit_slice(units),
        })
    }

    fn alloc(&mut self, size: usize) -> *mut u8 {
        let units = size.div_ceil(Self::UNIT) as u32;
        let Some(handle) = self.allocator.allocate(units) else { return ptr::null_mut() };
        let unit = handle.offset as usize;
        self.handles[unit].write(handle);
        self.memory.wrapping_add(unit * Self::UNIT)
    }

    unsafe fn release(&mut self, block: *mut u8, _size: usize) {
        let unit = (block.addr() - self.memory.addr()) / Self::UNIT;
        // SAFETY: the block is live, by the caller's promise, so `alloc` has written its handle.
        self.allocator.free(unsafe { self.handles[unit].assume_init() });
    }

    fn outside(&self) -> usize {
        let nodes = self.handles.len() * Self::UNIT / Self::BYTES_PER_NODE;
        size_of::<Self>() + nodes * Self::NODE + size_of_val(&*self.handles)
    }
}

pub unsafe fn single<A>(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>>
where
    A: Unlocked + 'static,
{
    // SAFETY: the caller's promise.
    Some(Box::new(Single::new(unsafe { A::over(memory, size) }?)))
}

pub unsafe fn locked<A>(memory: *mut u8, size: usize) -> Option<Box<SharedPeer>>
where
    A: Unlocked + Send + 'static,
{
    // SAFETY: the caller's promise.
    Some(Box::new(Locked::new(unsafe { A::over(memory, size) }?)))
}

/// Gives the start of the region every time, so that the driver has something to write to.
struct Empty(*mut u8);

// SAFETY: it is a number to the allocator, which never reads or writes there.
unsafe impl Send for Empty {}
// SAFETY: as for `Send`.
unsafe impl Sync for Empty {}

impl Peer for Empty {
    fn alloc(&self, _size: usize) -> *mut u8 {
        self.0
    }

    unsafe fn release(&self, _block: *mut u8, _size: usize) {}
}

pub unsafe fn empty(memory: *mut u8, _size: usize) -> Option<Box<SharedPeer>> {
    Some(Box::new(Empty(memory)))
}
