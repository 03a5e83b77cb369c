//! One thread and every function of a pool, with right and wrong arguments, against a model of the live
//! blocks: contents, alignment, places, statuses and statistics are as documented, and the books are sound
//! after every call. The pool may be hardened: then sizes are exact, what is written beside a block or to one that
//! was released is found, and only that.

#![no_main]

mod misuse;
mod world;

use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{Alignment, Beside, NewHeap, Poison, Size, are_all, untouch_errno};
use libfuzzer_sys::fuzz_target;
use misuse::{DamagedCall, MisusedCall, Wrong};
use std::ptr::{null, null_mut};
use world::World;

#[derive(Debug, Arbitrary)]
struct Script {
    kind: Kind,
    heap: NewHeap,
    calls: Vec<Call>,
}

/// How the pool is made.
#[derive(Debug, Arbitrary)]
enum Kind {
    Plain,
    Configured { hardened: bool, limit: Option<Size> },
    InMemory(NewHeap),
}

#[derive(Debug, Arbitrary)]
enum Call {
    Alloc(Size),
    AllocZeroed {
        count: Size,
        size: Size,
    },
    AllocAligned(Alignment, Size),
    AllocMany {
        size: Size,
        count: u8,
    },
    Resize(u8, Size),
    Release(u8),
    ReleaseSized(u8, Size),
    ReleaseMany {
        picks: [u8; 6],
        wrong: Wrong,
    },
    Misuse(Wrong, MisusedCall),
    /// Of a hardened pool: writes beside a block, makes a call with it, and takes back what was written.
    WriteBeside {
        pick: u8,
        beside: Beside,
        call: DamagedCall,
    },
    /// Of a hardened pool: writes to a block that was released, or to other free memory.
    WriteToFree {
        wrong: Wrong,
        byte: u8,
    },
    UsableSize(u8),
    AddHeap(NewHeap),
    AddHeapAgain {
        heap: u8,
        offset: u16,
        size: u16,
    },
    RemoveHeap {
        heap: u8,
        offset: u16,
    },
    DrainHeap {
        heap: u8,
        offset: u16,
    },
    SetLimit(Size),
    Map {
        heap: u8,
        size: u8,
    },
    Walk,
    Reset,
}

impl World {
    fn call(&mut self, call: &Call) {
        untouch_errno();
        let pool = self.pool;
        // SAFETY: the pool is live; blocks that are released are not used any more.
        unsafe {
            match *call {
                Call::Alloc(size) => {
                    let size = size.bytes();
                    self.allocated(hl_alloc(pool, size), Some(size), 1);
                }
                Call::AllocZeroed { count, size } => {
                    let (count, size) = (count.bytes(), size.bytes());
                    let total = count.checked_mul(size);
                    let block = hl_alloc_zeroed(pool, count, size);
                    if let (Some(total), false) = (total, block.is_null()) {
                        let bytes = std::slice::from_raw_parts(block.cast::<u8>(), total);
                        assert!(are_all(bytes, 0));
                    }
                    self.allocated(block, total, 1);
                }
                Call::AllocAligned(alignment, size) => {
                    let (alignment, size) = (alignment.bytes(), size.bytes());
                    let block = hl_alloc_aligned(pool, alignment, size);
                    self.allocated(block, Some(size), alignment);
                }
                Call::AllocMany { size, count } => {
                    let size = size.bytes();
                    let unused = std::ptr::without_provenance_mut(1);
                    let mut slots = vec![unused; usize::from(count)];
                    let filled = hl_alloc_many(pool, size, slots.len(), slots.as_mut_ptr());
                    let complete = filled == slots.len();
                    assert!(slots[filled..].iter().all(|&slot| slot == unused));
                    if !complete {
                        self.refused(Some(size), 1);
                    }
                    untouch_errno();
                    for &block in &slots[..filled] {
                        assert!(!block.is_null());
                        self.allocated(block, Some(size), 1);
                    }
                }
                Call::Resize(pick, size) => match self.blocks.pick(pick) {
                    Some(block) => self.resize(block, size.bytes()),
                    None => {
                        let size = size.bytes();
                        self.allocated(hl_resize(pool, null_mut(), size), Some(size), 1);
                    }
                },
                Call::Release(pick) => {
                    if let Some(block) = self.blocks.pick(pick) {
                        self.blocks.take(block);
                        assert_eq!(hl_release(pool, block.pointer), Status::Ok);
                        self.released(block);
                        self.misuse(&Wrong::Freed(u8::MAX), MisusedCall::Release);
                    }
                    assert_eq!(hl_release(pool, null_mut()), Status::Ok);
                }
                Call::ReleaseSized(pick, size) => {
                    if let Some(block) = self.blocks.pick(pick) {
                        // Where only the right size will do, most calls give it.
                        let size = if self.blocks.are_hardened() && pick % 4 != 0 {
                            block.size
                        } else {
                            size.bytes()
                        };
                        self.release_sized(block, size);
                    }
                }
                Call::ReleaseMany { ref picks, ref wrong } => self.release_many(picks, wrong),
                Call::Misuse(ref wrong, call) => self.misuse(wrong, call),
                Call::WriteBeside { pick, beside, call } => {
                    if let Some(block) = self.hardened_block(pick) {
                        self.write_beside(block, beside, call);
                    }
                }
                Call::WriteToFree { ref wrong, byte } => {
                    if self.blocks.are_hardened() && self.poison.is_none() {
                        self.poison = Poison::put(pool, self.address(wrong), byte);
                    }
                }
                Call::UsableSize(pick) => {
                    if let Some(block) = self.blocks.pick(pick) {
                        assert_eq!(hl_usable_size(pool, block.pointer), block.usable);
                    }
                    assert_eq!(hl_usable_size(pool, null()), 0);
                }
                Call::AddHeap(ref heap) => self.add_heap(heap.region()),
                Call::AddHeapAgain { heap, offset, size } => {
                    if let Some(heap) = self.heap(heap) {
                        self.add_heap_again(heap, offset.into(), size.into());
                    }
                }
                Call::RemoveHeap { heap, offset } => {
                    if let Some(heap) = self.heap(heap) {
                        self.remove_heap(heap, offset.into());
                    }
                }
                Call::DrainHeap { heap, offset } => {
                    if let Some(heap) = self.heap(heap) {
                        let address = self.heaps[heap].address(offset.into());
                        let address = std::ptr::without_provenance_mut(address);
                        assert_eq!(hl_drain_heap(pool, address), Status::Ok);
                        self.draining[heap] = true;
                    }
                }
                Call::SetLimit(size) => {
                    self.limited = size.bytes() != 0;
                    assert_eq!(hl_pool_set_limit(pool, size.bytes()), Status::Ok);
                }
                Call::Map { heap, size } => {
                    if let Some(heap) = self.heap(heap) {
                        self.map(heap, size.into());
                    }
                }
                Call::Walk => self.check_walk(),
                Call::Reset => {
                    self.blocks.clear();
                    assert_eq!(hl_pool_reset(pool), Status::Ok);
                    self.poison = None;
                    self.draining.fill(false);
                }
            }
        }
        self.check_books();
    }
}

fuzz_target!(|script: Script| {
    let Some(mut world) = World::new(&script.kind) else { return };
    world.add_heap(script.heap.region());
    for call in &script.calls {
        world.call(call);
    }
    world.end();
});
