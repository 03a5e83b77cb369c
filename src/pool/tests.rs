use super::*;
use crate::error::Status;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) type Pool = MemoryPool<spin::Spin>;

/// Memory for a heap, at an odd distance from any alignment.
pub(super) fn region(size: usize) -> Box<[u8]> {
    vec![0xA5; size].into_boxed_slice()
}

pub(super) fn add(pool: &Pool, region: &mut [u8]) -> Result<(), Error> {
    // SAFETY: in each test the regions outlive the pool, and only the pool's blocks are used.
    unsafe { pool.add_heap(region.as_mut_ptr(), region.len()) }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(usize),
    AllocAligned(u8, usize),
    AllocZeroed(usize),
    Resize(usize, usize),
    Release(usize),
    Misuse(usize, usize),
    AllocMany(usize, usize),
    Trim,
    RemoveHeap(usize),
    AddHeap(usize),
    Drain(usize),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![0..200usize, 0..5000usize, 0..200_000usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => size().prop_map(Step::Alloc),
        2 => (0..16u8, size()).prop_map(|(shift, size)| Step::AllocAligned(shift, size)),
        1 => size().prop_map(Step::AllocZeroed),
        4 => (any::<usize>(), size()).prop_map(|(pick, size)| Step::Resize(pick, size)),
        6 => any::<usize>().prop_map(Step::Release),
        2 => (any::<usize>(), 1..300_000usize).prop_map(|(pick, by)| Step::Misuse(pick, by)),
        1 => (0..2000usize, 1..40usize).prop_map(|(size, count)| Step::AllocMany(size, count)),
        1 => Just(Step::Trim),
        1 => any::<usize>().prop_map(Step::RemoveHeap),
        1 => any::<usize>().prop_map(Step::AddHeap),
        1 => any::<usize>().prop_map(Step::Drain),
    ]
}

/// What a program that uses the pool knows: its blocks, by address, each filled with one byte.
#[derive(Default)]
struct Model {
    blocks: BTreeMap<usize, Block>,
    allocations: u64,
}

#[derive(Clone, Copy)]
struct Block {
    pointer: NonNull<u8>,
    size: usize,
    fill: u8,
}

impl Block {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block is live and has that many bytes, which were written when it was made.
        unsafe { core::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.size) }
    }
}

impl Model {
    fn insert(&mut self, pool: &Pool, pointer: NonNull<u8>, size: usize) {
        let usable = pool.usable_size(pointer).unwrap();
        assert!(usable >= size.max(1));
        let address = pointer.addr().get();
        assert!(address.is_multiple_of(MIN_ALIGNMENT));
        let below = self.blocks.range(..address + usable).next_back();
        let free = below.is_none_or(|(&start, block)| start + block.size.max(1) <= address);
        assert!(free, "a new block overlaps a live one");
        let fill = (self.allocations % 251) as u8;
        // All that is usable, so that what the pool keeps beside a block shows.
        // SAFETY: the block is live and new.
        unsafe { pointer.write_bytes(fill, usable) };
        self.blocks.insert(address, Block { pointer, size: usable, fill });
    }

    fn pick(&self, pick: usize) -> Option<Block> {
        self.blocks.values().nth(pick % self.blocks.len().max(1)).copied()
    }

    fn take(&mut self, block: Block) {
        self.blocks.remove(&block.pointer.addr().get());
    }

