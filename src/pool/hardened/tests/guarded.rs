//! Guarded blocks: their pages open and close, and they hang on the rack.

use super::super::*;
use super::{FOUND, Pool, release, with_guarded_pool};
use crate::armour::PAGE;
use std::prelude::rust_2024::*;

std::thread_local! {
    /// Whether pages can be opened, and closed.
    static OPENS: core::cell::Cell<bool> = const { core::cell::Cell::new(true) };
    static CLOSES: core::cell::Cell<bool> = const { core::cell::Cell::new(true) };
    /// How often somebody tried to open some.
    static TRIES: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// Guards that only say that they do something.
static PRETENDED: Guards = Guards { close: |_, _| CLOSES.get(), open, purge: |_, _| false };

fn open(_: NonNull<u8>, _: usize) -> bool {
    TRIES.set(TRIES.get() + 1);
    OPENS.get()
}

/// Blocks of 150,000 bytes that hang on the pool's rack.
fn racked(pool: &Pool) -> [NonNull<u8>; Rack::PLACES] {
    let blocks = core::array::from_fn(|_| pool.alloc(150_000).unwrap());
    blocks.iter().for_each(|&block| release(pool, block).unwrap());
    // Others push them out of quarantine.
    for _ in &blocks {
        release(pool, pool.alloc(300_000).unwrap()).unwrap();
    }
    assert_eq!(pool.rack(|rack| rack.iter().count()), blocks.len());
    blocks
}

#[test]
fn a_guarded_block_on_the_rack_is_opened_again_for_one_of_its_size() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        let blocks = racked(pool);
        let closed = pool.armoury().closed.load(Relaxed);
        assert_eq!(pool.stats().live_blocks, 0);
        for block in blocks {
            let error = Error::AlreadyReleased { pointer: block.addr().get(), size: 150_000 };
            assert_eq!(release(pool, block), Err(error));
            // SAFETY: it lies in the block's memory, which is the test's.
            unsafe { block.add(180_000).write(1) };
        }
        for size in [200_000, 140_000] {
            let again = pool.alloc_zeroed(size).unwrap();
            assert!(blocks.contains(&again));
            // SAFETY: the block has so many bytes.
            unsafe {
                let bytes = core::slice::from_raw_parts(again.as_ptr(), size);
                assert!(bytes.iter().all(|&byte| byte == 0));
                again.write_bytes(1, size + 1);
            }
            let error = Error::Overrun { pointer: again.addr().get(), size, offset: 0 };
            assert_eq!(release(pool, again), Err(error));
            // SAFETY: the byte belongs to the block's armour, and was zero.
            unsafe { again.add(size).write(0) };
            release(pool, again).unwrap();
        }
        assert_eq!(pool.armoury().closed.load(Relaxed), closed);
        pool.empty_quarantine(pool);
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
        assert_eq!(pool.stats().live_blocks, 0);
        // Of those that were not used again.
        let found = pool.check().unwrap_err();
        assert_eq!(found.status(), crate::Status::WrittenAfterRelease);
    });
}

#[test]
fn what_was_written_over_the_header_of_a_block_on_the_rack_is_found_when_it_is_handed_out() {
    set_found_handler(|error| FOUND.set(Some(*error)));
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        for block in racked(pool) {
            // SAFETY: nobody else uses the memory, which is the test's; that is the point.
            unsafe { block.sub(PAGE).write(0) };
        }
        let block = pool.alloc_zeroed(200_000).unwrap();
        let (pointer, bare) = (block.addr().get() - PAGE, block.addr().get() - 2 * PAGE);
        assert_eq!(FOUND.take(), Some(Error::WrittenAfterRelease { pointer, block: bare }));
        release(pool, block).unwrap();
    });
}

#[test]
fn a_block_on_the_rack_that_does_not_open_is_given_back_later() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        let blocks = racked(pool);
        OPENS.set(false);
        let other = pool.alloc(150_000).unwrap();
        assert!(!blocks.contains(&other));
        assert_eq!(pool.armoury().stranded.load(Relaxed), 1);
        OPENS.set(true);
        release(pool, other).unwrap();
        pool.empty_quarantine(pool);
        assert_eq!(pool.stats().live_blocks, 0);
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
    });
}

#[test]
fn a_heap_of_which_blocks_hang_on_the_rack_or_are_stranded_can_be_removed() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        racked(pool);
        OPENS.set(false);
        // It is taken from the rack, and can't be opened.
        let kept = pool.alloc(150_000).unwrap();
        OPENS.set(true);
        let heap = kept.as_ptr().cast_const();
        let racked = || pool.rack(|rack| rack.iter().count());
        assert_eq!((racked(), pool.armoury().stranded.load(Relaxed)), (Rack::PLACES - 1, 1));
        let refused = pool.remove_heap(heap);
        assert!(matches!(refused, Err(Error::HeapInUse { blocks: 1, .. })), "{refused:?}");
        assert_eq!((racked(), pool.armoury().stranded.load(Relaxed)), (Rack::PLACES - 1, 1));
        release(pool, kept).unwrap();
        pool.remove_heap(heap).unwrap();
        assert_eq!((racked(), pool.armoury().stranded.load(Relaxed)), (0, 0));
    });
}

