//! A pool in a static array is all the memory of a program without std and libc.
//!
//! `cd examples/bare_metal && cargo run; echo $?`
//!
//! What a board would bring is in `board.rs`.

#![no_std]
#![no_main]
// Or the loops of board.rs that copy and fill memory would become calls of themselves.
#![no_builtins]

extern crate alloc;

mod board;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use heapmaster::{Error, MemoryPool, Status};

#[global_allocator]
static POOL: MemoryPool = MemoryPool::new();

const SIZE: usize = 64 * 1024;

/// Memory that nobody uses but the pool.
struct Heap(UnsafeCell<[u8; SIZE]>);

// SAFETY: nothing here touches the bytes, and the pool hands none out twice.
unsafe impl Sync for Heap {}

static HEAP: Heap = Heap(UnsafeCell::new([0; SIZE]));

/// The program; `board.rs` calls it, and ends with what it returns.
fn main() -> Result<(), Error> {
    // SAFETY: the heap lives as long as the program, and only the pool uses it.
    unsafe { POOL.add_heap(HEAP.0.get().cast(), SIZE) }?;

    let mut squares = BTreeMap::new();
    for n in 0..100_u32 {
        squares.insert(n, n * n);
    }
    let odd: Vec<u32> = squares.values().copied().filter(|square| square % 2 == 1).collect();
    assert_eq!(odd.iter().sum::<u32>(), 166_650);

    // More than there is, is refused; so is what was never handed out.
    assert!(Vec::<u8>::new().try_reserve_exact(SIZE).is_err());
    // SAFETY: the pool refuses the address, whatever is there.
    assert_eq!(unsafe { POOL.hl_release(HEAP.0.get().cast()) }, Status::NotInPool);

    drop((squares, odd));
    assert_eq!(POOL.stats().live_blocks, 0);
    POOL.check()
}