    fn contents_are_kept(&mut self) -> bool {
        self.blocks.values_mut().all(|block| {
            let fill = block.fill;
            block.bytes().iter().all(|&byte| byte == fill)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_does_what_a_simple_model_does(
        sizes in prop::collection::vec(prop_oneof![900..9000usize, 40_000..300_000usize, 1_100_000..1_400_000usize], 1..4),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut regions: Vec<_> = sizes.iter().map(|&size| region(size)).collect();
        let pool = Pool::new();
        let mut present = vec![true; regions.len()];
        for region in &mut regions {
            add(&pool, &mut region[1..]).unwrap();
        }
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Alloc(size) => if let Ok(block) = pool.alloc(size) {
                    model.allocations += 1;
                    model.insert(&pool, block, size);
                },
                Step::AllocAligned(shift, size) => if let Ok(block) = pool.alloc_aligned(1 << shift, size) {
                    prop_assert!(block.addr().get().is_multiple_of(1 << shift));
                    model.allocations += 1;
                    model.insert(&pool, block, size);
                },
                Step::AllocZeroed(size) => if let Ok(block) = pool.alloc_zeroed(size) {
                    // SAFETY: the block has that many bytes, all of them written.
                    let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), size) };
                    prop_assert!(bytes.iter().all(|&byte| byte == 0));
                    model.allocations += 1;
                    model.insert(&pool, block, size);
                },
                Step::Resize(pick, size) => if let Some(old) = model.pick(pick) {
                    // SAFETY: the block is live, and its old address is given up.
                    if let Ok(block) = unsafe { pool.resize(old.pointer, size) } {
                        // SAFETY: so many bytes of the block were written to before.
                        let kept = unsafe {
                            core::slice::from_raw_parts(block.as_ptr(), old.size.min(size))
                        };
                        prop_assert!(kept.iter().all(|&byte| byte == old.fill));
                        model.take(old);
                        model.allocations += u64::from(block != old.pointer);
                        model.insert(&pool, block, size);
                    }
                },
                Step::Release(pick) => if let Some(block) = model.pick(pick) {
                    model.take(block);
                    // SAFETY: the block is live, and not used any more.
                    prop_assert_eq!(unsafe { pool.release(block.pointer) }, Ok(()));
                    // SAFETY: what isn't live is refused.
                    let again = unsafe { pool.release(block.pointer) };
                    prop_assert_eq!(again.unwrap_err().status(), Status::AlreadyReleased);
                },
                Step::Misuse(pick, by) => if let Some(block) = model.pick(pick) {
                    let before = pool.stats();
                    let wrong = block.pointer.as_ptr().wrapping_add(by % block.size);
                    if wrong != block.pointer.as_ptr() {
                        // SAFETY: what isn't live is refused.
                        let refused = unsafe { pool.release(NonNull::new(wrong).unwrap()) };
                        prop_assert_eq!(refused.unwrap_err().status(), Status::InteriorPointer);
                        prop_assert_eq!(PoolStats { misuses: before.misuses + 1, ..before }, pool.stats());
                    }
                },
                Step::AllocMany(size, count) => {
                    let mut blocks = vec![core::ptr::null_mut(); count];
                    let (filled, result) = pool.alloc_many(size, &mut blocks);
                    prop_assert_eq!(result.is_ok(), filled == count);
                    for &block in &blocks[..filled] {
                        model.allocations += 1;
                        model.insert(&pool, NonNull::new(block).unwrap(), size);
                    }
                    let mut every_other: Vec<_> = blocks.iter().step_by(2).copied().collect();
                    for &block in every_other.iter().filter(|block| !block.is_null()) {
                        model.blocks.remove(&block.addr());
                    }
                    // SAFETY: they are live or null, and not used any more.
                    let (through, result) = unsafe { pool.release_many(&mut every_other) };
                    prop_assert_eq!((through, result), (every_other.len(), Ok(())));
                }
                Step::Trim => { pool.trim(); }
                Step::RemoveHeap(pick) => {
                    let index = pick % regions.len();
                    let start = regions[index].as_ptr().addr();
                    let inside = start..start + regions[index].len();
                    let used = model.blocks.range(inside).count();
                    let lost = pool.heap_stats(&regions[index][1]);
                    let removed = pool.remove_heap(&regions[index][1]);
                    match (present[index], used) {
                        (false, _) => prop_assert_eq!(removed.unwrap_err().status(), Status::HeapUnknown),
                        (true, 0) => {
                            prop_assert_eq!(removed, Ok(()));
                            prop_assert_eq!(lost.unwrap().live_blocks, 0);
                            present[index] = false;
                            // What the statistics count is of the heaps that the pool has.
                            model.allocations = pool.stats().allocations;
                        }
                        (true, _) => {
                            let in_use = matches!(removed, Err(Error::HeapInUse { blocks, .. }) if blocks == used);
                            prop_assert!(in_use);
                        }
                    }
                }
                Step::AddHeap(pick) => {
                    let index = pick % regions.len();
                    let added = add(&pool, &mut regions[index][1..]);
                    prop_assert_eq!(added.is_ok(), !present[index]);
                    present[index] = true;
                }
                Step::Drain(pick) => {
                    let index = pick % regions.len();
                    prop_assert_eq!(pool.drain_heap(&regions[index][1]).is_ok(), present[index]);
                    if present[index] && model.blocks.len() < 4 {
                        let stats = pool.heap_stats(&regions[index][1]).unwrap();
                        if stats.live_blocks == 0 {
                            prop_assert_eq!(pool.remove_heap(&regions[index][1]), Ok(()));
                            present[index] = false;
                            model.allocations = pool.stats().allocations;
                        }
                    }
                }
            }
            prop_assert_eq!(pool.check(), Ok(()));
            let stats = pool.stats();
            prop_assert_eq!(stats.live_blocks, model.blocks.len());
            prop_assert_eq!(stats.live_bytes, model.blocks.values().map(|block| block.size).sum::<usize>());
            prop_assert_eq!(stats.allocations, model.allocations);
            prop_assert_eq!(stats.heaps, present.iter().filter(|&&present| present).count());
        }
        prop_assert!(model.contents_are_kept());
        let mut walked = Vec::new();
        pool.walk(|block| {
            if block.state == BlockState::Live {
                walked.push((block.address.addr(), block.size));
            }
            true
        });
        let known: Vec<_> = model.blocks.iter().map(|(&address, block)| (address, block.size)).collect();
        prop_assert_eq!(walked, known);
        for block in model.blocks.values() {
            // SAFETY: the block is live, and not used any more.
            prop_assert_eq!(unsafe { pool.release(block.pointer) }, Ok(()));
        }
        pool.trim();
        let stats = pool.stats();
        prop_assert_eq!((stats.live_blocks, stats.live_bytes, stats.used_bytes), (0, 0, 0));
        prop_assert_eq!(pool.check(), Ok(()));
        for (region, present) in regions.iter().zip(present) {
            prop_assert_eq!(pool.remove_heap(&region[1]).is_ok(), present);
        }
    }
}

