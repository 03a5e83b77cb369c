//! Pools that are spot-checked: some of their blocks wear an armour.

use super::{FOUND, SIZES, release, write_beside};
use crate::Status;
use crate::armour::{Key, Quarantine, bytes_for};
use crate::error::Error;
use crate::pool::tests::{Pool, add, region};
use crate::pool::{
    Armoury, Bare, BlockState, MOST_CHECKED, Rack, Request, Roll, Wanted, set_found_handler,
};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

fn with_pool(size: usize, test: impl FnOnce(&Pool)) {
    let mut memory = region(size);
    let mut armoury = Armoury {
        key: Key { first: 3, second: 5 },
        roll: Some(Box::leak(Box::new(Roll::new()))),
        guards: None,
        quarantine: UnsafeCell::new(Quarantine::of(4096)),
        rack: UnsafeCell::new(Rack::new()),
        early: &[],
        closed: AtomicUsize::new(0),
        stranded: AtomicUsize::new(0),
        misses: AtomicUsize::new(0),
    };
    let pool = Pool::new();
    // SAFETY: the armoury outlives the pool, which nobody else knows.
    unsafe { pool.equip(NonNull::from(&mut armoury)) };
    add(&pool, &mut memory).unwrap();
    test(&pool);
    drop(pool);
}

fn try_checked(pool: &Pool, wanted: Wanted) -> Option<NonNull<u8>> {
    let size = bytes_for(wanted.size, wanted.alignment).unwrap();
    let (block, _) = pool.take(Request { size, alignment: wanted.alignment }, false).unwrap();
    // SAFETY: the block is the test's, and has so many bytes.
    let checked = unsafe { pool.put_on_checked(block, wanted) };
    if checked.is_none() {
        pool.give(block.start).unwrap();
    }
    checked
}

fn checked(pool: &Pool, size: usize) -> NonNull<u8> {
    try_checked(pool, Wanted::bytes(size)).unwrap()
}

#[test]
fn blocks_with_an_armour_and_without_keep_their_bytes_and_are_released_by_the_same_functions() {
    with_pool(64 << 20, |pool| {
        let mut live = Vec::new();
        for (index, &size) in SIZES.iter().cycle().take(400).enumerate() {
            let wears_armour = index % 3 == 0 && size <= MOST_CHECKED;
            let block = if wears_armour { checked(pool, size) } else { pool.alloc(size).unwrap() };
            assert_eq!(pool.wears_armour(block.addr().get()), wears_armour);
            let usable = pool.usable_size(block).unwrap();
            assert!(if wears_armour { usable == size } else { usable >= size });
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(index as u8, size) };
            live.push((block, size, index as u8));
        }
        pool.check().unwrap();
        assert_eq!(pool.stats().live_blocks, live.len());
        for (block, size, byte) in live {
            // SAFETY: the block is live, and its old address not used any more.
            let block = unsafe { pool.resize(block, 2 * size) }.unwrap();
            // SAFETY: it has so many bytes.
            let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), size) };
            assert!(bytes.iter().all(|&found| found == byte));
            // SAFETY: the block is not used any more.
            unsafe { pool.release_sized(block, 2 * size) }.unwrap();
            assert_eq!(release(pool, block).map_err(|e| e.status()), Err(Status::AlreadyReleased));
        }
        pool.check().unwrap();
        assert_eq!(pool.stats().live_blocks, 0);
        assert_eq!(pool.heap_stats(pool_memory(pool)).unwrap().live_blocks, 0);
    });
}

/// An address in the heap of a pool.
fn pool_memory(pool: &Pool) -> *const u8 {
    let block = pool.alloc(1).unwrap();
    release(pool, block).unwrap();
    block.as_ptr()
}

