mod guarded;
mod spot_checked;

use super::find::Block;
use super::*;
use crate::pool::tests::{Pool, add, region};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::prelude::rust_2024::*;

/// A hardened pool over some regions, which are dirty at first.
fn with_pool(sizes: &[usize], test: impl FnOnce(&Pool)) {
    with_guarded_pool(None, sizes, test)
}

fn with_guarded_pool(guards: Option<&'static Guards>, sizes: &[usize], test: impl FnOnce(&Pool)) {
    let mut regions: Vec<_> = sizes.iter().map(|&size| region(size)).collect();
    let mut armoury = Box::new(Armoury {
        key: Key { first: 3, second: 5 },
        roll: None,
        guards,
        quarantine: UnsafeCell::new(Quarantine::new()),
        rack: UnsafeCell::new(Rack::new()),
        early: &[],
        closed: AtomicUsize::new(0),
        stranded: AtomicUsize::new(0),
        misses: AtomicUsize::new(0),
    });
    let pool = Pool::new();
    // SAFETY: the armoury outlives the pool, which nobody else knows.
    unsafe { pool.equip(NonNull::from(&mut *armoury)) };
    regions.iter_mut().for_each(|region| add(&pool, region).unwrap());
    test(&pool);
    drop(pool);
}

fn release(pool: &Pool, block: NonNull<u8>) -> Result<(), Error> {
    // SAFETY: the tests don't use what they have released, but where they say so.
    unsafe { pool.release(block) }
}

const SIZES: [usize; 8] = [0, 1, 16, 100, 1000, 8192, 20_000, 100_000];

/// What is written to the bytes beside a block is found at its release, and by a check.
fn write_beside(pool: &Pool, block: NonNull<u8>, size: usize) {
    let pointer = block.addr().get();
    pool.check().unwrap();
    // SAFETY: both bytes belong to the block's armour.
    let (before, behind) = unsafe { (block.sub(1), block.add(size)) };
    for (byte, error) in [
        (before, Error::Underrun { pointer, size: 0, offset: 0 }),
        (behind, Error::Overrun { pointer, size, offset: 0 }),
    ] {
        // SAFETY: as above.
        unsafe { byte.write(!byte.read()) };
        assert_eq!(release(pool, block), Err(error));
        assert_eq!(pool.check(), Err(error));
        // SAFETY: as above.
        unsafe { byte.write(!byte.read()) };
        pool.check().unwrap();
    }
    release(pool, block).unwrap();
}

#[test]
fn what_was_written_beside_a_block_is_found_at_its_release_and_by_a_check() {
    with_pool(&[1 << 20, 64 << 10], |pool| {
        for size in SIZES {
            write_beside(pool, pool.alloc(size).unwrap(), size);
        }
    });
}

#[test]
fn each_pointer_but_that_of_a_live_block_is_refused() {
    with_pool(&[1 << 20], |pool| {
        for size in SIZES {
            let block = pool.alloc(size).unwrap();
            let pointer = block.addr().get();
            for offset in [1, 15, 16, size / 2, size.saturating_sub(1)] {
                if (1..size).contains(&offset) {
                    // SAFETY: it lies in the block.
                    let inside = unsafe { block.add(offset) };
                    let error =
                        Error::InteriorPointer { pointer: pointer + offset, block: pointer, size };
                    assert_eq!(release(pool, inside), Err(error));
                }
            }
            // SAFETY: it lies in the block's armour.
            let header = unsafe { block.sub(16) };
            let error = Error::NotInPool { pointer: pointer - 16 };
            assert_eq!(release(pool, header), Err(error));
            release(pool, block).unwrap();
            for _ in 0..2 * Quarantine::MOST_BLOCKS {
                assert_eq!(
                    release(pool, block).map_err(|error| error.status()),
                    Err(crate::Status::AlreadyReleased)
                );
                let other = pool.alloc(size).unwrap();
                if other == block {
                    release(pool, other).unwrap();
                    break;
                }
                release(pool, other).unwrap();
            }
        }
        pool.check().unwrap();
    });
}

#[test]
fn a_block_whose_bytes_begin_far_behind_its_header_is_known_when_it_waits() {
    with_pool(&[8 << 20], |pool| {
        let block = pool.alloc_aligned(1 << 20, 100).unwrap();
        let pointer = block.addr().get();
        release(pool, block).unwrap();
        assert_eq!(release(pool, block), Err(Error::AlreadyReleased { pointer, size: 100 }));
        pool.check().unwrap();
        pool.empty_quarantine(pool);
        assert_eq!(pool.stats().misuses, 1);
        let again = pool.alloc_zeroed(3 << 20).unwrap();
        assert_eq!(pool.stats().misuses, 1);
        release(pool, again).unwrap();
    });
}

