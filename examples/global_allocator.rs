//! A pool as the allocator of a whole Rust program.
//!
//! `cargo run --example global_allocator`

use heapmaster::MemoryPool;
use std::collections::HashMap;

#[global_allocator]
static GLOBAL: MemoryPool = MemoryPool::system();

fn main() {
    let mut lengths = HashMap::new();
    for word in ["buddy", "slab", "span", "granule"].iter().cycle().take(100_000) {
        *lengths.entry(word.len()).or_insert(0u32) += 1;
    }
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                (0..10_000).map(|n| vec![thread as u8; n % 500].len()).sum::<usize>()
            })
        })
        .collect();
    let bytes: usize =
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
    println!("words by length: {lengths:?}; {bytes} bytes in vectors");

    let stats = GLOBAL.stats();
    println!(
        "{} live blocks of {} bytes, {} allocations, {} bytes in use at most",
        stats.live_blocks, stats.live_bytes, stats.allocations, stats.peak_used_bytes
    );
    GLOBAL.check().expect("the pool's books are in order");
}
