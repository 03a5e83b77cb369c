//! Pools over borrowed memory, with blocks and boxes: all in safe Rust but for the checks of what lies where.

use heapmaster::{Block, Error, MemoryPool, Pool, PoolBox, RelaxStrategy, Spin};
use std::cell::Cell;
use std::mem::{MaybeUninit, forget};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::thread;

type Memory = [MaybeUninit<u8>];

fn memory(size: usize) -> Box<Memory> {
    vec![MaybeUninit::new(0xA5); size].into_boxed_slice()
}

fn lies_in(bytes: &[u8], region: std::ops::Range<*const MaybeUninit<u8>>) -> bool {
    let bytes = bytes.as_ptr_range();
    bytes.start >= region.start.cast() && bytes.end <= region.end.cast()
}

fn is_whole(pool: &Pool<'_>) -> bool {
    pool.check().is_ok() && pool.stats().live_blocks == 0
}

#[test]
fn blocks_lie_in_the_memory_that_was_lent() {
    let mut first = memory(64 * 1024);
    let mut second = memory(1 << 20);
    let (first_range, second_range) = (first.as_ptr_range(), second.as_ptr_range());
    let pool = Pool::new();
    pool.add_heap(&mut first).unwrap();
    let small = pool.block(1000).unwrap();
    assert!(lies_in(&small, first_range.clone()));
    pool.add_heap(&mut second).unwrap();
    let large = pool.block(500_000).unwrap();
    assert!(lies_in(&large, second_range));
    assert!(lies_in(&small, first_range));
}

#[test]
fn a_block_is_zero_at_every_size_also_where_others_wrote() {
    let mut memory = memory(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    for size in (0..300).chain([1000, 8192, 8193, 100_000]) {
        let mut block = pool.block(size).unwrap();
        assert_eq!(block.len(), size);
        assert!(block.iter().all(|&byte| byte == 0));
        block.fill(0xFF);
    }
    assert!(is_whole(&pool));
}

#[test]
fn blocks_and_boxes_are_what_they_hold() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let (mut block, same) = (pool.block_of(b"bytes").unwrap(), pool.block_of(b"bytes").unwrap());
    assert!(block == same && block.as_ref() == b"bytes");
    block.as_mut()[0] = b'B';
    assert!(block != same);

    let (mut number, same) = (pool.boxed(41).unwrap(), pool.boxed(41).unwrap());
    assert!(number == same && *number.as_ref() == 41);
    *number.as_mut() += 1;
    assert!(number != same && number.to_string() == "42");
}

#[test]
fn resizing_keeps_what_fits_and_adds_zeros() {
    let mut memory = memory(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut block = pool.block_of(&[7; 100]).unwrap();
    let mut len = block.len();
    for new in [101, 50, 120, 0, 1, 5000, 4999, 100_000, 16, 16, 300_000, 20] {
        let kept = len.min(new);
        block.fill(7);
        block.resize(new).unwrap();
        assert_eq!(block.len(), new);
        assert!(block[..kept].iter().all(|&byte| byte == 7), "{len} to {new}");
        assert!(block[kept..].iter().all(|&byte| byte == 0), "{len} to {new}");
        len = new;
    }
    drop(block);
    assert!(is_whole(&pool));
}

#[test]
fn a_resize_that_finds_no_room_changes_nothing() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut block = pool.block_of(b"unchanged").unwrap();
    assert_eq!(block.resize(1 << 20), Err(Error::OutOfMemory { size: 1 << 20 }));
    assert_eq!(block.resize(usize::MAX), Err(Error::SizeOverflow { count: 1, size: usize::MAX }));
    assert_eq!(&*block, b"unchanged");
}

#[test]
fn what_is_dropped_is_released_and_what_is_forgotten_dies_with_the_pool() {
    let mut memory = memory(64 * 1024);
    for _ in 0..3 {
        let pool = Pool::new();
        pool.add_heap(&mut memory).unwrap();
        drop(pool.block(1000));
        assert!(is_whole(&pool));
        while let Ok(block) = pool.block(1000) {
            forget(block);
        }
        assert!(pool.stats().live_blocks > 50);
    }
}

/// Its memory can be written over at once, so nothing of the process may lead there.
#[test]
fn a_pool_that_is_forgotten_leaves_nothing_in_its_memory_that_others_use() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    forget(pool.block(100).unwrap());
    forget(pool);
    memory.fill(MaybeUninit::new(0xFF));

    let mut other_memory = vec![0u8; 64 * 1024];
    let other = MemoryPool::new();
    // SAFETY: the memory outlives the pool, and nobody else uses it.
    unsafe { other.add_heap(other_memory.as_mut_ptr(), other_memory.len()) }.unwrap();
    let inside = NonNull::new(memory.as_mut_ptr().cast()).unwrap();
    // SAFETY: it is no block of this pool.
    let refused = unsafe { other.release(inside) };
    assert!(matches!(refused, Err(Error::NotInPool { .. })), "{refused:?}");

    let again = Pool::new();
    again.add_heap(&mut memory).unwrap();
    assert!(again.block(100).is_ok());
}

