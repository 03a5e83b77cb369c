//! Heaps of every shape: tiny ones, at odd addresses, many at once, added by callbacks, from the system, inside a
//! block of another pool, and ones that can't be. Whatever becomes of a heap, blocks keep their contents,
//! callbacks are told the truth, and the books are sound after every call. The pool may be hardened, and every
//! heap is one that the armours have to fit into.

#![no_main]

use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{
    Alignment, Beside, Blocks, NewHeap, Region, Size, check, expect_error, expect_live, new_pool,
    reason, stats, walk,
};
use libfuzzer_sys::fuzz_target;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};

#[derive(Debug, Arbitrary)]
struct Script {
    hardened: bool,
    heaps: [NewHeap; 2],
    grow: Vec<Growth>,
    warn: Vec<Warning>,
    calls: Vec<Call>,
}

#[derive(Debug, Arbitrary)]
enum Call {
    Alloc(Size),
    AllocAligned(Alignment, Size),
    Resize(u8, Size),
    Release(u8),
    ReleaseFrom(u8),
    /// Of a hardened pool: writes beside a block, whose release is refused, and takes back what was written.
    WriteBeside(u8, Beside),
    Add(NewHeap),
    AddTiny {
        skipped: u8,
        size: u8,
        eighths: u8,
    },
    AddSystemHeap(Size),
    AddInBlock(u8),
    AddImpossible {
        from_end: u16,
        beyond: Size,
    },
    Remove(u8),
    Drain(u8),
    SetLimit(Size),
    SetThreshold(Size),
    Reset,
}

/// What the grow callback does.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Growth {
    /// Adds a heap of as many bytes as it is told that are needed.
    AddNeeded(NewHeap),
    Add(NewHeap),
    Refuse,
    Lie,
    /// Allocates itself.
    Alloc(Size),
}

/// What the low-memory callback does.
#[derive(Clone, Copy, Debug, Arbitrary)]
enum Warning {
    Nothing,
    Release(u8),
    Alloc(Size),
}

/// What callbacks use too: no borrow outlasts a call of the pool.
struct World {
    pool: Pool,
    heaps: RefCell<Vec<Heap>>,
    blocks: RefCell<Blocks>,
    grow: RefCell<VecDeque<Growth>>,
    warn: RefCell<VecDeque<Warning>>,
    /// Callbacks that run.
    depth: Cell<u32>,
    limit: Cell<Option<usize>>,
    /// The request has been promised success.
    promised: Cell<bool>,
    /// System heaps of which the place is not known yet, and all there ever were.
    unseen: Cell<usize>,
    system_heaps: Cell<usize>,
}

enum Heap {
    Mine(Region),
    /// Where it is shows once there is a block in it.
    System {
        start: usize,
        size: usize,
    },
}

impl Heap {
    fn start(&self) -> usize {
        match self {
            Heap::Mine(region) => region.start(),
            Heap::System { start, .. } => *start,
        }
    }

    fn holds(&self, address: usize) -> bool {
        match self {
            Heap::Mine(region) => region.holds(address),
            Heap::System { start, size } => address.wrapping_sub(*start) < *size,
        }
    }
}

const MOST_HEAPS: usize = 64;
const MOST_SYSTEM_HEAPS: usize = 4;

unsafe extern "C" fn grow(pool: Pool, needed: usize, context: *mut c_void) -> bool {
    // SAFETY: the context is the world, which outlives the pool.
    let world = unsafe { &*context.cast::<World>() };
    assert_eq!(pool, world.pool);
    let Some(growth) = world.grow.borrow_mut().pop_front() else { return false };
    world.called_back(|| match growth {
        Growth::AddNeeded(heap) => {
            let added = needed < 8 << 20 && world.add(heap.region_of(needed));
            world.promised.set(added && world.limit.get().is_none());
            added
        }
        Growth::Add(heap) => world.add(heap.region()),
        Growth::Refuse => false,
        Growth::Lie => true,
        Growth::Alloc(size) => {
            world.alloc_inside(size);
            true
        }
    })
}

unsafe extern "C" fn warn(pool: Pool, free_bytes: usize, context: *mut c_void) {
    // SAFETY: the context is the world, which outlives the pool.
    let world = unsafe { &*context.cast::<World>() };
    assert_eq!(pool, world.pool);
    assert_eq!(free_bytes, stats(pool).free_bytes);
    let Some(warning) = world.warn.borrow_mut().pop_front() else { return };
    world.called_back(|| match warning {
        Warning::Nothing => {}
        Warning::Release(pick) => world.release(pick),
        Warning::Alloc(size) => world.alloc_inside(size),
    });
}

