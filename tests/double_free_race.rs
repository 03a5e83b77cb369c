//! Two threads release an object at the same time, and the one that owns its span ends: in a process of its own, because
//! of the handler.

use heapmaster::cache::{self, Claim, Released, Wanted};
use heapmaster::{Error, Origin, default_pool};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

static FOUND: AtomicUsize = AtomicUsize::new(0);

fn count(error: &Error) {
    assert!(matches!(error, Error::AlreadyReleased { size: 112, .. }), "{error}");
    FOUND.fetch_add(1, SeqCst);
}

fn block(size: usize) -> NonNull<u8> {
    let wanted = Wanted { size, alignment: 16, origin: Origin::Malloc, zeroed: false };
    cache::alloc(size).unwrap_or_else(|| cache::alloc_slow(wanted).unwrap())
}

/// Whether the release is refused.
fn is_refused(address: usize) -> bool {
    const CLAIM: Claim = Claim { origin: None, size: None };
    let block = NonNull::new(std::ptr::with_exposed_provenance_mut(address)).unwrap();
    // SAFETY: nobody uses the block any more.
    unsafe {
        !matches!(cache::release(address), Released::Yes)
            && cache::release_slow(block, CLAIM).is_err()
    }
}

#[test]
fn each_object_that_two_threads_release_at_once_is_told_once() {
    const TRIALS: usize = 5_000;
    cache::set_found_handler(count);
    let [ready, refused, shared] = [const { AtomicUsize::new(0) }; 3];
    let release_at_once = |trial, pause| {
        // Both at the same time: who sleeps is late.
        ready.fetch_add(1, SeqCst);
        while ready.load(SeqCst) < 2 * (trial + 1) {
            std::hint::spin_loop();
        }
        (0..pause).for_each(|_| std::hint::spin_loop());
        refused.fetch_add(usize::from(is_refused(shared.load(SeqCst))), SeqCst);
    };
    let started = Instant::now();
    let mut trials = 0;
    // On processors that others keep busy it may take a while until it happens.
    while trials < TRIALS || FOUND.load(SeqCst) == 0 && started.elapsed() < Duration::from_secs(90)
    {
        let trial = trials;
        trials += 1;
        thread::scope(|scope| {
            let owner = scope.spawn(|| {
                shared.store(block(100).as_ptr().expose_provenance(), SeqCst);
                release_at_once(trial, trial % 40);
            });
            let other = scope.spawn(|| {
                // A cache of its own.
                assert!(!is_refused(block(200).as_ptr().expose_provenance()));
                release_at_once(trial, trial / 40 % 40);
            });
            // Until they have left: the scope does not wait for that.
            owner.join().unwrap();
            other.join().unwrap();
        });
        assert_eq!(refused.load(SeqCst) + FOUND.load(SeqCst), trial + 1);
    }
    if FOUND.load(SeqCst) == 0 {
        eprintln!("the owner never ended while the other released");
    }
    assert_eq!(default_pool().stats().misuses, trials as u64);
    default_pool().check().unwrap();
}