#[test]
fn zeroed_blocks_are_zero_although_others_had_their_memory() {
    with_pool(1 << 20, |pool| {
        for _ in 0..3 {
            let dirty: Vec<_> = (0..500).map(|_| pool.alloc(300).unwrap()).collect();
            for block in dirty {
                // SAFETY: the block has so many bytes.
                unsafe { block.write_bytes(9, 300) };
                release(pool, block).unwrap();
            }
            let wanted = Wanted { zeroed: true, ..Wanted::bytes(280) };
            let block = try_checked(pool, wanted).unwrap();
            assert!(pool.wears_armour(block.addr().get()));
            // SAFETY: the block has so many bytes.
            let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), 280) };
            assert!(bytes.iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
fn what_was_written_beside_a_block_is_found_at_its_release_and_by_a_check() {
    with_pool(1 << 20, |pool| {
        for size in [1, 24, 100, 1000] {
            write_beside(pool, checked(pool, size), size);
        }
    });
}

#[test]
fn what_was_written_after_a_release_is_found_by_a_check_and_when_the_block_has_waited() {
    set_found_handler(|error| FOUND.set(Some(*error)));
    with_pool(1 << 20, |pool| {
        let block = checked(pool, 100);
        release(pool, block).unwrap();
        // SAFETY: nobody else uses the memory, which is the test's; that is the point.
        unsafe { block.add(50).write(1) };
        let pointer = block.addr().get() + 50;
        let error = Error::WrittenAfterRelease { pointer, block: block.addr().get() };
        assert_eq!(pool.check(), Err(error));
        for _ in 0..100 {
            release(pool, checked(pool, 100)).unwrap();
        }
        assert_eq!(FOUND.take(), Some(error));
        pool.check().unwrap();
    });
}

#[test]
fn a_pointer_into_a_block_with_an_armour_is_refused_in_its_terms() {
    with_pool(1 << 20, |pool| {
        let block = checked(pool, 100);
        let pointer = block.addr().get();
        for (offset, error) in [
            (8, Error::InteriorPointer { pointer: pointer + 8, block: pointer, size: 100 }),
            (99, Error::InteriorPointer { pointer: pointer + 99, block: pointer, size: 100 }),
            (101, Error::NotInPool { pointer: pointer + 101 }),
        ] {
            // SAFETY: it lies in the object.
            assert_eq!(release(pool, unsafe { block.add(offset) }), Err(error));
        }
        release(pool, block).unwrap();
        assert_eq!(release(pool, block), Err(Error::AlreadyReleased { pointer, size: 100 }));
    });
}

#[test]
fn a_walk_shows_blocks_as_their_users_know_them() {
    with_pool(1 << 20, |pool| {
        let mut live = BTreeMap::new();
        for size in [16, 64, 100, 1000] {
            let block = checked(pool, size);
            live.insert(block.as_ptr(), size);
            let block = pool.alloc(size).unwrap();
            live.insert(block.as_ptr(), pool.usable_size(block).unwrap());
            release(pool, checked(pool, size)).unwrap();
        }
        pool.walk(|block| {
            if block.state == BlockState::Live {
                assert_eq!(live.remove(&block.address), Some(block.size));
            }
            true
        });
        assert!(live.is_empty());
    });
}

#[test]
fn where_the_roll_has_no_place_there_is_no_checked_block() {
    with_pool(8 << 20, |pool| {
        let wanted = Wanted::bytes(100);
        let blocks: Vec<_> = (0..4000).filter_map(|_| try_checked(pool, wanted)).collect();
        assert!((100..2000).contains(&blocks.len()), "{} of 4000", blocks.len());
        assert!(blocks.iter().all(|block| pool.wears_armour(block.addr().get())));
        pool.check().unwrap();
        blocks.into_iter().for_each(|block| release(pool, block).unwrap());
        assert_eq!(pool.stats().live_blocks, 0);
        assert!(pool.wears_armour(checked(pool, 100).addr().get()));
    });
}

#[test]
fn a_reset_forgets_which_blocks_wear_an_armour() {
    with_pool(1 << 20, |pool| {
        for _ in 0..3 {
            for size in [16, 100, 1000] {
                release(pool, checked(pool, size)).unwrap();
                // SAFETY: the block has so many bytes.
                unsafe { checked(pool, size).write_bytes(9, size) };
            }
            // SAFETY: no block is used any more.
            unsafe { pool.reset() };
            pool.check().unwrap();
            assert_eq!(pool.stats().live_blocks, 0);
            for _ in 0..100 {
                let block = pool.alloc(100).unwrap();
                assert!(!pool.wears_armour(block.addr().get()));
            }
        }
    });
}