#[test]
fn nothing_of_a_draining_heap_hangs_on_the_rack() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20, 64 << 20], |pool| {
        let last = pool.alloc(150_000).unwrap();
        let blocks = racked(pool);
        let hanging = || pool.rack(|rack| rack.iter().count());
        pool.drain_heap(last.as_ptr()).unwrap();
        assert_eq!(hanging(), 0);
        release(pool, last).unwrap();
        pool.remove_heap(last.as_ptr()).unwrap();
        let others = racked(pool);
        assert!(others.iter().all(|other| !blocks.contains(other)));
    });
}

#[test]
fn a_block_whose_pages_the_system_does_not_close_is_watched_to_its_end() {
    with_guarded_pool(Some(&PRETENDED), &[8 << 20], |pool| {
        const SIZE: usize = 34 * PAGE;
        CLOSES.set(false);
        let block = pool.alloc(SIZE).unwrap();
        CLOSES.set(true);
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
        // SAFETY: it is part of the block's memory, which is the test's.
        let behind = unsafe { block.add(SIZE + 1) };
        // SAFETY: as above.
        unsafe { behind.write(!behind.read()) };
        let error = Error::Overrun { pointer: block.addr().get(), size: SIZE, offset: 1 };
        assert_eq!(release(pool, block), Err(error));
        // SAFETY: as above.
        unsafe { behind.write(!behind.read()) };
        release(pool, block).unwrap();
    });
}

#[test]
fn a_released_block_whose_pages_do_not_close_does_not_wait() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        let block = pool.alloc(150_000).unwrap();
        CLOSES.set(false);
        release(pool, block).unwrap();
        CLOSES.set(true);
        assert_eq!(pool.waiting(&pool.lock()).count(), 0);
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
        assert_eq!((pool.stats().live_blocks, pool.check()), (0, Ok(())));
    });
}

#[test]
fn blocks_whose_pages_do_not_open_are_given_back_later() {
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        OPENS.set(false);
        let blocks: Vec<_> = (0..100).map(|_| pool.alloc(150_000).unwrap()).collect();
        blocks.iter().for_each(|&block| release(pool, block).unwrap());
        let pointer = blocks[0].addr().get();
        let error = Error::AlreadyReleased { pointer, size: 150_000 };
        assert_eq!(release(pool, blocks[0]), Err(error));
        pool.empty_quarantine(pool);
        assert_eq!(pool.stats().live_blocks, 100);
        assert_eq!(pool.armoury().stranded.load(Relaxed), 100);
        OPENS.set(true);
        pool.empty_quarantine(pool);
        assert_eq!(pool.stats().live_blocks, 0);
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
        pool.check().unwrap();
    });
}

#[test]
fn an_allocation_that_finds_no_memory_rarely_tries_to_open_the_stranded_ones() {
    with_guarded_pool(Some(&PRETENDED), &[16 << 20], |pool| {
        OPENS.set(false);
        let blocks: Vec<_> = (0..40).map(|_| pool.alloc(150_000).unwrap()).collect();
        blocks.iter().for_each(|&block| release(pool, block).unwrap());
        let miss = |_| assert!(pool.alloc(15 << 20).is_err());
        miss(1);
        assert_eq!(pool.armoury().stranded.load(Relaxed), 40);
        let before = TRIES.get();
        (2..=1000).for_each(miss);
        assert_eq!(TRIES.get() - before, 9 * 40);
        OPENS.set(true);
        (1001..=1023).for_each(miss);
        release(pool, pool.alloc(15 << 20).unwrap()).unwrap();
        assert_eq!(pool.armoury().stranded.load(Relaxed), 0);
        assert_eq!(pool.stats().live_blocks, 0);
    });
}

#[test]
fn pages_open_again_although_something_wrote_over_the_header_of_a_block_that_waits() {
    set_found_handler(|error| FOUND.set(Some(*error)));
    with_guarded_pool(Some(&PRETENDED), &[64 << 20], |pool| {
        let block = pool.alloc(150_000).unwrap();
        release(pool, block).unwrap();
        assert_eq!(pool.armoury().closed.load(Relaxed), 1);
        // SAFETY: nobody else uses the memory, which is the test's; that is the point.
        let header = unsafe { block.sub(PAGE) };
        // SAFETY: as above.
        unsafe { header.write(!header.read()) };
        pool.empty_quarantine(pool);
        let (pointer, block) = (header.addr().get(), header.addr().get() - PAGE);
        assert_eq!(FOUND.take(), Some(Error::WrittenAfterRelease { pointer, block }));
        assert_eq!(pool.armoury().closed.load(Relaxed), 0);
        assert_eq!(pool.stats().live_blocks, 0);
        pool.check().unwrap();
    });
}

#[test]
fn a_guarded_block_is_resized_where_it_is_as_far_as_its_run_goes() {
    with_guarded_pool(Some(&PRETENDED), &[16 << 20], |pool| {
        let block = pool.alloc(150_000).unwrap();
        for size in [140_000, 150_000, 151_552] {
            // SAFETY: the block is live, and has the larger of both sizes if it stays.
            unsafe {
                block.write_bytes(7, size.min(140_000));
                assert_eq!(pool.resize(block, size), Ok(block));
                block.write_bytes(7, size);
            }
            assert_eq!(pool.usable_size(block), Ok(size));
            pool.check().unwrap();
        }
        // SAFETY: the old address is not used any more.
        let moved = unsafe { pool.resize(block, 1_000_000) }.unwrap();
        assert_ne!(moved, block);
        release(pool, moved).unwrap();
    });
}