#[test]
fn heaps_of_every_small_size_are_refused_or_usable_and_nothing_outside_is_touched() {
    for size in 0..3000 {
        let mut memory = region(size + 64);
        let pool = Pool::new();
        match add(&pool, &mut memory[32..32 + size]) {
            Ok(()) => {
                let block = pool.alloc(16).unwrap();
                // SAFETY: the block has 16 bytes, and is not used after its release.
                unsafe {
                    block.write_bytes(1, 16);
                    assert_eq!(pool.release(block), Ok(()));
                }
                assert_eq!(pool.check(), Ok(()));
            }
            Err(error) => {
                assert_eq!(error.status(), Status::HeapTooSmall);
                assert!(size < 600, "{size} bytes are refused");
            }
        }
        drop(pool);
        let outside = memory[..32].iter().chain(&memory[32 + size..]);
        assert!(outside.into_iter().all(|&byte| byte == 0xA5));
    }
}

#[test]
fn a_region_at_the_end_of_the_address_space_is_refused() {
    let pool = Pool::new();
    for from_end in (0..200).chain([4096, 65_536, 1 << 20, 1 << 24]) {
        for size in
            [1, 16, from_end / 2, from_end, from_end + 1, from_end + 2, MAX_SIZE, usize::MAX]
        {
            let start = core::ptr::without_provenance_mut(usize::MAX - from_end);
            if size > 400 && size <= from_end {
                continue;
            }
            // SAFETY: no heap can be made there, so that nothing is read or written.
            let refused = unsafe { pool.add_heap(start, size) }.unwrap_err().status();
            let wraps = size > from_end;
            assert_eq!(refused == Status::HeapWraps, wraps, "{size} bytes {from_end} from the end");
        }
    }
}

fn call_back(pool: &Pool, _: usize, [calls, ..]: Context) -> bool {
    // SAFETY: the context is the test's counter.
    unsafe { *calls.cast::<u32>() += 1 };
    // What is left is too little for this, so that the callback would be called again.
    assert!(pool.alloc(8000).is_err());
    true
}

#[test]
fn a_callback_that_runs_out_of_memory_itself_ends() {
    let mut memory = region(8000);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    let mut calls = 0u32;
    let context = [(&raw mut calls).cast(), core::ptr::null_mut(), core::ptr::null_mut()];
    // SAFETY: the counter outlives the last allocation.
    unsafe {
        pool.set_grow_callback(Some(call_back), context);
        pool.set_low_memory_callback(
            0,
            Some(|pool, free, context| _ = call_back(pool, free, context)),
            context,
        );
    }
    assert_eq!(pool.alloc(8000).unwrap_err().status(), Status::OutOfMemory);
    assert!(calls >= 2);
    assert_eq!(pool.check(), Ok(()));
}

