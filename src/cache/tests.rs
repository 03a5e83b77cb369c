use super::*;
use crate::pool::Context;
use crate::slab::State;
use crate::system::MemoryPool;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc;
use std::thread;
use std::vec::Vec;

/// A block as its address, which may go from thread to thread.
fn block(size: usize) -> usize {
    let wanted = Wanted::bytes(size);
    let block = alloc(size).or_else(|| alloc_next(size)).or_else(|| alloc_slow(wanted).ok());
    let block = block.expect("there is memory");
    // SAFETY: the block has so many bytes.
    unsafe { block.write_bytes(size as u8, size) };
    block.addr().get()
}

fn free(address: usize, size: usize) {
    let block = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address)).unwrap();
    // SAFETY: the block is live, has so many bytes, and is released here alone.
    unsafe {
        assert_eq!(*block.as_ptr(), size as u8);
        assert_eq!(*block.as_ptr().add(size - 1), size as u8);
        match release(address) {
            Released::Yes => {}
            Released::NotYet if release_shared(address) => {}
            Released::NotYet | Released::Elsewhere => release_slow(block, Claim::POOL).unwrap(),
        }
    }
}

fn sizes(seed: usize) -> impl Iterator<Item = usize> {
    (0..3000).map(move |step| 1 + (step * 2_654_435_761 + seed * 40_503) % (16 << (step % 15)))
}

#[test]
fn blocks_that_wander_from_thread_to_thread_keep_their_bytes() {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..4).map(|_| mpsc::channel::<(usize, usize)>()).unzip();
    let threads: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(index, receiver)| {
            let next = senders[(index + 1) % 4].clone();
            thread::spawn(move || {
                for size in sizes(index) {
                    next.send((block(size), size)).unwrap();
                    let own = block(size);
                    for (address, size) in receiver.try_iter().take(2) {
                        free(address, size);
                    }
                    free(own, size);
                }
                drop(next);
                for (address, size) in receiver {
                    free(address, size);
                }
            })
        })
        .collect();
    drop(senders);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    default_pool().check().unwrap();
}

#[test]
fn an_object_released_twice_is_refused_in_and_across_threads() {
    let misused = |address: usize| {
        let block = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address)).unwrap();
        // SAFETY: a block that is not live is refused.
        unsafe {
            assert!(!matches!(release(address), Released::Yes) && !release_shared(address));
            matches!(release_slow(block, Claim::POOL), Err(Error::AlreadyReleased { .. }))
        }
    };
    for size in [16, 48, 100, 1000, 8192] {
        let (kept, first, second) = (block(size), block(size), block(size));
        free(first, size);
        assert!(misused(first));
        assert!(thread::spawn(move || misused(first)).join().unwrap());
        thread::spawn(move || free(second, size)).join().unwrap();
        assert!(misused(second));
        assert_eq!(object_size(second), None);
        assert!(thread::spawn(move || misused(second)).join().unwrap());
        assert!(object_size(kept) >= Some(size));
        free(kept, size);
    }
}

#[test]
fn caches_are_handed_on_from_thread_to_thread() {
    for _ in 0..100 {
        let left = thread::spawn(|| (0..300).map(|_| block(64)).collect::<Vec<_>>());
        left.join().unwrap().into_iter().for_each(|address| free(address, 64));
    }
    let made = core::iter::successors(NonNull::new(caches::lock().newest), |cache| {
        // SAFETY: caches are never freed.
        NonNull::new(unsafe { cache.as_ref() }.older.load(Relaxed))
    });
    assert!(made.count() < 50);
    default_pool().check().unwrap();
}

#[test]
fn what_others_release_is_given_back_while_its_owner_waits() {
    const SIZE: usize = 1000;
    const BLOCKS: usize = 50_000;
    let used = || default_pool().stats().used_bytes;
    let blocks: Vec<_> = (0..BLOCKS).map(|_| block(SIZE)).collect();
    let before = used();
    thread::spawn(move || blocks.into_iter().for_each(|address| free(address, SIZE)))
        .join()
        .unwrap();
    // The other tests have less than the rest.
    assert!(before - used() > BLOCKS * SIZE * 3 / 4, "{before} -> {}", used());
    default_pool().check().unwrap();
}

