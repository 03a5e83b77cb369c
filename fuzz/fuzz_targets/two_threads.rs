//! Two threads run two scripts on one pool. Blocks lie in a table that both share, so that each releases and
//! resizes what the other has allocated, while heaps come and go. The pool may be hardened: then one writes beside
//! a block while the other allocates, releases and checks.

#![no_main]

use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{
    Beside, Block, NewHeap, Region, Size, are_all, check, checked, new_pool, reason, stats, walk,
};
use libfuzzer_sys::fuzz_target;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::Ordering::{AcqRel, SeqCst};
use std::sync::atomic::{AtomicPtr, AtomicUsize};

#[derive(Debug, Arbitrary)]
struct Script {
    hardened: bool,
    heap: NewHeap,
    extras: [NewHeap; 2],
    calls: [Vec<Call>; 2],
}

#[derive(Debug, Arbitrary)]
enum Call {
    Alloc {
        slot: u8,
        size: Size,
    },
    AllocAligned {
        slot: u8,
        size: Size,
        shift: u8,
    },
    AllocZeroed {
        slot: u8,
        size: Size,
    },
    Resize {
        slot: u8,
        size: Size,
    },
    Release {
        slot: u8,
    },
    ReleaseSized {
        slot: u8,
    },
    AllocMany {
        slot: u8,
        size: Size,
        count: u8,
    },
    ReleaseMany {
        slot: u8,
        count: u8,
    },
    Interior {
        slot: u8,
        offset: u8,
    },
    /// Of a hardened pool: writes beside a block, whose release is refused, and takes back what was written.
    WriteBeside {
        slot: u8,
        beside: Beside,
    },
    Extra,
    SetLimit(Size),
    Check,
    Walk,
}

const SLOTS: usize = 24;
const LARGEST: usize = 1 << 17;

/// A block begins with this, and is filled with its last byte from there on.
#[repr(C)]
struct Label {
    usable: u32,
    fill: u32,
}

struct Shared {
    pool: Pool,
    hardened: bool,
    slots: [AtomicPtr<c_void>; SLOTS],
    /// How often a thread began to write beside a block, and how often one has taken that back.
    damages: AtomicUsize,
    repairs: AtomicUsize,
}

// SAFETY: every function of the pool may be called from any thread.
unsafe impl Sync for Shared {}

/// One thread's part.
struct Part<'world> {
    shared: &'world Shared,
    extra: Region,
    added: bool,
    fills: u32,
}

impl Shared {
    /// Puts a block into a slot, for whoever comes, and takes out what is there.
    fn exchange(&self, slot: usize, block: *mut c_void) -> *mut c_void {
        self.slots[slot % SLOTS].swap(block, AcqRel)
    }

    fn take(&self, slot: u8) -> Option<*mut c_void> {
        let block = self.exchange(slot.into(), null_mut());
        (!block.is_null()).then_some(block)
    }

    /// Fails unless a block's first bytes are what was written last. Says its usable size and the fill.
    fn verify(&self, block: *mut c_void, most: usize) -> (usize, u32) {
        // SAFETY: the block is live, nobody else's, and all of it was written.
        unsafe {
            let Label { usable, fill } = block.cast::<Label>().read();
            let usable = usable as usize;
            let bytes = std::slice::from_raw_parts(block.cast::<u8>(), usable.min(most));
            let kept = are_all(&bytes[size_of::<Label>()..], fill as u8);
            assert!(kept, "the contents of the block at {block:p} have changed");
            (usable, fill)
        }
    }

    /// The bytes to ask for: at least a label's where no more can be used.
    fn bytes(&self, size: Size, most: usize) -> usize {
        let least = if self.hardened { size_of::<Label>() } else { 0 };
        size.within(most).max(least)
    }

    /// The pool's books are sound, and nothing was written beside a block, unless a thread does that meanwhile.
    fn check(&self) {
        let repaired = self.repairs.load(SeqCst);
        let status = checked(self.pool);
        if self.damages.load(SeqCst) == repaired {
            assert_eq!(status, Status::Ok);
        } else {
            assert!(matches!(status, Status::Ok | Status::Overrun | Status::Underrun));
        }
    }

