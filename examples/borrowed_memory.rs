//! A pool without unsafe code: over memory on the stack and in a box, shared by threads.
//!
//! `cargo run --example borrowed_memory`

use heapmaster::{Block, Error, Pool};
use std::mem::MaybeUninit;
use std::thread;

/// The squares of the first numbers, as bytes.
fn squares<'pool>(pool: &'pool Pool<'_>, count: usize) -> Result<Block<'pool>, Error> {
    let mut block = pool.block(count * 8)?;
    for (number, bytes) in block.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&(number as u64).pow(2).to_le_bytes());
    }
    Ok(block)
}

fn main() -> Result<(), Error> {
    let mut on_the_stack = [MaybeUninit::uninit(); 64 * 1024];
    let mut in_a_box = Box::new_uninit_slice(1 << 20);
    let pool = Pool::new();
    pool.add_heap(&mut on_the_stack)?;
    pool.add_heap(&mut in_a_box)?;

    // Blocks are made in other threads, and dropped in this one.
    let lent = &pool;
    let blocks = thread::scope(|scope| {
        let threads = [10, 1_000, 10_000].map(|count| scope.spawn(move || squares(lent, count)));
        threads.map(|thread| thread.join().expect("no thread panics"))
    });
    for block in blocks {
        let mut block = block?;
        println!("{} bytes end with {:?}", block.len(), block.last_chunk::<8>());
        block.resize(16)?;
    }

    let mut names = pool.boxed(["granule", "block", "run"])?;
    names[2] = "span";
    println!("{names:?} in {} live block", pool.stats().live_blocks);
    Ok(())
}
