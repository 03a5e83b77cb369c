//! A pool over two regions of the program's own memory.
//!
//! `cargo run --example regions`

use heapmaster::{MemoryPool, Status};

fn main() -> Result<(), heapmaster::Error> {
    let mut first = vec![0u8; 64 * 1024];
    let mut second = vec![0u8; 1024 * 1024];
    let pool = MemoryPool::new();
    // SAFETY: both vectors outlive the pool, and nothing else uses their bytes.
    unsafe {
        pool.add_heap(first.as_mut_ptr(), first.len())?;
        pool.add_heap(second.as_mut_ptr(), second.len())?;
    }

    let block = pool.hl_alloc(100);
    // SAFETY: the block has 100 bytes, then 5,000; it is released once.
    unsafe {
        block.write_bytes(0xAB, 100);
        let block = pool.hl_resize(block, 5_000);
        assert_eq!(block.add(99).read(), 0xAB);
        assert_eq!(pool.hl_release(block), Status::Ok);

        // Misuse is refused, and said exactly.
        let error =
            pool.release(std::ptr::NonNull::new(block).expect("it was a block")).unwrap_err();
        println!("{error}");
    }

    println!("{:#?}", pool.stats());
    pool.remove_heap(second.as_ptr())
}