impl World {
    fn new(script: &Script) -> Box<World> {
        let world = Box::new(World {
            pool: new_pool(if script.hardened { HARDENED } else { 0 }),
            heaps: RefCell::default(),
            blocks: RefCell::new(Blocks::of_pool(script.hardened)),
            grow: RefCell::new(script.grow.iter().copied().collect()),
            warn: RefCell::new(script.warn.iter().copied().collect()),
            depth: Cell::new(0),
            limit: Cell::new(None),
            promised: Cell::new(false),
            unseen: Cell::new(0),
            system_heaps: Cell::new(0),
        });
        // SAFETY: the world outlives the pool.
        let status = unsafe { hl_pool_set_grow_callback(world.pool, Some(grow), world.context()) };
        assert_eq!(status, Status::Ok);
        world
    }

    fn context(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    fn called_back<T>(&self, callback: impl FnOnce() -> T) -> T {
        assert!(self.depth.get() < 4, "more callbacks at once than promised");
        self.depth.set(self.depth.get() + 1);
        let result = callback();
        self.depth.set(self.depth.get() - 1);
        result
    }

    fn add(&self, region: Region) -> bool {
        if self.heaps.borrow().len() == MOST_HEAPS {
            return false;
        }
        // SAFETY: the region outlives the heap.
        let status = unsafe { hl_add_heap(self.pool, region.pointer(), region.size()) };
        if status == Status::Ok {
            self.heaps.borrow_mut().push(Heap::Mine(region));
        } else {
            assert_eq!(status, Status::HeapTooSmall);
            assert!(region.size() < NewHeap::ENOUGH);
        }
        status == Status::Ok
    }

    fn add_system_heap(&self, size: usize) {
        if self.system_heaps.get() == MOST_SYSTEM_HEAPS || size == 0 {
            return;
        }
        // SAFETY: the pool is live.
        let status = unsafe { hl_add_system_heap(self.pool, size) };
        if size < 1 << 20 {
            return assert_eq!(status, Status::HeapTooSmall);
        }
        assert_eq!(status, Status::Ok);
        self.unseen.set(self.unseen.get() + 1);
        self.system_heaps.set(self.system_heaps.get() + 1);
    }

    /// A pool inside a block of this one.
    fn add_in_block(&self, pick: u8) {
        let Some(block) = self.blocks.borrow().pick(pick) else { return };
        self.blocks.borrow_mut().take(block);
        // SAFETY: the block is live and ours.
        unsafe {
            let inner = hl_pool_new_in(block.pointer, block.usable);
            if inner.is_null() {
                assert_eq!(reason(), Status::HeapTooSmall);
                assert!(block.usable < 2 * NewHeap::ENOUGH);
            } else {
                let inside = hl_alloc(inner, 32);
                assert!(!inside.is_null());
                assert!(inside.addr() - block.address() + 32 <= block.usable);
                assert_eq!(hl_usable_size(self.pool, inside), 0);
                assert_eq!(hl_last_error(), Status::InteriorPointer);
                assert_eq!(hl_release(inner, block.pointer), Status::OtherPool);
                check(inner);
                assert_eq!(hl_pool_delete(inner), Status::Ok);
            }
        }
        // The inner pool wrote to it.
        self.blocks.borrow_mut().insert_aligned(
            block.pointer,
            block.size,
            block.usable,
            block.alignment,
        );
    }

    fn add_impossible(&self, from_end: usize, beyond: usize) {
        let start = usize::MAX - from_end;
        let size = from_end.saturating_add(1 + beyond);
        // SAFETY: none of these is memory, which the pool sees before it looks there.
        unsafe {
            let add = |start, size| hl_add_heap(self.pool, without_provenance_mut(start), size);
            assert_eq!(add(start, size), Status::HeapWraps);
            assert_eq!(add(0, size), Status::HeapNull);
            assert_eq!(add(start, 0), Status::HeapTooSmall);
        }
    }

    fn alloc(&self, size: usize, alignment: usize) {
        let used = stats(self.pool).used_bytes;
        self.promised.set(false);
        // SAFETY: the pool is live.
        let block = unsafe { hl_alloc_aligned(self.pool, alignment, size) };
        if block.is_null() {
            assert!(!self.promised.get(), "a heap as large as needed doesn't serve the request");
            return self.expect_reason(size, alignment);
        }
        self.insert(block, size, alignment);
        self.expect_within_limit(used);
    }

    /// Allocates in a callback, which takes memory that the request outside may have been promised.
    fn alloc_inside(&self, size: Size) {
        self.alloc(size.bytes(), 1);
        self.promised.set(false);
    }

    fn expect_reason(&self, size: usize, alignment: usize) {
        let possible = self.blocks.borrow().may_be(Some(size), alignment);
        match reason() {
            Status::BadAlignment => assert!(!alignment.is_power_of_two()),
            Status::SizeOverflow => assert!(!possible),
            Status::LimitReached => assert!(possible && self.limit.get().is_some()),
            status => assert!(possible && status == Status::OutOfMemory),
        }
    }

    /// Notes a new block.
    fn insert(&self, block: *mut c_void, size: usize, alignment: usize) {
        self.see(block);
        // SAFETY: the pool is live.
        let usable = unsafe { hl_usable_size(self.pool, block) };
        self.blocks.borrow_mut().insert_aligned(block, size, usable, alignment);
    }

    /// A block in none of the heaps that are known is in one from the system.
    fn see(&self, block: *mut c_void) {
        if self.heaps.borrow().iter().any(|heap| heap.holds(block.addr())) {
            return;
        }
        let mut stats = HeapStatistics { struct_size: size_of::<HeapStatistics>(), ..UNKNOWN };
        // SAFETY: the pool is live, and the struct knows its size.
        assert_eq!(unsafe { hl_heap_stats(self.pool, block, &mut stats) }, Status::Ok);
        let heap = Heap::System { start: stats.memory.addr(), size: stats.size };
        assert!(heap.holds(block.addr()));
        self.unseen.set(self.unseen.get().checked_sub(1).expect("the block is in no heap"));
        self.heaps.borrow_mut().push(heap);
    }

    /// What was used before may be beyond the limit, but nothing was added to it there.
    fn expect_within_limit(&self, used_before: usize) {
        if let Some(limit) = self.limit.get() {
            assert!(stats(self.pool).used_bytes <= limit.max(used_before));
        }
    }

    fn resize(&self, pick: u8, size: usize) {
        let Some(old) = self.blocks.borrow().pick(pick) else { return };
        // Callbacks must not release the block meanwhile.
        self.blocks.borrow_mut().take(old);
        self.promised.set(false);
        // SAFETY: the pool is live, and the block's old address is given up.
        let block = unsafe { hl_resize(self.pool, old.pointer, size) };
        let mut blocks = self.blocks.borrow_mut();
        if block.is_null() {
            blocks.put_back(old);
            drop(blocks);
            assert!(!self.promised.get(), "a heap as large as needed doesn't serve the request");
            return self.expect_reason(size, 1);
        }
        // SAFETY: the pool is live.
        let usable = unsafe { hl_usable_size(self.pool, block) };
        blocks.insert_resized(old, block, size, usable);
        drop(blocks);
        self.see(block);
    }

    fn release(&self, pick: u8) {
        let Some(block) = self.blocks.borrow().pick(pick) else { return };
        self.blocks.borrow_mut().take(block);
        // SAFETY: the pool is live, and the block is not used any more.
        assert_eq!(unsafe { hl_release(self.pool, block.pointer) }, Status::Ok);
    }

    fn write_beside(&self, pick: u8, beside: Beside) {
        let blocks = self.blocks.borrow();
        let Some(block) = blocks.pick_to_damage(pick).filter(|_| blocks.are_hardened()) else {
            return;
        };
        let damage = beside.write(&block);
        // SAFETY: the pool is live, and refuses the block.
        expect_error(unsafe { hl_release(self.pool, block.pointer) }, &damage.error);
        damage.undo();
    }

    /// Releases all blocks of a heap, so that it can be removed.
    fn release_from(&self, heap: usize) {
        let of_heap = |address| self.heaps.borrow()[heap].holds(address);
        let blocks: Vec<_> = self.blocks.borrow().iter().filter(|b| of_heap(b.address())).collect();
        for block in blocks {
            self.blocks.borrow_mut().take(block);
            // SAFETY: the pool is live, and the block is not used any more.
            assert_eq!(unsafe { hl_release(self.pool, block.pointer) }, Status::Ok);
        }
    }

    fn remove(&self, heap: usize) {
        let address = without_provenance_mut(self.heaps.borrow()[heap].start());
        let live = |heap: &Heap| self.blocks.borrow().iter().any(|b| heap.holds(b.address()));
        let in_use = live(&self.heaps.borrow()[heap]);
        // SAFETY: the pool is live.
        let status = unsafe { hl_remove_heap(self.pool, address) };
        if in_use {
            return assert_eq!(status, Status::HeapInUse);
        }
        assert_eq!(status, Status::Ok);
        self.heaps.borrow_mut().remove(heap);
        // SAFETY: the pool is live.
        assert_eq!(unsafe { hl_remove_heap(self.pool, address) }, Status::HeapUnknown);
    }

    fn heap(&self, pick: u8) -> Option<usize> {
        let heaps = self.heaps.borrow().len();
        (heaps > 0).then(|| usize::from(pick) % heaps)
    }

    fn call(&self, call: &Call) {
        match *call {
            Call::Alloc(size) => self.alloc(size.bytes(), 1),
            Call::AllocAligned(alignment, size) => self.alloc(size.bytes(), alignment.bytes()),
            Call::Resize(pick, size) => self.resize(pick, size.bytes()),
            Call::Release(pick) => self.release(pick),
            Call::WriteBeside(pick, beside) => self.write_beside(pick, beside),
            Call::ReleaseFrom(heap) => {
                if let Some(heap) = self.heap(heap) {
                    self.release_from(heap);
                }
            }
            Call::Add(heap) => _ = self.add(heap.region()),
            Call::AddTiny { skipped, size, eighths } => {
                let size = usize::from(size) * 8 + usize::from(eighths % 8);
                self.add(Region::new(skipped.into(), size));
            }
            Call::AddSystemHeap(size) => self.add_system_heap(size.within(8 << 20)),
            Call::AddInBlock(pick) => self.add_in_block(pick),
            Call::AddImpossible { from_end, beyond } => {
                self.add_impossible(from_end.into(), beyond.bytes() / 2);
            }
            Call::Remove(heap) => {
                if let Some(heap) = self.heap(heap) {
                    self.remove(heap);
                }
            }
            Call::Drain(heap) => {
                if let Some(heap) = self.heap(heap) {
                    let address = without_provenance_mut(self.heaps.borrow()[heap].start());
                    // SAFETY: the pool is live.
                    assert_eq!(unsafe { hl_drain_heap(self.pool, address) }, Status::Ok);
                }
            }
            Call::SetLimit(size) => {
                let size = size.bytes();
                self.limit.set((size != 0).then_some(size));
                // SAFETY: the pool is live.
                assert_eq!(unsafe { hl_pool_set_limit(self.pool, size) }, Status::Ok);
            }
            Call::SetThreshold(size) => {
                // SAFETY: the world outlives the pool.
                let status = unsafe {
                    let (bytes, context) = (size.bytes(), self.context());
                    hl_pool_set_low_memory_callback(self.pool, bytes, Some(warn), context)
                };
                assert_eq!(status, Status::Ok);
            }
            Call::Reset => {
                self.blocks.borrow_mut().clear();
                // SAFETY: no block is used any more.
                assert_eq!(unsafe { hl_pool_reset(self.pool) }, Status::Ok);
            }
        }
        check(self.pool);
        let stats = stats(self.pool);
        assert_eq!(stats.heaps, self.heaps.borrow().len() + self.unseen.get());
        expect_live(&stats, &self.blocks.borrow());
    }

    fn end(&self) {
        let shown = walk(self.pool).into_iter().filter(|shown| shown.live);
        let live: Vec<_> = shown.map(|shown| (shown.address, shown.size)).collect();
        let blocks: Vec<_> = self.blocks.borrow().iter().collect();
        let known: Vec<_> = blocks.iter().map(|block| (block.address(), block.usable)).collect();
        assert_eq!(live, known);
        // A removal may call it, and it may allocate.
        // SAFETY: nothing is called any more.
        let status = unsafe { hl_pool_set_low_memory_callback(self.pool, 0, None, null_mut()) };
        assert_eq!(status, Status::Ok);
        let heaps = self.heaps.borrow().len();
        for heap in (0..heaps).rev() {
            self.release_from(heap);
            self.remove(heap);
        }
        assert_eq!(stats(self.pool).live_blocks, 0);
        // SAFETY: nobody uses the pool any more.
        assert_eq!(unsafe { hl_pool_delete(self.pool) }, Status::Ok);
    }
}

const UNKNOWN: HeapStatistics = HeapStatistics {
    struct_size: 0,
    memory: null_mut(),
    size: 0,
    granule: 0,
    capacity_bytes: 0,
    metadata_bytes: 0,
    used_bytes: 0,
    free_bytes: 0,
    largest_free_block: 0,
    live_blocks: 0,
    live_bytes: 0,
    spans: 0,
    draining: false,
};

fuzz_target!(|script: Script| {
    let world = World::new(&script);
    for heap in &script.heaps {
        world.add(heap.region());
    }
    for call in &script.calls {
        world.call(call);
    }
    world.end();
});
