//! Collections that take an allocator, in a pool.
#![cfg(feature = "allocator-api2")]

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hashbrown::HashMap;
use heapmaster::{MemoryPool, Pool};
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

fn memory(size: usize) -> std::boxed::Box<[MaybeUninit<u8>]> {
    vec![MaybeUninit::new(0xA5); size].into_boxed_slice()
}

fn is_whole(pool: &MemoryPool) -> bool {
    pool.check().is_ok() && pool.stats().live_blocks == 0
}

#[test]
fn a_vector_grows_and_shrinks_in_the_pool() {
    let mut memory = memory(4 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut numbers = Vec::new_in(&pool);
    numbers.extend(0..100_000u64);
    assert!(pool.owns(numbers.as_ptr().cast()));
    numbers.truncate(1000);
    numbers.shrink_to_fit();
    assert!(numbers.iter().copied().eq(0..1000));
    assert!(pool.stats().live_bytes < 20_000);
    drop(numbers);
    assert!(is_whole(&pool));
}

#[test]
fn a_vector_whose_pool_is_full_says_so_and_goes_on() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut numbers = Vec::new_in(&pool);
    while numbers.try_reserve(1).is_ok() {
        numbers.push(numbers.len());
    }
    assert!(numbers.len() > 1000);
    assert!(numbers.iter().copied().eq(0..numbers.len()));
    let full = numbers.len();
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert!(numbers.try_reserve(full - 10).is_ok());
    drop(numbers);
    assert!(is_whole(&pool));
}

#[test]
fn boxes_and_a_map_share_a_pool_that_is_not_borrowed() {
    static POOL: MemoryPool = MemoryPool::system();
    let mut squares = HashMap::new_in(&POOL);
    for number in 0..1000u64 {
        squares.insert(number, Box::new_in(number * number, &POOL));
    }
    squares.retain(|number, _| number % 3 == 0);
    assert!(squares.values().all(|square| POOL.owns((&raw const **square).cast())));
    assert_eq!(*squares[&999], 998_001);
    drop(squares);
    assert!(is_whole(&POOL));
}

#[test]
fn a_collection_may_own_its_pool() {
    let mut memory = memory(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut words = Vec::new_in(pool);
    words.extend(["granule", "block", "run", "span"]);
    let moved = std::boxed::Box::new(words);
    assert!(moved.allocator().owns(moved.as_ptr().cast()));
    assert_eq!(moved.concat(), "granuleblockrunspan");
}

#[test]
fn elements_of_no_size_take_nothing() {
    let pool = Pool::new();
    let mut nothings = Vec::new_in(&pool);
    nothings.extend([(); 1000]);
    assert_eq!(Box::new_in(nothings.len(), MemoryPool::system()).as_ref(), &1000);
    drop(Box::new_in((), &pool));
    assert_eq!(pool.stats().allocations, 0);
}

/// Sizes around the boundaries of size classes, granules and runs.
const SIZES: [usize; 10] = [0, 1, 16, 100, 128, 1000, 8192, 8193, 60_000, 200_000];

fn layout(size: usize, alignment: usize) -> Layout {
    Layout::from_size_align(size, alignment).unwrap()
}

fn bytes<'block>(block: NonNull<[u8]>) -> &'block mut [u8] {
    // SAFETY: the caller has the block alone, and its bytes are those of the region, which was filled.
    unsafe { &mut *block.as_ptr() }
}

/// Each byte tells its place.
fn fill(block: &mut [u8]) {
    for (index, byte) in block.iter_mut().enumerate() {
        *byte = index as u8 ^ 0x5A;
    }
}

fn is_filled(block: &[u8]) -> bool {
    block.iter().enumerate().all(|(index, &byte)| byte == index as u8 ^ 0x5A)
}

#[test]
fn every_layout_becomes_every_other() {
    let mut memory = memory(8 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let layouts = || {
        SIZES.iter().flat_map(|&size| [1, 16, 64, 4096].map(|alignment| layout(size, alignment)))
    };
    for old in layouts() {
        for new in layouts() {
            let block = pool.allocate(old).unwrap();
            assert!(block.cast::<u8>().addr().get().is_multiple_of(old.align()));
            fill(bytes(block));
            let kept = old.size().min(new.size());
            // SAFETY: the block has the old layout, and is not used again.
            let changed = unsafe {
                if new.size() >= old.size() {
                    pool.grow_zeroed(block.cast(), old, new)
                } else {
                    pool.shrink(block.cast(), old, new)
                }
            }
            .unwrap();
            assert!(changed.cast::<u8>().addr().get().is_multiple_of(new.align()));
            assert_eq!(changed.len(), new.size());
            assert!(is_filled(&bytes(changed)[..kept]), "{old:?} to {new:?}");
            assert!(bytes(changed)[kept..].iter().all(|&byte| byte == 0), "{old:?} to {new:?}");
            // SAFETY: the block has the new layout, and is not used again.
            unsafe { pool.deallocate(changed.cast(), new) };
        }
    }
    assert!(is_whole(&pool));
}

#[test]
fn zeroed_blocks_are_zero() {
    let mut memory = memory(4 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    for size in SIZES {
        for alignment in [1, 16, 64, 4096] {
            let layout = layout(size, alignment);
            let block = pool.allocate_zeroed(layout).unwrap();
            assert!(bytes(block).iter().all(|&byte| byte == 0));
            fill(bytes(block));
            // SAFETY: the block has this layout, and is not used again.
            unsafe { pool.deallocate(block.cast(), layout) };
        }
    }
}

#[test]
fn a_block_that_grows_stays_where_it_is_if_it_can() {
    let mut memory = memory(4 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let (old, new) = (layout(500_000, 16), layout(510_000, 16));
    let block = pool.allocate(old).unwrap();
    // SAFETY: the block has the old layout, and is not used again.
    let grown = unsafe { pool.grow(block.cast(), old, new) }.unwrap();
    assert_eq!(grown.cast::<u8>(), block.cast());
    // SAFETY: the block has the new layout, and is not used again.
    unsafe { pool.deallocate(grown.cast(), new) };
}

#[test]
fn an_aligned_block_of_a_full_pool_shrinks_where_it_is() {
    let mut memory = memory(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let (old, new) = (layout(100_000, 4096), layout(90_000, 4096));
    let block = pool.allocate(old).unwrap();
    fill(bytes(block));
    while let Ok(block) = pool.block(4096) {
        std::mem::forget(block);
    }
    // SAFETY: the block has the old layout, and is not used again.
    let shrunk = unsafe { pool.shrink(block.cast(), old, new) }.unwrap();
    assert!(is_filled(bytes(shrunk)));
}