#[test]
fn a_region_larger_than_any_heap_does_not_wrap() {
    let pool = Pool::new();
    for size in [MAX_SIZE + 1, usize::MAX - 16] {
        // SAFETY: the size is refused, so that nothing is read or written.
        let refused = unsafe { pool.add_heap(core::ptr::without_provenance_mut(16), size) };
        assert_eq!(refused, Err(Error::SizeOverflow { count: 1, size }));
    }
}

#[test]
fn a_limit_that_is_reached_is_told_with_the_bytes_that_would_be_taken() {
    let mut memory = region(60_000);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    pool.set_limit(Some(48));
    let error = Error::LimitReached { size: 40, needed: 64, used: 0, limit: 48 };
    assert_eq!(pool.alloc(40), Err(error));
}

fn count_call(_: &Pool, _: usize, [calls, ..]: Context) {
    // SAFETY: the context is the test's counter.
    unsafe { *calls.cast::<u32>() += 1 };
}

/// Has the pool tell once what falls below the bytes that are free now; the answer says how often it has since.
fn told_of_less(pool: &Pool) -> impl FnMut() -> u32 + use<> {
    let calls = Box::into_raw(Box::new(0u32));
    let context = [calls.cast(), core::ptr::null_mut(), core::ptr::null_mut()];
    // SAFETY: the counter is never freed.
    unsafe {
        pool.set_low_memory_callback(pool.stats().free_bytes, Some(count_call), context);
        move || calls.replace(0)
    }
}

#[test]
fn a_resize_that_takes_memory_warns_wherever_it_takes_it() {
    let mut memory = region(4 << 20);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    // The last one stays where it is, and with it the span.
    let blocks: [_; 3] = core::array::from_fn(|_| pool.alloc(8000).unwrap());
    let run = pool.alloc(1 << 20).unwrap();
    let mut told = told_of_less(&pool);
    // SAFETY: the blocks are live, and their old addresses not used any more.
    unsafe {
        // To another place, smaller.
        pool.resize(blocks[0], 16).unwrap();
        assert_eq!(told(), 1);
        pool.resize(blocks[1], 17).unwrap();
        assert_eq!(told(), 0);
        let mut told = told_of_less(&pool);
        pool.resize(run, (1 << 20) + 1).unwrap();
        assert_eq!(told(), 1);
    }
}

#[test]
fn the_removal_of_a_heap_warns() {
    let mut memory = [region(100_000), region(100_000)];
    let pool = Pool::new();
    memory.iter_mut().for_each(|region| add(&pool, region).unwrap());
    let mut told = told_of_less(&pool);
    pool.remove_heap(memory[1].as_ptr()).unwrap();
    assert_eq!(told(), 1);
    pool.alloc(100).unwrap();
    assert_eq!(told(), 0);
}

#[test]
fn a_warning_that_too_many_callbacks_are_in_the_way_of_comes_later() {
    let mut memory = region(100_000);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    let mut told = told_of_less(&pool);
    while pool.lock().enter_callback() {}
    pool.alloc(1000).unwrap();
    assert_eq!(told(), 0);
    pool.lock().callbacks = 0;
    pool.alloc(1000).unwrap();
    assert_eq!(told(), 1);
    pool.alloc(1000).unwrap();
    assert_eq!((told(), pool.lock().callbacks), (0, 0));
}

fn release_it(pool: &Pool, _: usize, [block, ..]: Context) {
    // SAFETY: the context is a block of the test's, which is not used any more; a second release is refused.
    _ = unsafe { pool.release(NonNull::new(block.cast()).unwrap()) };
}

#[test]
fn a_resize_that_succeeds_at_last_is_no_failure() {
    let mut memory = region(60_000);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    let blocks: Vec<_> = core::iter::from_fn(|| pool.alloc(4096).ok()).collect();
    while pool.alloc(16).is_ok() {}
    let grows = |block: &&NonNull<u8>| {
        block.addr().get().is_multiple_of(8192)
            && blocks.iter().any(|next| next.addr().get() == block.addr().get() + 4096)
    };
    let block = *blocks.iter().find(grows).unwrap();
    // SAFETY: it lies in the heap.
    let next = unsafe { block.add(4096) };
    let null = core::ptr::null_mut();
    // SAFETY: the function can be called from any thread.
    unsafe {
        pool.set_low_memory_callback(0, Some(release_it), [next.as_ptr().cast(), null, null])
    };
    let failures = pool.stats().failures;
    // SAFETY: the block is live.
    unsafe {
        assert_eq!(pool.resize(block, 8192), Ok(block));
        assert_eq!(pool.stats().failures, failures);
        assert!(pool.resize(block, 16_384).is_err());
    }
    assert_eq!(pool.stats().failures, failures + 1);
}