#[test]
fn memory_in_a_box_of_another_pool_is_a_heap() {
    let mut outer_memory = memory(1 << 20);
    let outer = Pool::new();
    outer.add_heap(&mut outer_memory).unwrap();
    let mut inner_memory = outer.boxed([MaybeUninit::uninit(); 64 * 1024]).unwrap();
    let inner = Pool::new();
    inner.add_heap(&mut *inner_memory).unwrap();
    let block = inner.block(1000).unwrap();
    assert!(outer.owns(block.as_ptr()) && inner.owns(block.as_ptr()));
}

/// Counts its drops.
struct Counted<'count>(&'count Cell<u32>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_boxed_value_is_dropped_once() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let drops = Cell::new(0);
    drop(pool.boxed(Counted(&drops)).unwrap());
    assert_eq!(drops.get(), 1);

    let value = PoolBox::into_inner(pool.boxed(Counted(&drops)).unwrap());
    assert_eq!(drops.get(), 1);
    assert!(is_whole(&pool));
    drop(value);
    assert_eq!(drops.get(), 2);

    let full = Pool::new();
    assert!(full.boxed(Counted(&drops)).is_err());
    assert_eq!(drops.get(), 3);
}

#[test]
fn boxed_values_of_every_alignment_are_aligned() {
    #[repr(align(4096))]
    struct Page(u8);

    let mut memory = memory(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let page = pool.boxed(Page(7)).unwrap();
    assert_eq!(page.0, 7);
    assert!(std::ptr::from_ref(&*page).addr().is_multiple_of(4096));
    drop(pool.boxed(()).unwrap());
    drop(page);
    assert!(is_whole(&pool));
}

#[test]
fn boxed_values_know_each_other() {
    struct Node<'pool> {
        value: u32,
        next: Option<PoolBox<'pool, Node<'pool>>>,
    }

    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let mut first = None;
    for value in 0..100 {
        first = Some(pool.boxed(Node { value, next: first }).unwrap());
    }
    let mut sum = 0;
    let mut at = &first;
    while let Some(node) = at {
        sum += node.value;
        at = &node.next;
    }
    assert_eq!(sum, 4950);
    drop(first);
    assert!(is_whole(&pool));
}

#[test]
fn threads_share_a_pool_and_hand_over_its_blocks() {
    let mut memory = memory(4 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<(u8, Block<'_>)>();
        for seed in 0..4u8 {
            let (sender, pool) = (sender.clone(), &pool);
            scope.spawn(move || {
                for round in 0..500 {
                    let mut block = pool.block(1 + round * 7 % 3000).unwrap();
                    block.fill(seed);
                    sender.send((seed, block)).unwrap();
                }
            });
        }
        drop(sender);
        for (seed, mut block) in receiver {
            assert!(block.iter().all(|&byte| byte == seed));
            block.resize(10).unwrap();
        }
    });
    assert!(is_whole(&pool));
}

#[test]
fn types_can_be_sent_shared_and_unwound_through() {
    fn is_free<T: Send + Sync + UnwindSafe + RefUnwindSafe + std::fmt::Debug>() {}
    fn is_relaxed<R: RelaxStrategy>() {}
    is_free::<Pool<'_>>();
    is_free::<Block<'_>>();
    is_free::<PoolBox<'_, u32>>();
    is_free::<MemoryPool>();
    is_free::<Error>();
    is_relaxed::<Spin>();
}

#[test]
fn a_box_of_a_longer_life_serves_as_one_of_a_shorter() {
    fn shorter<'short>(boxed: PoolBox<'short, &'static str>) -> PoolBox<'short, &'short str> {
        boxed
    }
    let mut memory = memory(4096);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    assert_eq!(*shorter(pool.boxed("word").unwrap()), "word");
}

#[test]
fn misuse_by_raw_pointers_is_still_refused() {
    let mut memory = memory(64 * 1024);
    let pool = Pool::new();
    pool.add_heap(&mut memory).unwrap();
    let block = pool.block(100).unwrap();
    let interior = NonNull::new(block[16..].as_ptr().cast_mut()).unwrap();
    // SAFETY: it is no block of this pool.
    let refused = unsafe { pool.release(interior) };
    assert!(matches!(refused, Err(Error::InteriorPointer { .. })), "{refused:?}");
    assert_eq!(pool.stats().misuses, 1);
}