#[test]
fn a_cache_may_be_taken_over_while_others_release_what_it_owns() {
    const SIZE: usize = 480;
    static STARTED: AtomicBool = AtomicBool::new(false);
    // So that this thread has a cache, and is not the one that takes the other's over.
    free(block(SIZE), SIZE);
    for _ in 0..2000 {
        let left: Vec<_> =
            thread::spawn(|| (0..256).map(|_| block(SIZE)).collect()).join().unwrap();
        let (here, there): (Vec<_>, Vec<_>) = left.iter().partition(|&&address| address % 7 == 0);
        let other = thread::spawn(move || {
            STARTED.store(true, Relaxed);
            // By the first it takes the cache over.
            there.into_iter().for_each(|address| free(address, SIZE));
        });
        while !STARTED.swap(false, Relaxed) {
            core::hint::spin_loop();
        }
        here.into_iter().for_each(|address| free(address, SIZE));
        other.join().unwrap();
    }
    default_pool().check().unwrap();
}

#[test]
fn a_span_gains_room_by_its_owner_while_another_thread_posts_it() {
    const SIZE: usize = 64;
    const ROUNDS: usize = 2000;
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    let other = thread::spawn(|| {
        for _ in 0..ROUNDS {
            while GIVEN.load(Acquire) == 0 {
                thread::yield_now();
            }
            free(GIVEN.load(Acquire), SIZE);
            GIVEN.store(0, Release);
        }
    });
    let mut asleep = 0;
    for round in 0..ROUNDS {
        let span_of = |address: usize| tls::get().spans().holding(address).unwrap();
        // Of so many one span at least is full, and asleep.
        let blocks: Vec<_> = (0..200).map(|_| block(SIZE)).collect();
        let span = span_of(blocks[100]);
        let (own, others): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|&address| span_of(address) == span);
        // SAFETY: a map has a descriptor for every granule.
        let descriptor = unsafe { span.as_ref() };
        let (&last, own) = own.split_last().unwrap();
        let (before, meanwhile) = own.split_at(own.len().min(descriptor.capacity() / 4 - 1));
        before.iter().for_each(|&address| free(address, SIZE));
        GIVEN.store(last, Release);
        (0..round % 64).for_each(|_| core::hint::spin_loop());
        // By the first the span wakes.
        meanwhile.iter().for_each(|&address| free(address, SIZE));
        while GIVEN.load(Acquire) != 0 {
            thread::yield_now();
        }
        tls::get().collect();
        let is_own = descriptor.is_owned_by(&tls::get().inbox);
        asleep += usize::from(is_own && descriptor.is_empty() && descriptor.state() == State::Full);
        others.into_iter().for_each(|address| free(address, SIZE));
    }
    other.join().unwrap();
    assert_eq!(asleep, 0, "spans that nobody uses");
    default_pool().check().unwrap();
}

thread_local! {
    /// What a callback has allocated, on a thread that waits for one.
    static BY_CALLBACK: Cell<Option<usize>> = const { Cell::new(None) };
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn a_callback_may_allocate_while_its_thread_takes_a_span() {
    const SIZE: usize = 3000;
    unsafe fn allocate(_: &MemoryPool, _: usize, _: Context) {
        if WAITS.replace(false) {
            BY_CALLBACK.set(Some(block(SIZE)));
        }
    }
    let set = |function| {
        // SAFETY: it can be called from any thread, and needs no context.
        unsafe { default_pool().set_low_memory_callback(usize::MAX, function, [null_mut(); 3]) }
    };
    let span_of = |address| tls::get().spans().holding(address);
    // So that the thread has a cache.
    free(block(SIZE), SIZE);
    let mut blocks = Vec::new();
    let by_callback = loop {
        // Any other thread may be the one that is told.
        set(Some(allocate));
        WAITS.set(true);
        blocks.push(block(SIZE));
        if let Some(by_callback) = BY_CALLBACK.take() {
            break by_callback;
        }
    };
    set(None);
    // The callback has made a span current, and it still is.
    assert!(span_of(by_callback).is_some());
    assert_eq!(span_of(by_callback), span_of(*blocks.last().unwrap()));
    blocks.push(by_callback);
    blocks.into_iter().for_each(|address| free(address, SIZE));
}