#[test]
fn memory_waits_before_it_is_used_again() {
    with_pool(&[1 << 20], |pool| {
        let block = pool.alloc(100).unwrap();
        release(pool, block).unwrap();
        for _ in 0..Quarantine::MOST_BLOCKS - 1 {
            let other = pool.alloc(100).unwrap();
            assert_ne!(other, block);
            release(pool, other).unwrap();
        }
    });
}

std::thread_local! {
    /// What was told of as found later.
    static FOUND: core::cell::Cell<Option<Error>> = const { core::cell::Cell::new(None) };
}

#[test]
fn what_was_written_after_a_release_is_found_when_the_memory_is_handed_out_again() {
    set_found_handler(|error| FOUND.set(Some(*error)));
    with_pool(&[4 << 20], |pool| {
        let block = pool.alloc(100).unwrap();
        release(pool, block).unwrap();
        // SAFETY: nobody else uses the memory, which is the test's; that is the point.
        unsafe { block.add(50).write(1) };
        let others: [_; Quarantine::MOST_BLOCKS] =
            core::array::from_fn(|_| pool.alloc(100).unwrap());
        others.iter().for_each(|&other| release(pool, other).unwrap());
        assert_eq!(FOUND.take(), None);
        let found = (0..10_000).find_map(|_| {
            pool.alloc(100).unwrap();
            FOUND.take()
        });
        let pointer = block.addr().get() + 50;
        assert!(
            matches!(found, Some(Error::WrittenAfterRelease { pointer: at, .. }) if at == pointer)
        );
        pool.check().unwrap();
    });
}

#[test]
fn canaries_that_another_thread_has_wiped_are_no_wound() {
    with_pool(&[4 << 20], |pool| {
        for size in SIZES {
            let block = pool.alloc(size).unwrap();
            let pointer = block.addr().get();
            let Ok(Block::Armoured(suit, worn)) = pool.block_at(pool, pointer) else {
                panic!("{pointer:#x} is not found");
            };
            release(pool, block).unwrap();
            let error = Error::AlreadyReleased { pointer, size };
            assert_eq!(pool.accept(suit, &worn, Claim::POOL), Err(error));
        }
    });
}

#[test]
fn few_large_blocks_wait_and_the_largest_do_not() {
    with_pool(&[64 << 20], |pool| {
        for _ in 0..20 {
            release(pool, pool.alloc(100_000).unwrap()).unwrap();
        }
        let waiting = || pool.waiting(&pool.lock()).count();
        assert_eq!(waiting(), 8);
        release(pool, pool.alloc(5 << 20).unwrap()).unwrap();
        assert_eq!((waiting(), pool.stats().live_blocks), (8, 0));
    });
}

#[test]
fn what_was_written_after_a_release_is_found_by_a_check() {
    with_pool(&[4 << 20], |pool| {
        let block = pool.alloc(100).unwrap();
        release(pool, block).unwrap();
        // SAFETY: nobody else uses the memory, which is the test's; that is the point.
        unsafe { block.add(50).write(1) };
        let pointer = block.addr().get() + 50;
        let found = pool.check().unwrap_err();
        assert!(matches!(found, Error::WrittenAfterRelease { pointer: at, .. } if at == pointer));
        // SAFETY: as above.
        unsafe { block.add(50).write(0) };
        pool.check().unwrap();
    });
}

#[test]
fn what_was_written_to_free_memory_is_found_by_a_check() {
    with_pool(&[1 << 20, 64 << 10], |pool| {
        for size in SIZES {
            let block = pool.alloc(size).unwrap();
            release(pool, block).unwrap();
            pool.empty_quarantine(pool);
            pool.check().unwrap();
            // SAFETY: nobody else uses the memory, which is the test's; that is the point.
            unsafe { block.write(1) };
            let pointer = block.addr().get();
            let found = pool.check().unwrap_err();
            assert!(
                matches!(found, Error::WrittenAfterRelease { pointer: at, .. } if at == pointer)
            );
            // SAFETY: as above.
            unsafe { block.write(0) };
        }
        pool.check().unwrap();
    });
}

#[test]
fn objects_are_taken_at_random() {
    with_pool(&[1 << 20], |pool| {
        let blocks: Vec<_> = (0..60).map(|_| pool.alloc(100).unwrap().addr().get()).collect();
        let rising = blocks.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((10..50).contains(&rising), "{rising} of 59 are above the one before");
    });
}