    fn write_beside(&self, block: *mut c_void, beside: Beside) {
        let (usable, _) = self.verify(block, usize::MAX);
        self.damages.fetch_add(1, SeqCst);
        let damage = beside.write(&Block::unaligned(block, usable));
        // SAFETY: the pool is live, and refuses the block.
        let status = unsafe { hl_release(self.pool, block) };
        assert_eq!(status, damage.error.status());
        damage.undo();
        self.repairs.fetch_add(1, SeqCst);
    }

    fn release(&self, block: *mut c_void) {
        self.verify(block, usize::MAX);
        // SAFETY: the pool is live, and the block is not used any more.
        assert_eq!(unsafe { hl_release(self.pool, block) }, Status::Ok);
    }
}

impl Part<'_> {
    /// Writes to all of a block that belongs to nobody else.
    fn label(&mut self, block: *mut c_void, least: usize) {
        self.fills += 2;
        let fill = self.fills;
        // SAFETY: the pool is live.
        let usable = unsafe { hl_usable_size(self.shared.pool, block) };
        if self.shared.hardened {
            assert_eq!(usable, least);
        } else {
            assert!(usable >= least.max(16));
        }
        // SAFETY: the block is live, ours, and has that many bytes.
        unsafe {
            block.write_bytes(fill as u8, usable);
            block.cast::<Label>().write(Label { usable: usable as u32, fill });
        }
    }

    /// Hands a new block over; releases what lay there.
    fn hand_over(&mut self, slot: usize, block: *mut c_void, size: usize) {
        if block.is_null() {
            return assert!(matches!(reason(), Status::OutOfMemory | Status::LimitReached));
        }
        self.label(block, size);
        let old = self.shared.exchange(slot, block);
        if !old.is_null() {
            self.shared.release(old);
        }
    }

    fn resize(&mut self, slot: u8, old: *mut c_void, size: usize) {
        let (usable, fill) = self.shared.verify(old, usize::MAX);
        // SAFETY: the pool is live, and the block's old address is given up.
        let block = unsafe { hl_resize(self.shared.pool, old, size) };
        if block.is_null() {
            assert!(matches!(reason(), Status::OutOfMemory | Status::LimitReached));
            return self.shared.release(old);
        }
        if size >= size_of::<Label>() {
            assert_eq!(self.shared.verify(block, size), (usable, fill));
        }
        self.hand_over(slot.into(), block, size);
    }

    /// A heap of this thread's: added, or else removed, or else told to drain.
    fn extra(&mut self) {
        let (pool, memory) = (self.shared.pool, self.extra.pointer());
        // SAFETY: the pool is live, and the memory outlives the heap.
        unsafe {
            if !self.added {
                assert_eq!(hl_add_heap(pool, memory, self.extra.size()), Status::Ok);
                self.added = true;
                return;
            }
            match hl_remove_heap(pool, memory) {
                Status::Ok => {
                    memory.write_bytes(0xA5, self.extra.size());
                    self.added = false;
                }
                status => {
                    assert_eq!(status, Status::HeapInUse);
                    assert_eq!(hl_drain_heap(pool, memory), Status::Ok);
                }
            }
        }
    }

    fn run(mut self, calls: &[Call], both: &Barrier) {
        both.wait();
        for call in calls {
            self.call(call);
        }
        // What is in this thread's heap, the other may have, and still use.
        both.wait();
        for slot in 0..SLOTS as u8 {
            if let Some(block) = self.shared.take(slot) {
                self.shared.release(block);
            }
        }
        both.wait();
        while self.added {
            self.extra();
        }
    }

    fn call(&mut self, call: &Call) {
        let pool = self.shared.pool;
        // SAFETY: the pool is live; blocks that are released are not used any more.
        unsafe {
            match *call {
                Call::Alloc { slot, size } => {
                    let size = self.shared.bytes(size, LARGEST);
                    self.hand_over(slot.into(), hl_alloc(pool, size), size);
                }
                Call::AllocAligned { slot, size, shift } => {
                    let (size, alignment) = (self.shared.bytes(size, LARGEST), 1 << (shift % 17));
                    let block = hl_alloc_aligned(pool, alignment, size);
                    assert!(block.addr().is_multiple_of(alignment));
                    self.hand_over(slot.into(), block, size);
                }
                Call::AllocZeroed { slot, size } => {
                    let size = self.shared.bytes(size, LARGEST);
                    let block = hl_alloc_zeroed(pool, 1, size);
                    if !block.is_null() {
                        let bytes = std::slice::from_raw_parts(block.cast::<u8>(), size);
                        assert!(are_all(bytes, 0));
                    }
                    self.hand_over(slot.into(), block, size);
                }
                Call::Resize { slot, size } => {
                    if let Some(old) = self.shared.take(slot) {
                        self.resize(slot, old, self.shared.bytes(size, LARGEST));
                    }
                }
                Call::Release { slot } => {
                    if let Some(block) = self.shared.take(slot) {
                        self.shared.release(block);
                    }
                }
                Call::ReleaseSized { slot } => {
                    if let Some(block) = self.shared.take(slot) {
                        let (usable, _) = self.shared.verify(block, usize::MAX);
                        let too_large = hl_release_sized(pool, block, usable + 1);
                        assert_eq!(too_large, Status::SizeMismatch);
                        assert_eq!(hl_release_sized(pool, block, usable), Status::Ok);
                    }
                }
                Call::AllocMany { slot, size, count } => {
                    let size = self.shared.bytes(size, LARGEST / 16);
                    let mut blocks = [null_mut(); SLOTS];
                    let count = usize::from(count) % (SLOTS + 1);
                    let filled = hl_alloc_many(pool, size, count, blocks.as_mut_ptr());
                    if filled < count {
                        assert!(matches!(reason(), Status::OutOfMemory | Status::LimitReached));
                    }
                    for (index, &block) in blocks[..filled].iter().enumerate() {
                        self.hand_over(usize::from(slot) + index, block, size);
                    }
                }
                Call::ReleaseMany { slot, count } => {
                    let slots = (0..count % SLOTS as u8).map(|index| slot.wrapping_add(index));
                    let mut blocks: Vec<_> =
                        slots.filter_map(|slot| self.shared.take(slot)).collect();
                    for &block in &blocks {
                        self.shared.verify(block, usize::MAX);
                    }
                    let released = hl_release_many(pool, blocks.as_mut_ptr(), blocks.len());
                    assert_eq!(released, blocks.len());
                }
                Call::Interior { slot, offset } => {
                    if let Some(block) = self.shared.take(slot) {
                        let (usable, _) = self.shared.verify(block, usize::MAX);
                        let most = usable.min(16) - 1;
                        let inside = block.wrapping_byte_add(1 + usize::from(offset) % most);
                        assert_eq!(hl_release(pool, inside), Status::InteriorPointer);
                        self.shared.release(block);
                    }
                }
                Call::WriteBeside { slot, beside } if self.shared.hardened => {
                    if let Some(block) = self.shared.take(slot) {
                        self.shared.write_beside(block, beside);
                        self.shared.release(block);
                    }
                }
                Call::WriteBeside { .. } => {}
                Call::Extra => self.extra(),
                Call::SetLimit(size) => {
                    assert_eq!(hl_pool_set_limit(pool, size.bytes()), Status::Ok);
                }
                Call::Check => self.shared.check(),
                Call::Walk => _ = walk(pool),
            }
        }
    }
}