fn add_what_is_needed(pool: &Pool, needed: usize, [heaps, ..]: Context) -> bool {
    // SAFETY: the context is the test's list of regions.
    let heaps = unsafe { &mut *heaps.cast::<Vec<Box<[u8]>>>() };
    let mut memory = region(needed + 1);
    let added = add(pool, &mut memory[1..]);
    heaps.push(memory);
    added.is_ok()
}

#[test]
fn a_heap_of_the_bytes_needed_serves_the_request() {
    let sizes =
        [0, 1, 31, 100, 600, 4000, 5000, 8192, 8193, 60_000, 131_072, 600_000, 1 << 20, 3 << 20];
    for size in sizes {
        for alignment in (0..=20).step_by(4).map(|shift| 1 << shift) {
            let mut heaps = Vec::<Box<[u8]>>::new();
            let pool = Pool::new();
            let null = core::ptr::null_mut();
            // SAFETY: the list outlives the pool.
            unsafe {
                pool.set_grow_callback(
                    Some(add_what_is_needed),
                    [(&raw mut heaps).cast(), null, null],
                )
            };
            assert!(pool.alloc_aligned(alignment, size).is_ok(), "{size} at {alignment}");
            assert_eq!(pool.stats().heaps, 1, "{size} at {alignment}");
            drop(pool);
        }
    }
}

#[test]
fn a_limit_does_not_hide_that_no_heap_is_large_enough() {
    let (mut small, mut large) = (region(100_000), region(3_000_000));
    let pool = Pool::new();
    add(&pool, &mut small).unwrap();
    pool.set_limit(Some(1 << 30));
    assert_eq!(pool.alloc(2_000_000).unwrap_err().status(), Status::OutOfMemory);
    add(&pool, &mut large).unwrap();
    assert!(pool.alloc(2_000_000).is_ok());
}

#[test]
fn a_block_that_cannot_move_still_gives_back_its_tail() {
    let mut memory = region(1 << 21);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    let block = pool.alloc(1_000_000).unwrap();
    pool.set_limit(Some(pool.stats().used_bytes));
    // SAFETY: the block is live.
    assert_eq!(unsafe { pool.resize(block, 100) }, Ok(block));
    assert_eq!(pool.usable_size(block), Ok(4096));
    let stats = pool.stats();
    assert_eq!((stats.used_bytes, stats.failures), (4096, 0));
    assert_eq!(pool.check(), Ok(()));
}

#[test]
fn metadata_takes_at_most_4_percent_from_64_kib_on() {
    for size in (16..27).flat_map(|shift| [1usize << shift, (1 << shift) * 3 / 2]) {
        let mut memory = region(size);
        let pool = Pool::new();
        add(&pool, &mut memory).unwrap();
        let stats = pool.stats();
        assert!((size - stats.capacity_bytes) * 25 <= size, "{size}: {stats:?}");
    }
}

#[test]
fn a_pointer_of_another_pool_is_told_from_one_of_none() {
    let (mut first, mut second) = (region(10_000), region(10_000));
    let (mine, other) = (Pool::new(), Pool::new());
    add(&mine, &mut first).unwrap();
    add(&other, &mut second).unwrap();
    let block = other.alloc(100).unwrap();
    // SAFETY: what isn't a live block of the pool is refused.
    let status = |pointer| unsafe { mine.release(pointer) }.unwrap_err().status();
    assert_eq!(status(block), Status::OtherPool);
    assert_eq!(status(NonNull::from(&mut [0u8; 16]).cast()), Status::NotInPool);
    drop(other);
    assert_eq!(status(block), Status::NotInPool);
}

