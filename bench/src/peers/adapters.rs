//! Each allocator made over one region and fitted to [`Peer`].
//!
//! All but `heapmaster-st` are safe to share between threads: those without a lock of their own get a spin
//! lock.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use dlmalloc::Dlmalloc;
use heapmaster::MemoryPool;
use spin::Mutex;

use super::Peer;

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

pub unsafe fn heapmaster(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    // SAFETY: the caller's promise.
    unsafe { with_heap(MemoryPool::new(), memory, size) }
}

pub unsafe fn heapmaster_st(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    // SAFETY: the caller's promise; no suite gives a peer to another thread.
    unsafe { with_heap(MemoryPool::single_threaded(), memory, size) }
}

/// # Safety
/// As for `add_heap`.
unsafe fn with_heap(pool: MemoryPool, memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    // SAFETY: the caller's promise.
    unsafe { pool.add_heap(memory, size) }.ok()?;
    Some(Box::new(pool))
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

pub unsafe fn talc(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    let talc = talc::TalcLock::<Mutex<()>, _>::new(talc::source::Manual);
    // SAFETY: the caller's promise.
    unsafe { talc.lock().claim(memory, size) }?;
    Some(Box::new(Global(talc)))
}

pub unsafe fn buddy_system_allocator(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    let heap = buddy_system_allocator::LockedHeap::<32>::new();
    // SAFETY: the caller's promise.
    unsafe { heap.lock().init(memory.addr(), size) };
    Some(Box::new(Global(heap)))
}

pub unsafe fn linked_list_allocator(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    // SAFETY: the caller's promise.
    let heap = unsafe { linked_list_allocator::LockedHeap::new(memory, size) };
    Some(Box::new(Global(heap)))
}

/// As many lists for each power of two as in rlsf's own global allocator, and blocks of up to 128 MiB.
type Tlsf = rlsf::Tlsf<'static, u32, u64, 22, 64>;

impl Peer for Mutex<Tlsf> {
    fn alloc(&self, size: usize) -> *mut u8 {
        self.lock().allocate(layout(size)).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn release(&self, block: *mut u8, _size: usize) {
        // SAFETY: the caller's promise; a live block is not null.
        unsafe { self.lock().deallocate(NonNull::new_unchecked(block), ALIGNMENT) }
    }
}

pub unsafe fn rlsf(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    let mut tlsf = Tlsf::new();
    let block = NonNull::slice_from_raw_parts(NonNull::new(memory)?, size);
    // SAFETY: the caller's promise.
    unsafe { tlsf.insert_free_block_ptr(block) }?;
    Some(Box::new(Mutex::new(tlsf)))
}

/// The system as dlmalloc sees it: it has one region, gives it whole to the first request, and takes
/// nothing back.
struct OneRegion(Cell<Option<(*mut u8, usize)>>);

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

impl Peer for Mutex<Dlmalloc<OneRegion>> {
    fn alloc(&self, size: usize) -> *mut u8 {
        // SAFETY: the alignment is a power of two.
        unsafe { self.lock().malloc(size, ALIGNMENT) }
    }

    unsafe fn release(&self, block: *mut u8, size: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.lock().free(block, size, ALIGNMENT) }
    }
}

pub unsafe fn dlmalloc(memory: *mut u8, size: usize) -> Option<Box<dyn Peer>> {
    let mut dlmalloc = Dlmalloc::new_with_allocator(OneRegion(Cell::new(Some((memory, size)))));
    // It rounds its one request to the system up to this, and the smallest region must hold that.
    dlmalloc.set_granularity(1024).then(|| Box::new(Mutex::new(dlmalloc)) as Box<dyn Peer>)
}

/// Gives the start of the region every time, so that the driver has something to write to.
struct Empty(*mut u8);

impl Peer for Empty {
    fn alloc(&self, _size: usize) -> *mut u8 {
        self.0
    }

    unsafe fn release(&self, _block: *mut u8, _size: usize) {}
}

pub unsafe fn empty(memory: *mut u8, _size: usize) -> Option<Box<dyn Peer>> {
    Some(Box::new(Empty(memory)))
}