#[test]
fn a_full_heap_takes_what_waits_before_it_fails() {
    with_pool(&[256 << 10], |pool| {
        let mut blocks = Vec::new();
        while let Ok(block) = pool.alloc(1000) {
            blocks.push(block);
        }
        let most = blocks.len();
        for _ in 0..3 {
            blocks.drain(..).for_each(|block| release(pool, block).unwrap());
            while let Ok(block) = pool.alloc(1000) {
                blocks.push(block);
            }
            assert_eq!(blocks.len(), most);
        }
        blocks.drain(..).for_each(|block| release(pool, block).unwrap());
    });
}

#[test]
fn a_block_gets_smaller_in_a_full_heap_without_a_failure() {
    with_pool(&[64 << 10], |pool| {
        let block = pool.alloc(30_000).unwrap();
        for size in [1000, 16, 0] {
            while pool.alloc(size).is_ok() {}
        }
        let failures = pool.stats().failures;
        // SAFETY: the block is live.
        assert_eq!(unsafe { pool.resize(block, 10) }, Ok(block));
        assert_eq!(pool.usable_size(block), Ok(10));
        assert_eq!(pool.stats().failures, failures);
    });
}

#[test]
fn a_refused_allocation_names_the_bytes_that_were_asked_for() {
    with_pool(&[256 << 10], |pool| {
        assert_eq!(pool.alloc(1 << 20), Err(Error::OutOfMemory { size: 1 << 20 }));
        let aligned = pool.alloc_aligned(1 << 20, 1000);
        assert_eq!(aligned, Err(Error::OutOfMemory { size: 1000 }));
        let (size, alignment) = (5, 1 << 63);
        let unheard_of = pool.alloc_aligned(alignment, size);
        assert_eq!(unheard_of, Err(Error::AlignmentOverflow { alignment, size }));
        pool.set_limit(Some(64 << 10));
        let limited = pool.alloc(100_000);
        assert!(matches!(limited, Err(Error::LimitReached { size: 100_000, .. })));
    });
}

#[test]
fn a_heap_whose_blocks_wait_can_be_removed() {
    let mut memory = region(1 << 20);
    with_pool(&[], |pool| {
        add(pool, &mut memory).unwrap();
        let block = pool.alloc(100).unwrap();
        release(pool, block).unwrap();
        pool.remove_heap(memory.as_ptr()).unwrap();
    });
}

#[test]
fn a_removal_that_is_refused_leaves_what_waits() {
    let mut memory = [region(64 << 10), region(64 << 10)];
    with_pool(&[], |pool| {
        let waiting = || pool.waiting(&pool.lock()).collect::<Vec<_>>();
        memory.iter_mut().for_each(|region| add(pool, region).unwrap());
        let [first, second] = [0, 1].map(|index| memory[index].as_ptr());
        let kept = pool.alloc(1000).unwrap();
        for size in [100, 2000] {
            release(pool, pool.alloc(size).unwrap()).unwrap();
        }
        pool.drain_heap(first).unwrap();
        let other = pool.alloc(1000).unwrap();
        assert!(pool.heap_stats(second).unwrap().live_blocks == 1);
        release(pool, other).unwrap();

        let (before, stats) = (waiting(), pool.stats());
        assert_eq!(pool.remove_heap(core::ptr::null()), Err(Error::HeapUnknown { address: 0 }));
        let error = Error::HeapInUse { address: first.addr(), blocks: 1, bytes: 1024 };
        assert_eq!(pool.remove_heap(first), Err(error));
        assert_eq!((waiting(), pool.stats()), (before.clone(), stats));

        release(pool, kept).unwrap();
        pool.remove_heap(first).unwrap();
        assert_eq!(waiting(), before[2..]);
        pool.remove_heap(second).unwrap();
    });
}

#[test]
fn a_reset_forgets_what_waits() {
    with_pool(&[1 << 20], |pool| {
        for _ in 0..3 {
            for size in SIZES {
                let block = pool.alloc(size).unwrap();
                // SAFETY: the block has so many bytes.
                unsafe { block.write_bytes(9, size) };
                if size % 16 == 0 {
                    release(pool, block).unwrap();
                }
            }
            // SAFETY: no block is used any more.
            unsafe { pool.reset() };
            pool.check().unwrap();
            assert_eq!(pool.stats().live_blocks, 0);
        }
    });
}