#[test]
fn a_heap_may_lie_in_a_block_of_another_pool_but_not_across_its_heap() {
    let mut memory = region(40_000);
    let (outer, inner) = (Pool::new(), Pool::new());
    add(&outer, &mut memory[..30_000]).unwrap();
    let block = outer.alloc(8192).unwrap();
    // SAFETY: the block is live until the inner pool is dropped, and only the inner pool uses it.
    unsafe { inner.add_heap(block.as_ptr(), 8192) }.unwrap();
    let nested = inner.alloc(100).unwrap();
    // SAFETY: what isn't a live block of the pool is refused.
    let refused = unsafe { outer.release(nested) };
    assert_eq!(refused.unwrap_err().status(), Status::InteriorPointer);
    for across in [0..30_000, 0..1_000, 20_000..40_000] {
        let refused = add(&inner, &mut memory[across]);
        assert_eq!(refused.unwrap_err().status(), Status::HeapOverlaps);
    }
    add(&inner, &mut memory[30_000..]).unwrap();
    drop(inner);
    assert_eq!(outer.check(), Ok(()));
}

#[test]
fn a_heap_may_lie_among_the_granules_of_another_pool_but_not_on_its_metadata() {
    for size in [20_000, 200_000, 2_000_000] {
        let mut memory = region(size);
        let (outer, inner) = (Pool::new(), Pool::new());
        add(&outer, &mut memory).unwrap();
        let mut first = 0;
        outer.walk(|block| {
            first = block.address.addr() - memory.as_ptr().addr();
            false
        });
        for start in (1..first).step_by(61) {
            let refused = add(&inner, &mut memory[start..start + 8192]);
            assert_eq!(refused.unwrap_err().status(), Status::HeapOverlaps, "{start} of {first}");
        }
        add(&inner, &mut memory[first..first + 8192]).unwrap();
        assert_eq!(outer.check(), Ok(()));
        drop(inner);
    }
}

#[test]
fn of_two_pools_that_are_handed_the_same_memory_at_once_one_gets_it() {
    let mut memory = region(20_000);
    let start = NonNull::from(&mut memory[..]).cast::<u8>();
    let (address, size) = (start.addr().get(), memory.len());
    let (first, second) = (Pool::new(), Pool::new());
    let second = &second;
    let (begins, has_begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let mut late = None;
        let added = first.lock().add_heap(address, size, true, || {
            late = Some(scope.spawn(move || {
                begins.send(()).unwrap();
                second.lock().add_heap(address, size, true, || unreachable!("it is not free"))
            }));
            has_begun.recv().unwrap();
            // Time enough for it to look, if it could.
            std::thread::sleep(core::time::Duration::from_millis(50));
            // SAFETY: the memory outlives the pool.
            unsafe { Heap::in_region(start, size) }
        });
        assert_eq!(added, Ok(()));
        let refused = late.unwrap().join().unwrap().unwrap_err();
        let (other, other_size) = (address, size);
        assert_eq!(refused, Error::HeapOverlaps { address, size, other, other_size });
    });
    assert_eq!(first.check(), Ok(()));
    drop(first);
}

#[test]
fn a_thousand_heaps_are_found_by_address() {
    let mut regions: Vec<_> = (0..1000).map(|_| region(2048)).collect();
    let pool = Pool::new();
    for region in &mut regions {
        add(&pool, region).unwrap();
    }
    assert_eq!(pool.check(), Ok(()));
    let blocks: Vec<_> = core::iter::from_fn(|| pool.alloc(600).ok()).collect();
    assert!(blocks.len() >= 1000);
    for &block in blocks.iter().step_by(2).chain(blocks.iter().skip(1).step_by(2)) {
        // SAFETY: the block is live, and not used any more.
        assert_eq!(unsafe { pool.release(block) }, Ok(()));
    }
    for region in regions.iter().rev().step_by(2) {
        assert_eq!(pool.remove_heap(region.as_ptr()), Ok(()));
    }
    assert_eq!(pool.stats().heaps, 500);
    assert_eq!(pool.check(), Ok(()));
}

#[test]
fn the_limit_counts_granules_and_is_told_from_want_of_memory() {
    let mut memory = region(1 << 21);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    pool.set_limit(Some(256 << 10));
    let blocks: Vec<_> = core::iter::from_fn(|| pool.alloc(1000).ok()).collect();
    assert!((240..=256).contains(&blocks.len()));
    assert_eq!(pool.alloc(1000).unwrap_err().status(), Status::LimitReached);
    assert_eq!(pool.alloc(4 << 20).unwrap_err().status(), Status::LimitReached);
    pool.set_limit(None);
    assert!(pool.alloc(1000).is_ok());
    assert_eq!(pool.alloc(4 << 20).unwrap_err().status(), Status::OutOfMemory);
    assert_eq!(pool.check(), Ok(()));
}

