//! The pool, the model of its heaps and live blocks, and what of a call's answer is certain.

use crate::Kind;
use crate::misuse::{Reported, Wrong, report};
use heapmaster::Error;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{
    Block, Blocks, NewHeap, Poison, Region, Size, check, errno_is_untouched, expect_error,
    expect_live, expect_zeroes, reason, stats, walk,
};
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

pub(crate) struct World {
    pub(crate) pool: Pool,
    /// Where the handle is, if in memory of ours.
    home: Option<Region>,
    pub(crate) heaps: Vec<Region>,
    pub(crate) draining: Vec<bool>,
    pub(crate) other: Pool,
    pub(crate) other_heap: Region,
    pub(crate) blocks: Blocks,
    pub(crate) freed: Vec<usize>,
    pub(crate) limited: bool,
    pub(crate) poison: Option<Poison>,
    failures: u64,
    pub(crate) misuses: u64,
    pub(crate) reported: Box<Reported>,
}

const MOST_HEAPS: usize = 8;

impl World {
    pub(crate) fn new(kind: &Kind) -> Option<World> {
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
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.heaps.iter().chain(&self.home)
    }

    pub(crate) fn holds(&self, address: usize) -> bool {
        // The handle lies in front of the heap that is in the same memory.
        self.regions().any(|region| region.holds(address))
            // SAFETY: the pool is live.
            && unsafe { hl_owns(self.pool, std::ptr::without_provenance(address)) }
    }

    pub(crate) fn usable(&self, pointer: *mut c_void) -> usize {
        // SAFETY: the pool is live.
        unsafe { hl_usable_size(self.pool, pointer) }
    }

    /// A new block was handed out, or there was a reason why not.
    pub(crate) fn allocated(
        &mut self,
        pointer: *mut c_void,
        size: Option<usize>,
        alignment: usize,
    ) {
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
    pub(crate) fn refused(&mut self, size: Option<usize>, alignment: usize) {
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

    pub(crate) fn resize(&mut self, old: Block, size: usize) {
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

    pub(crate) fn released(&mut self, block: Block) {
        self.freed.push(block.address());
    }

    pub(crate) fn release_sized(&mut self, block: Block, size: usize) {
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

    pub(crate) fn release_many(&mut self, picks: &[u8], wrong: &Wrong) {
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

    pub(crate) fn heap(&self, pick: u8) -> Option<usize> {
        (!self.heaps.is_empty()).then(|| usize::from(pick) % self.heaps.len())
    }

    pub(crate) fn add_heap(&mut self, region: Region) {
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
    pub(crate) fn add_heap_again(&mut self, heap: usize, offset: usize, size: usize) {
        let region = &self.heaps[heap];
        let offset = offset % region.size();
        let size = size.clamp(1, region.size() - offset);
        let pointer = region.pointer().wrapping_byte_add(offset);
        // SAFETY: the pool refuses it.
        let status = unsafe { hl_add_heap(self.pool, pointer, size) };
        assert_eq!(status, Status::HeapOverlaps);
    }

    pub(crate) fn remove_heap(&mut self, heap: usize, offset: usize) {
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

    pub(crate) fn map(&self, heap: usize, size: usize) {
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

    pub(crate) fn check_books(&mut self) {
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

    pub(crate) fn check_walk(&self) {
        let shown = walk(self.pool).into_iter().filter(|shown| shown.live);
        let live: Vec<_> = shown.map(|shown| (shown.address, shown.size)).collect();
        let known: Vec<_> = self.blocks.iter().map(|b| (b.address(), b.usable)).collect();
        assert_eq!(live, known);
        if self.blocks.are_hardened() {
            expect_zeroes(self.pool, self.poison);
        }
    }

    pub(crate) fn end(mut self) {
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