fuzz_target!(|script: Script| {
    let heap = script.heap.usable_region();
    let pool = new_pool(if script.hardened { HARDENED } else { 0 });
    // SAFETY: the region outlives the heap.
    assert_eq!(unsafe { hl_add_heap(pool, heap.pointer(), heap.size()) }, Status::Ok);
    let shared = Shared {
        pool,
        hardened: script.hardened,
        slots: [const { AtomicPtr::new(null_mut()) }; SLOTS],
        damages: AtomicUsize::new(0),
        repairs: AtomicUsize::new(0),
    };
    let both = Barrier::new(2);
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|index| {
            let (script, shared, both) = (&script, &shared, &both);
            scope.spawn(move || {
                let extra = script.extras[index].usable_region();
                Part { shared, extra, added: false, fills: index as u32 }
                    .run(&script.calls[index], both);
            })
        });
        // The scope's own end waits for their work, but not for what libc has to do after it.
        for thread in threads {
            thread.join().expect("a failure ends the process");
        }
    });
    check(pool);
    // SAFETY: nobody uses the pool any more.
    unsafe {
        assert_eq!(hl_remove_heap(pool, heap.pointer()), Status::Ok);
        assert_eq!(stats(pool).live_blocks, 0);
        assert_eq!(hl_pool_delete(pool), Status::Ok);
    }
});
