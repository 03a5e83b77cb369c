//! One thread and every function of a pool, with right and wrong arguments, against a model of the live
//! blocks: contents, alignment, places, statuses and statistics are as documented, and the books are sound
//! after every call. The pool may be hardened: then sizes are exact, what is written beside a block or to one that
//! was released is found, and only that.

#![no_main]

use arbitrary::Arbitrary;
use heapmaster::Error;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{
    Alignment, Beside, Block, Blocks, NewHeap, Poison, Region, Shown, Size, are_all, check,
    checked, errno_is_untouched, expect_error, expect_live, expect_zeroes, reason, stats,
    untouch_errno, walk,
};
use libfuzzer_sys::fuzz_target;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

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

/// A pointer, mostly not the start of a live block.
#[derive(Debug, Arbitrary)]
enum Wrong {
    Null,
    Interior { pick: u8, offset: Size },
    Freed(u8),
    InHeap { heap: u8, offset: Size },
    OfOtherPool { offset: u16 },
    BesideBlock { pick: u8, by: i8 },
    Wild(u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum MisusedCall {
    Release,
    ReleaseSized(Size),
    Resize(Size),
    UsableSize,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum DamagedCall {
    Release,
    ReleaseSized(Size),
    ReleaseMany,
    Resize(Size),
}

/// What the misuse handler was told of last, and how often it was called.
#[derive(Default)]
struct Reported {
    calls: u64,
    pointer: usize,
    status: Option<Status>,
    /// Where something wrote to free memory, found in a call that had nothing to do with it.
    found: Option<usize>,
}

unsafe extern "C" fn report(misuse: *const Misuse, context: *mut c_void) {
    // SAFETY: the misuse is shown for this call, and the context is the pool's `Reported`.
    let (misuse, reported) = unsafe { (&*misuse, &mut *context.cast::<Reported>()) };
    reported.calls += 1;
    if misuse.pool.is_null() {
        assert_eq!(misuse.status, Status::WrittenAfterRelease);
        assert_eq!(reported.found.replace(misuse.pointer.addr()), None);
        return;
    }
    reported.pointer = misuse.pointer.addr();
    reported.status = Some(misuse.status);
}

struct World {
    pool: Pool,
    /// Where the handle is, if in memory of ours.
    home: Option<Region>,
    heaps: Vec<Region>,
    draining: Vec<bool>,
    other: Pool,
    other_heap: Region,
    blocks: Blocks,
    freed: Vec<usize>,
    limited: bool,
    poison: Option<Poison>,
    failures: u64,
    misuses: u64,
    reported: Box<Reported>,
}

const MOST_HEAPS: usize = 8;

impl World {
    fn new(kind: &Kind) -> Option<World> {
        let mut home = None;
        let mut limited = false;
        // SAFETY: the config and the memory are what they say, and the memory outlives the pool.
        let pool = unsafe {
            match kind {
                Kind::Plain => hl_pool_new(),
                Kind::Configured { hardened, limit } => {
                    let limit = limit.map_or(0, Size::bytes);
                    limited = limit != 0;
                    let hardened = if *hardened { HARDENED } else { 0 };
                    hl_pool_new_with(&Config {
                        struct_size: size_of::<Config>(),
                        flags: SINGLE_THREADED | hardened,
                        limit,
                    })
                }
                Kind::InMemory(heap) => {
                    let region = home.insert(heap.region());
                    hl_pool_new_in(region.pointer(), region.size())
                }
            }
        };
        if pool.is_null() {
            assert_eq!(reason(), Status::HeapTooSmall);
            assert!(home.is_some_and(|home| home.size() < 2048));
            return None;
        }
        let other_heap = Region::new(8, 6000);
        // SAFETY: the memory outlives the pool.
        let other = unsafe { hl_pool_new_in(other_heap.pointer(), other_heap.size()) };
        assert!(!other.is_null());
        let mut reported = Box::new(Reported::default());
        // SAFETY: it is removed before the context ends.
        unsafe { hl_set_misuse_handler(Some(report), (&raw mut *reported).cast()) };
        Some(World {
            pool,
            home,
            heaps: Vec::new(),
            draining: Vec::new(),
            other,
            other_heap,
            blocks: Blocks::of_pool(matches!(kind, Kind::Configured { hardened: true, .. })),
            freed: Vec::new(),
            limited,
            poison: None,
            failures: 0,
            misuses: 0,
            reported,
        })
    }

    /// Regions of all heaps.
    fn regions(&self) -> impl Iterator<Item = &Region> {
        self.heaps.iter().chain(&self.home)
    }

    fn holds(&self, address: usize) -> bool {
        // The handle lies in front of the heap that is in the same memory.
        self.regions().any(|region| region.holds(address))
            // SAFETY: the pool is live.
            && unsafe { hl_owns(self.pool, std::ptr::without_provenance(address)) }
    }

    /// What becomes of the release of a pointer.
    fn verdict(&self, address: usize) -> Status {
        if address == 0 {
            return Status::Ok;
        }
        if !self.holds(address) {
            return match self.other_heap.holds(address) && owns(self.other, address) {
                true => Status::OtherPool,
                false => Status::NotInPool,
            };
        }
        if let Some(block) = self.blocks.holding(address) {
            return match block.address() == address {
                true => Status::Ok,
                false => Status::InteriorPointer,
            };
        }
        let in_free = |shown: &Shown| !shown.live && shown.holds(address);
        match walk(self.pool).iter().any(in_free) {
            true => Status::AlreadyReleased,
            false => Status::NotInPool,
        }
    }

    fn address(&self, wrong: &Wrong) -> usize {
        match *wrong {
            Wrong::Null => 0,
            Wrong::Interior { pick, offset } => {
                self.blocks.pick(pick).map_or(0, |block| block.inside(offset.bytes()))
            }
            Wrong::Freed(pick) => match self.freed.len() {
                0 => 0,
                len => self.freed[usize::from(pick) % len],
            },
            Wrong::InHeap { heap, offset } => match self.heaps.len() {
                0 => usize::from(heap),
                len => self.heaps[usize::from(heap) % len].address(offset.bytes()),
            },
            Wrong::OfOtherPool { offset } => self.other_heap.address(usize::from(offset)),
            Wrong::BesideBlock { pick, by } => self
                .blocks
                .pick(pick)
                .map_or(0, |block| block.address().wrapping_add_signed(isize::from(by))),
            Wrong::Wild(address) => address as usize,
        }
    }

    fn usable(&self, pointer: *mut c_void) -> usize {
        // SAFETY: the pool is live.
        unsafe { hl_usable_size(self.pool, pointer) }
    }

    /// A new block was handed out, or there was a reason why not.
    fn allocated(&mut self, pointer: *mut c_void, size: Option<usize>, alignment: usize) {
        if pointer.is_null() {
            return self.refused(size, alignment);
        }
        assert!(errno_is_untouched());
        let size = size.expect("no block has more bytes than can be counted");
        assert!(size <= isize::MAX as usize && alignment.is_power_of_two());
        assert!(pointer.addr().is_multiple_of(alignment));
        let usable = self.usable(pointer);
        let inside = |region: &Region| {
            region.holds(pointer.addr()) && region.holds(pointer.addr() + usable.max(1) - 1)
        };
        assert!(self.regions().any(inside), "{pointer:p} is in no heap");
        let drained = self
            .heaps
            .iter()
            .zip(&self.draining)
            .any(|(heap, draining)| *draining && heap.holds(pointer.addr()));
        assert!(!drained, "{pointer:p} is in a heap that drains");
        self.blocks.insert_aligned(pointer, size, usable, alignment);
    }

    /// An allocation was refused; `None` is a size that can't be counted.
    fn refused(&mut self, size: Option<usize>, alignment: usize) {
        let impossible = !self.blocks.may_be(size, alignment);
        match reason() {
            Status::BadAlignment => assert!(!alignment.is_power_of_two()),
            Status::SizeOverflow => assert!(impossible),
            Status::LimitReached => {
                assert!(self.limited && !impossible);
                self.failures += 1;
            }
            Status::OutOfMemory => {
                assert!(!impossible);
                let size = size.expect("what can't be counted is impossible");
                expect_error(Status::OutOfMemory, &Error::OutOfMemory { size });
                self.failures += 1;
                let drained = self.draining.contains(&true);
                if !drained && !self.limited && alignment <= 16 {
                    let largest = stats(self.pool).largest_free_block;
                    let least = if self.blocks.are_hardened() { 24 } else { 0 };
                    assert!((size + least).max(1) > largest, "{largest} are free");
                }
            }
            status => panic!("an allocation failed with {status:?}"),
        }
    }

    fn released(&mut self, block: Block) {
        self.freed.push(block.address());
    }

    fn heap(&self, pick: u8) -> Option<usize> {
        (!self.heaps.is_empty()).then(|| usize::from(pick) % self.heaps.len())
    }

    /// A pointer was refused, or wasn't one to refuse; so was the misuse handler told.
    fn expect_misuse(&mut self, address: usize, status: Status) {
        self.misuses += 1;
        // SAFETY: it takes no pointer.
        assert_eq!(unsafe { hl_last_error() }, status);
        assert_eq!(self.reported.pointer, address);
        assert_eq!(self.reported.status, Some(status));
    }

    fn misuse(&mut self, wrong: &Wrong, call: MisusedCall) {
        let address = self.address(wrong);
        let verdict = self.verdict(address);
        let pointer = std::ptr::with_exposed_provenance_mut::<c_void>(address);
        if verdict == Status::Ok {
            return;
        }
        untouch_errno();
        // SAFETY: the pool is live, and refuses what is no block.
        unsafe {
            match call {
                MisusedCall::Release => assert_eq!(hl_release(self.pool, pointer), verdict),
                MisusedCall::ReleaseSized(size) => {
                    assert_eq!(hl_release_sized(self.pool, pointer, size.bytes()), verdict);
                }
                MisusedCall::Resize(size) => {
                    assert!(hl_resize(self.pool, pointer, size.bytes()).is_null());
                    assert_eq!(reason(), verdict);
                    untouch_errno();
                }
                MisusedCall::UsableSize => assert_eq!(hl_usable_size(self.pool, pointer), 0),
            }
        }
        assert!(errno_is_untouched());
        self.expect_misuse(address, verdict);
    }

    fn hardened_block(&self, pick: u8) -> Option<Block> {
        self.blocks.pick_to_damage(pick).filter(|_| self.blocks.are_hardened())
    }

    /// What is written beside a block is found by every call that would release it, which changes nothing.
    fn write_beside(&mut self, block: Block, beside: Beside, call: DamagedCall) {
        let pool = self.pool;
        let damage = beside.write(&block);
        // SAFETY: the pool is live, and refuses the block.
        let status = unsafe {
            match call {
                DamagedCall::Release => hl_release(pool, block.pointer),
                DamagedCall::ReleaseSized(size) => {
                    hl_release_sized(pool, block.pointer, size.bytes())
                }
                DamagedCall::ReleaseMany => {
                    let mut slots = [null_mut(), block.pointer];
                    assert_eq!(hl_release_many(pool, slots.as_mut_ptr(), 2), 1);
                    assert_eq!(slots, [null_mut(), block.pointer]);
                    hl_last_error()
                }
                DamagedCall::Resize(size) => {
                    assert!(hl_resize(pool, block.pointer, size.bytes()).is_null());
                    reason()
                }
            }
        };
        expect_error(status, &damage.error);
        self.expect_misuse(block.address(), status);
        if damage.is_defaced {
            assert_eq!(self.usable(block.pointer), 0);
            self.expect_misuse(block.address(), Status::Underrun);
            assert_eq!(checked(pool), Status::Underrun);
        } else {
            assert_eq!(self.usable(block.pointer), block.size);
            expect_error(checked(pool), &damage.error);
        }
        damage.undo();
    }

    /// What was written to free memory is found once, when the memory is used again.
    fn expect_found(&mut self) {
        let found = self.reported.found.take();
        let Some(poison) = self.poison else { return assert_eq!(found, None) };
        if let Some(address) = found {
            assert_eq!(address, poison.address());
            self.misuses += 1;
            self.poison = None;
        } else if !self.regions().any(|region| region.holds(poison.address())) {
            self.poison = None;
        } else {
            assert!(poison.is_there(), "{poison:?} is not found");
        }
    }

    fn release_many(&mut self, picks: &[u8], wrong: &Wrong) {
        let wrong = self.address(wrong);
        let mut slots: Vec<*mut c_void> = Vec::new();
        let mut expected = Vec::new();
        for (index, &pick) in picks.iter().enumerate() {
            if let Some(block) = self.blocks.pick(pick) {
                self.blocks.take(block);
                self.released(block);
                slots.push(block.pointer);
                expected.push(null_mut());
            }
            // The pool meets it when the blocks before it have been released.
            if index == picks.len() / 2 {
                let is_live = self.blocks.holding(wrong).is_some_and(|b| b.address() == wrong);
                let given_up = slots.iter().any(|slot| slot.addr() == wrong);
                if !is_live && !given_up {
                    slots.push(std::ptr::with_exposed_provenance_mut(wrong));
                    expected.push(*slots.last().expect("it was just pushed"));
                }
            }
        }
        let refused = expected.iter().filter(|slot| !slot.is_null()).count();
        // SAFETY: the pool is live, and the slots are an array of so many.
        let count = unsafe { hl_release_many(self.pool, slots.as_mut_ptr(), slots.len()) };
        assert_eq!(count, slots.len() - refused);
        assert_eq!(slots, expected);
        self.misuses += refused as u64;
        if refused > 0 {
            assert_eq!(self.reported.pointer, wrong);
        }
    }

    fn resize(&mut self, old: Block, size: usize) {
        self.blocks.take(old);
        // SAFETY: the pool is live, and the block's old address is given up.
        let pointer = unsafe { hl_resize(self.pool, old.pointer, size) };
        if pointer.is_null() {
            self.blocks.put_back(old);
            self.refused(Some(size), 1);
            assert_eq!(self.usable(old.pointer), old.usable);
            return;
        }
        assert!(errno_is_untouched());
        assert!(size <= isize::MAX as usize);
        self.blocks.insert_resized(old, pointer, size, self.usable(pointer));
        if pointer != old.pointer {
            self.released(old);
        }
    }

    fn release_sized(&mut self, block: Block, size: usize) {
        let is_refused =
            if self.blocks.are_hardened() { size != block.size } else { size > block.usable };
        if is_refused {
            // SAFETY: the pool is live, and refuses the size.
            let status = unsafe { hl_release_sized(self.pool, block.pointer, size) };
            assert_eq!(status, Status::SizeMismatch);
            self.expect_misuse(block.address(), Status::SizeMismatch);
        } else {
            self.blocks.take(block);
            // SAFETY: the pool is live, and the block is given up.
            let status = unsafe { hl_release_sized(self.pool, block.pointer, size) };
            assert_eq!(status, Status::Ok);
            self.released(block);
        }
    }

    fn add_heap(&mut self, region: Region) {
        if self.heaps.len() == MOST_HEAPS {
            return;
        }
        // SAFETY: the region outlives the heap.
        match unsafe { hl_add_heap(self.pool, region.pointer(), region.size()) } {
            Status::Ok => {
                self.heaps.push(region);
                self.draining.push(false);
            }
            status => {
                assert_eq!(status, Status::HeapTooSmall);
                assert!(region.size() < NewHeap::ENOUGH);
            }
        }
    }

    /// A part of a heap is no other heap, for this pool or another, unless a block of this pool holds all of it.
    fn add_heap_again(&mut self, heap: usize, offset: usize, size: usize) {
        let region = &self.heaps[heap];
        let offset = offset % region.size();
        let size = size.clamp(1, region.size() - offset);
        let pointer = region.pointer().wrapping_byte_add(offset);
        // SAFETY: the pool refuses it.
        let status = unsafe { hl_add_heap(self.pool, pointer, size) };
        assert_eq!(status, Status::HeapOverlaps);
    }

    fn remove_heap(&mut self, heap: usize, offset: usize) {
        let address = self.heaps[heap].address(offset);
        let live = self.blocks.iter().any(|block| self.heaps[heap].holds(block.address()));
        // SAFETY: the pool is live.
        let status =
            unsafe { hl_remove_heap(self.pool, std::ptr::without_provenance_mut(address)) };
        // Nothing waits any more.
        assert_eq!(stats(self.pool).live_blocks, self.blocks.len());
        if live {
            return assert_eq!(status, Status::HeapInUse);
        }
        assert_eq!(status, Status::Ok);
        self.heaps.remove(heap);
        self.draining.remove(heap);
    }

    fn map(&self, heap: usize, size: usize) {
        let mut text = vec![0x7f; size];
        let address = self.heaps[heap].pointer();
        // SAFETY: the pool is live, and the text has that size.
        let status =
            unsafe { hl_pool_map(self.pool, address, text.as_mut_ptr().cast::<c_char>(), size) };
        if size == 0 {
            return assert_eq!(status, Status::InvalidArgument);
        }
        assert_eq!(status, Status::Ok);
        assert_eq!(text.pop(), Some(0));
        assert!(text.iter().all(|character| b".123456789#".contains(character)));
    }

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

    fn check_books(&mut self) {
        self.expect_found();
        match self.poison {
            Some(poison) => poison.check(self.pool),
            None => check(self.pool),
        }
        let stats = stats(self.pool);
        let at_home = usize::from(self.home.is_some());
        assert_eq!(stats.heaps, self.heaps.len() + at_home);
        expect_live(&stats, &self.blocks);
        assert_eq!(stats.failures, self.failures);
        assert_eq!(stats.misuses, self.misuses);
        assert_eq!(self.reported.calls, self.misuses);
    }

    fn check_walk(&self) {
        let shown = walk(self.pool).into_iter().filter(|shown| shown.live);
        let live: Vec<_> = shown.map(|shown| (shown.address, shown.size)).collect();
        let known: Vec<_> = self.blocks.iter().map(|b| (b.address(), b.usable)).collect();
        assert_eq!(live, known);
        if self.blocks.are_hardened() {
            expect_zeroes(self.pool, self.poison);
        }
    }

    fn end(mut self) {
        self.check_walk();
        self.blocks.verify();
        let blocks: Vec<_> = self.blocks.iter().collect();
        for block in blocks {
            // SAFETY: the pool is live, and the block is not used any more.
            assert_eq!(unsafe { hl_release(self.pool, block.pointer) }, Status::Ok);
            self.expect_found();
        }
        while let Some(heap) = self.heap(0) {
            // SAFETY: the pool is live.
            let status = unsafe { hl_remove_heap(self.pool, self.heaps[heap].pointer()) };
            assert_eq!(status, Status::Ok);
            self.heaps.remove(heap);
            self.expect_found();
        }
        // SAFETY: nobody uses the pools any more.
        unsafe {
            hl_set_misuse_handler(None, null_mut());
            assert_eq!(hl_pool_delete(self.pool), Status::Ok);
            assert_eq!(hl_pool_delete(self.other), Status::Ok);
        }
    }
}

fn owns(pool: Pool, address: usize) -> bool {
    // SAFETY: the pool is live.
    unsafe { hl_owns(pool, std::ptr::without_provenance(address)) }
}

fuzz_target!(|script: Script| {
    let Some(mut world) = World::new(&script.kind) else { return };
    world.add_heap(script.heap.region());
    for call in &script.calls {
        world.call(call);
    }
    world.end();
});