#[test]
fn a_walk_shows_blocks_as_their_users_know_them() {
    with_pool(&[1 << 20], |pool| {
        let mut live: BTreeMap<_, _> =
            SIZES.iter().map(|&size| (pool.alloc(size).unwrap().as_ptr(), size)).collect();
        release(pool, pool.alloc(77).unwrap()).unwrap();
        pool.walk(|block| {
            if block.state == crate::BlockState::Live {
                assert_eq!(live.remove(&block.address), Some(block.size));
            }
            true
        });
        assert!(live.is_empty());
    });
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize),
    Aligned(u32, usize),
    Zeroed(usize),
    Resize(usize, usize),
    Release(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![0..100usize, 0..5000usize, 0..60_000usize];
    prop_oneof![
        4 => size().prop_map(Step::Alloc),
        1 => (0..14u32, size()).prop_map(|(shift, size)| Step::Aligned(shift, size)),
        1 => size().prop_map(Step::Zeroed),
        3 => (any::<usize>(), size()).prop_map(|(pick, size)| Step::Resize(pick, size)),
        5 => any::<usize>().prop_map(Step::Release),
    ]
}

/// The live blocks: address, bytes, and the byte that each is full of.
#[derive(Default)]
struct Live(Vec<(NonNull<u8>, usize, u8)>);

impl Live {
    fn put(&mut self, block: NonNull<u8>, size: usize) {
        let byte = self.0.len() as u8 ^ 0xa5;
        // SAFETY: the block has so many bytes.
        unsafe { block.write_bytes(byte, size) };
        self.0.push((block, size, byte));
    }

    fn take(&mut self, pick: usize) -> Option<(NonNull<u8>, usize)> {
        let index = pick.checked_rem(self.0.len())?;
        let (block, size, byte) = self.0.swap_remove(index);
        // SAFETY: the block is live and has so many bytes.
        let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), size) };
        assert!(bytes.iter().all(|&found| found == byte));
        Some((block, size))
    }
}

#[test]
fn an_aligned_block_needs_no_block_of_its_alignment() {
    with_pool(&[2 << 20], |pool| {
        let block = pool.alloc_aligned(64, 1 << 20).unwrap();
        assert!(block.addr().get().is_multiple_of(64));
        release(pool, block).unwrap();
    });
    // Each block is as far from the next multiple as it can be.
    with_pool(&[4 << 20], |pool| {
        for shift in 4..17 {
            for size in [0, 1, 100, 5000, 20_000] {
                let block = pool.alloc_aligned(1 << shift, size).unwrap();
                assert!(block.addr().get().is_multiple_of(1 << shift));
                // SAFETY: the block has so many bytes.
                unsafe { block.write_bytes(1, size) };
                pool.alloc(16).unwrap();
                pool.check().unwrap();
                // SAFETY: the block is live.
                let block = unsafe { pool.resize(block, size / 2 + 10) }.unwrap();
                assert_eq!(pool.usable_size(block), Ok(size / 2 + 10));
                pool.check().unwrap();
                release(pool, block).unwrap();
            }
        }
        pool.check().unwrap();
        assert_eq!(pool.stats().misuses, 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn blocks_keep_their_bytes_and_their_sizes(
        heaps in prop::collection::vec(20_000..2_000_000usize, 1..3),
        steps in prop::collection::vec(step(), 1..400),
    ) {
        with_pool(&heaps, |pool| {
            let mut live = Live::default();
            for step in steps {
                match step {
                    Step::Alloc(size) => {
                        if let Ok(block) = pool.alloc(size) {
                            assert_eq!(pool.usable_size(block), Ok(size));
                            live.put(block, size);
                        }
                    }
                    Step::Aligned(shift, size) => {
                        if let Ok(block) = pool.alloc_aligned(1 << shift, size) {
                            assert_eq!(block.addr().get() % (1 << shift), 0);
                            live.put(block, size);
                        }
                    }
                    Step::Zeroed(size) => {
                        if let Ok(block) = pool.alloc_zeroed(size) {
                            // SAFETY: the block is live and has so many bytes.
                            let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), size) };
                            assert!(bytes.iter().all(|&byte| byte == 0));
                            live.put(block, size);
                        }
                    }
                    Step::Resize(pick, size) => {
                        if let Some((block, old_size)) = live.take(pick) {
                            // SAFETY: the old address is not used any more if it moves.
                            let (block, size) = match unsafe { pool.resize(block, size) } {
                                Ok(block) => (block, size),
                                Err(_) => (block, old_size),
                            };
                            live.put(block, size);
                        }
                    }
                    Step::Release(pick) => {
                        if let Some((block, _)) = live.take(pick) {
                            release(pool, block).unwrap();
                        }
                    }
                }
                pool.check().unwrap();
            }
            while let Some((block, size)) = live.take(0) {
                // SAFETY: the block is not used any more.
                unsafe { pool.release_sized(block, size) }.unwrap();
            }
            pool.empty_quarantine(pool);
            assert_eq!(pool.stats().live_blocks, 0);
        });
    }
}
