use super::*;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

const MIB: usize = 1 << 20;

/// Bytes that were purged of the heap with this backing, whose memory nobody reads.
static PURGED: AtomicUsize = AtomicUsize::new(0);

static COUNTING: Backing = Backing {
    commit: |_, _| true,
    purge: |_, size| {
        PURGED.fetch_add(size, Relaxed);
        true
    },
    decays: |_| true,
    ..BACKING
};

fn pool_with(backing: &'static Backing) -> MemoryPool {
    let pool = MemoryPool::new();
    let reservation = reserve(4 << 30).unwrap();
    // SAFETY: it has just been reserved, is nobody else's, and is given back with the heap.
    unsafe { pool.add_reservation(reservation, backing) }.unwrap();
    pool
}

/// Allocates so many blocks of `size` bytes, releases them, and says how many bytes the longest release purged.
fn most_that_a_release_purges(pool: &MemoryPool, blocks: usize, size: usize) -> usize {
    let blocks: Vec<_> = (0..blocks).map(|_| pool.alloc(size).unwrap()).collect();
    let release = |block| {
        let before = PURGED.load(Relaxed);
        // SAFETY: the block is live, and nobody uses it.
        unsafe { pool.release(block) }.unwrap();
        PURGED.load(Relaxed) - before
    };
    blocks.into_iter().map(release).max().unwrap()
}

#[test]
fn where_free_pages_decay_a_release_purges_in_proportion_to_what_it_releases() {
    let pool = pool_with(&COUNTING);
    for (blocks, size) in [(100_000, 3 << 12), (3_000, MIB / 2), (20, 128 * MIB)] {
        let most = most_that_a_release_purges(&pool, blocks, size);
        assert!(most > 0, "no release of {size} bytes purged anything");
        assert!(most <= 2 * (size + MIB), "a release of {size} bytes purged {most}");
        // The bound that decay can't keep up with, and a few releases more.
        let left = pool.trim();
        assert!(left <= 514 * MIB + 2 * size, "{left} bytes are left");
    }
}

#[test]
fn memory_that_the_system_does_not_take_back_keeps_no_other_from_it() {
    static REFUSING: Backing = Backing {
        purge: |address, _| !(address.addr().get() / (16 * MIB)).is_multiple_of(8),
        ..COUNTING
    };
    let pool = pool_with(&REFUSING);
    let blocks: Vec<_> = (0..1400).map(|_| pool.alloc(MIB).unwrap()).collect();
    // SAFETY: the blocks are live, and nobody uses them.
    blocks.into_iter().for_each(|block| unsafe { pool.release(block) }.unwrap());
    // Of the rest, which the bound is for as well.
    let left = pool.trim();
    assert!(left <= 400 * MIB, "{left} bytes are left");
}

#[test]
fn where_the_system_takes_nothing_back_no_release_asks_it_for_all() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static REFUSING: Backing = Backing {
        purge: |_, _| {
            ASKED.fetch_add(1, Relaxed);
            false
        },
        ..COUNTING
    };
    let pool = pool_with(&REFUSING);
    let blocks: Vec<_> = (0..100_000).map(|_| pool.alloc(3 << 12).unwrap()).collect();
    for &block in blocks.iter().step_by(2).chain(blocks.iter().skip(1).step_by(2)) {
        let before = ASKED.load(Relaxed);
        // SAFETY: the block is live, and nobody uses it.
        unsafe { pool.release(block) }.unwrap();
        let asked = ASKED.load(Relaxed) - before;
        assert!(asked <= 500, "the system was asked {asked} times");
    }
    let asked = ASKED.load(Relaxed);
    assert!((100..200_000).contains(&asked), "the system was asked {asked} times in all");
}