#[test]
fn the_largest_sizes_and_alignments_are_refused_and_change_nothing() {
    let mut memory = region(2_000_000);
    let pool = Pool::new();
    add(&pool, &mut memory).unwrap();
    let (object, run) = (pool.alloc(100).unwrap(), pool.alloc(20_000).unwrap());
    let before = pool.stats();
    let sizes = (21..64).flat_map(|shift| [1usize << shift, (1 << shift) + 1]);
    for size in sizes.chain([MAX_SIZE, usize::MAX]) {
        // SAFETY: a refused block stays as it is.
        let resized = unsafe { [pool.resize(object, size), pool.resize(run, size)] };
        assert!(resized.iter().all(Result::is_err), "{size}");
        assert!(pool.alloc(size).is_err() && pool.alloc_zeroed(size).is_err(), "{size}");
    }
    for alignment in (22..64).map(|shift| 1 << shift) {
        // One place of the heap may happen to be a multiple of that.
        if let Ok(block) = pool.alloc_aligned(alignment, 1) {
            assert!(block.addr().get().is_multiple_of(alignment));
            // SAFETY: the block is live, and not used any more.
            assert_eq!(unsafe { pool.release(block) }, Ok(()));
        }
        let alignment = alignment + 1;
        assert_eq!(pool.alloc_aligned(alignment, 1), Err(Error::BadAlignment { alignment }));
    }
    let after = pool.stats();
    assert_eq!((after.live_blocks, after.live_bytes), (before.live_blocks, before.live_bytes));
    assert_eq!(pool.check(), Ok(()));
}

#[test]
fn a_full_pool_serves_again_once_something_is_released() {
    for size in [1, 16, 100, 1000, 8192, 8193, 50_000] {
        let mut memory = region(2_000_000);
        let pool = Pool::new();
        add(&pool, &mut memory).unwrap();
        let blocks: Vec<_> = core::iter::from_fn(|| pool.alloc(size).ok()).collect();
        for &block in &blocks {
            // SAFETY: the block is live, and not used any more.
            assert_eq!(unsafe { pool.release(block) }, Ok(()));
            assert!(pool.alloc(size).is_ok(), "nothing is lost at {size} bytes");
        }
        assert_eq!(pool.stats().failures, 1);
    }
}

#[test]
fn a_block_of_any_alignment_is_resized_where_it_is() {
    use std::alloc::{GlobalAlloc, Layout};
    let (mut region, pool) = (region(64 << 10), Pool::new());
    add(&pool, &mut region).unwrap();
    for alignment in [16, 64, 1024] {
        let layout = |size| Layout::from_size_align(size, alignment).unwrap();
        // SAFETY: the block is used as its layouts say.
        unsafe {
            let block = pool.alloc_layout_zeroed(layout(20_000)).unwrap().as_ptr();
            assert_eq!(pool.realloc(block, layout(20_000), 30_000), block);
            let used = pool.stats().used_bytes;
            assert_eq!(pool.realloc(block, layout(30_000), 20_000), block);
            assert!(pool.stats().used_bytes <= used - 8_000);
            let too_large = pool.realloc(block, layout(20_000), 64 << 10);
            assert!(too_large.is_null());
            pool.dealloc(block, layout(20_000));
        }
        assert_eq!(pool.stats().used_bytes, 0);
        pool.check().unwrap();
    }
    assert_eq!(pool.stats().failures, 3);
}

#[test]
fn a_callback_that_panics_ends_the_program() {
    const CHILD: &str = "HEAPMASTER_TEST_PANICS";
    unsafe fn panic(_: &Pool, _: usize, _: Context) {
        panic!("what the callback says");
    }
    if std::env::var_os(CHILD).is_some() {
        let pool = Pool::new();
        // SAFETY: it may be called, although it must not panic.
        unsafe { pool.set_low_memory_callback(1, Some(panic), [null_mut(); 3]) };
        let _ = std::panic::catch_unwind(|| pool.alloc(1));
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .arg("pool::tests::a_callback_that_panics_ends_the_program")
        .args(["--exact", "--nocapture"]);
    let output = child.env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("what the callback says") && said.contains("must not unwind"), "{said}");
}
