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

/// What each of two tests has moved.
static MOVES: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

const fn moving<const TEST: usize>() -> Backing {
    let move_pages = |from, to, size| {
        // SAFETY: the caller's promise.
        let moved = unsafe { os::move_pages(from, to, size) };
        MOVES[TEST].fetch_add(usize::from(moved), Relaxed);
        moved
    };
    Backing { move_pages, ..BACKING }
}

/// Whether the system moves pages at all: Linux does from 5.7 on, but not under valgrind.
fn system_moves_pages() -> bool {
    let reservation = reserve(MIB).unwrap();
    let (from, size) = (reservation.memory, os::page_size());
    // SAFETY: it has just been reserved, is nobody else's, and is not used after its release.
    unsafe {
        assert!(os::commit(from, MIB));
        from.write(7);
        let to = from.add(MIB / 2);
        let moves = os::move_pages(from, to, size);
        assert_eq!([from.read(), to.read()], if moves { [0, 7] } else { [7, 0] });
        release(reservation);
        moves
    }
}

#[test]
fn nothing_but_whole_pages_is_moved_or_renewed() {
    let reservation = reserve(MIB).unwrap();
    let (memory, page) = (reservation.memory, os::page_size());
    // SAFETY: it has just been reserved, is nobody else's, and is not used after its release.
    unsafe {
        assert!(os::commit(memory, MIB));
        memory.write_bytes(7, 4 * page);
        for (from, to, size) in
            [(0, 8 * page, page + 16), (16, 8 * page, page), (0, 8 * page + 16, page)]
        {
            assert!(!os::move_pages(memory.add(from), memory.add(to), size));
        }
        assert!(!os::renew(memory, page + 16) && !os::renew(memory.add(16), page));
        assert!((0..4 * page).all(|offset| memory.add(offset).read() == 7));
        assert!(os::renew(memory, page));
        assert_eq!([0, page].map(|offset| memory.add(offset).read()), [0, 7]);
        release(reservation);
    }
}

/// A block of which each page tells whose it is.
struct Vector {
    block: NonNull<u8>,
    size: usize,
    number: usize,
}

impl Vector {
    fn new(pool: &MemoryPool, size: usize, number: usize) -> Vector {
        let vector = Vector { block: pool.alloc(size).unwrap(), size, number };
        vector.mark(0);
        vector
    }

    fn marks(&self) -> impl Iterator<Item = (NonNull<usize>, usize)> {
        // SAFETY: they are in the block.
        let mark = |offset| (unsafe { self.block.add(offset) }.cast(), self.number + offset);
        (0..self.size).step_by(4096).map(mark)
    }

    /// Marks the pages from `start` on.
    fn mark(&self, start: usize) {
        // SAFETY: they are in the block, which is ours.
        self.marks().skip(start.div_ceil(4096)).for_each(|(at, mark)| unsafe { at.write(mark) });
    }

    fn grow(&mut self, pool: &MemoryPool, size: usize) {
        // SAFETY: the block is live, and its old address not used any more.
        self.block = unsafe { pool.resize(self.block, size) }.unwrap();
        let old_size = core::mem::replace(&mut self.size, size);
        self.mark(old_size);
    }

    fn release(self, pool: &MemoryPool) {
        // SAFETY: the marks are in the block, which is live, and nobody uses it.
        unsafe {
            assert!(self.marks().all(|(at, mark)| at.read() == mark));
            pool.release(self.block).unwrap();
        }
    }
}

#[test]
fn what_grows_in_turns_moves_with_its_pages() {
    static MOVING: Backing = moving::<0>();
    let pool = pool_with(&MOVING);
    let mut vectors = [1, 2, 3].map(|number| Vector::new(&pool, MIB / 2, number));
    for size in (0..7).map(|doublings| MIB << doublings) {
        vectors.iter_mut().for_each(|vector| vector.grow(&pool, size));
        pool.check().unwrap();
    }
    assert!(!system_moves_pages() || MOVES[0].load(Relaxed) >= 10);
    assert_eq!(pool.stats().live_blocks, 3);
    vectors.into_iter().for_each(|vector| vector.release(&pool));
    assert_eq!(pool.stats().used_bytes, 0);
    pool.check().unwrap();
}

#[test]
fn what_the_system_does_not_move_is_copied() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static REFUSING: Backing = Backing {
        move_pages: |from, to, size| {
            let is_refused = ASKED.fetch_add(1, Relaxed).is_multiple_of(3);
            // SAFETY: the caller's promise.
            !is_refused && unsafe { os::move_pages(from, to, size) }
        },
        renew: |address, size| {
            let is_refused = ASKED.load(Relaxed).is_multiple_of(2);
            // SAFETY: the caller's promise.
            !is_refused && unsafe { os::renew(address, size) }
        },
        ..BACKING
    };
    let pool = pool_with(&REFUSING);
    let mut vectors = Vec::new();
    for round in 0..600 {
        let random = (round * 7919 + 13) % 101;
        if vectors.len() < 5 {
            vectors.push(Vector::new(&pool, (1 + random) << 12, round));
        }
        let mut vector: Vector = vectors.swap_remove(random % vectors.len());
        let size = vector.size + vector.size / (1 + random % 4) + 4096;
        if size > 64 * MIB {
            vector.release(&pool);
            pool.trim();
            continue;
        }
        vector.grow(&pool, size);
        vectors.push(vector);
        // Where something was moved from, among others.
        let zeroed = pool.alloc_zeroed(size).unwrap();
        let words = size / size_of::<usize>();
        // SAFETY: the block has so many words, and is not used after its release.
        unsafe {
            assert!((0..words).all(|word| zeroed.cast::<usize>().add(word).read() == 0));
            zeroed.write_bytes(7, size);
            pool.release(zeroed).unwrap();
        }
        pool.check().unwrap();
    }
    assert!(ASKED.load(Relaxed) > 50);
    vectors.into_iter().for_each(|vector| vector.release(&pool));
    assert_eq!(pool.stats().used_bytes, 0);
    pool.check().unwrap();
}

#[test]
fn places_that_are_free_again_make_room_for_others() {
    static MOVING: Backing = moving::<1>();
    let pool = pool_with(&MOVING);
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let before = mappings();
    for round in 0..40 {
        let moves = MOVES[1].load(Relaxed);
        let mut vectors: Vec<_> =
            (0..60).map(|number| Vector::new(&pool, MIB / 2, round + number)).collect();
        // Of all sizes, so that places overlap those of the rounds before.
        for (index, vector) in vectors.iter_mut().enumerate() {
            vector.grow(&pool, MIB + index * (MIB / 16));
        }
        vectors.into_iter().for_each(|vector| vector.release(&pool));
        pool.trim();
        pool.check().unwrap();
        let moves = MOVES[1].load(Relaxed) - moves;
        assert!(!system_moves_pages() || moves > 20, "{moves} moves in round {round}");
    }
    let more = mappings().saturating_sub(before);
    assert!(more < 3000, "{more} mappings more");
}
