//! The heap that threads' caches know: in a process of its own, for all of its memory has to be free.

use heapmaster::cache::{self, Claim, Wanted};
use heapmaster::{Error, Origin, default_pool};

const WANTED: Wanted = Wanted { size: 100, alignment: 16, origin: Origin::Malloc, zeroed: false };
const CLAIM: Claim = Claim { origin: None, size: None };

#[test]
fn the_heap_that_caches_know_is_not_removed_and_a_late_release_is_refused() {
    let block = std::thread::spawn(|| {
        let block = cache::alloc_slow(WANTED).unwrap();
        // SAFETY: the block is not used any more.
        unsafe { cache::release_slow(block, CLAIM) }.unwrap();
        block.addr()
    });
    let block = std::ptr::NonNull::without_provenance(block.join().unwrap());
    default_pool().drain_heap(block.as_ptr()).unwrap();

    let refused = default_pool().remove_heap(block.as_ptr());

    assert!(matches!(refused, Err(Error::HeapInUse { blocks: 0, bytes: 0, .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("threads have caches of the heap"));
    // SAFETY: the block is not used.
    let late = unsafe { cache::release_slow(block, CLAIM) };
    assert!(matches!(late, Err(Error::AlreadyReleased { .. })), "{late:?}");
}
