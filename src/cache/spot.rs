//! Spot checks of a pool that is not hardened: now and then a block that takes the slow way wears an armour, so that
//! what is written beside it, or to it after its release, is found as in a hardened pool.
//!
//! Such blocks are objects of spans that no thread's cache owns but one of their own, which whoever has its lock uses
//! as a thread uses its cache. So the fast ways find none of them, and know nothing of them: each pointer into them is
//! judged by the slow way, which knows which objects wear an armour.
//!
//! Which blocks: the first of the process, then fewer and fewer, each thread counting for itself. So short programs are
//! covered densely, and long ones pay next to nothing.

use super::{Cache, own, release_bare};
use crate::armour::{self, Region};
use crate::error::Error;
use crate::os::YieldAfterSpin;
use crate::pool::{MIN_ALIGNMENT, MOST_CHECKED, Wanted, found};
use crate::sampled;
use crate::slab::ClassId;
use crate::slab::remote::Inbox;
use crate::system::{self, default_pool};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU32};
use spin::mutex::SpinMutex;

/// Checks of which there are none between; after so many more they are half as frequent.
const AT_EACH_INTERVAL: u32 = 32;

/// Allocations by the slow way between two checks of a thread, later on: at first, and in the long run.
const FIRST_INTERVAL: u32 = 128;
const MOST_DOUBLINGS: u32 = 3;

/// Checks that were made. Relaxed: it stands for nothing but itself.
static CHECKS: AtomicU32 = AtomicU32::new(0);

/// The cache of the spans of checked blocks. Of the invariants of a cache C1 holds for whoever has [`LOCK`].
static CACHE: Cache = Cache::empty();

/// Nobody waits for it: whoever finds it taken does without a check. It is held before the pool's, or without.
static LOCK: SpinMutex<(), YieldAfterSpin> = SpinMutex::new(());

/// Whether the cache can be used.
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Has some of the blocks that take the slow way wear an armour.
///
/// # Safety
/// The process has a single thread, which is in no function of this library, and neither this nor
/// [`harden`](super::harden) is called besides.
pub unsafe fn spot_check() {
    // SAFETY: the caller's promise.
    unsafe { system::spot_check_default_pool() };
    if let Some(cache) = own() {
        cache.calm.set(calm());
    }
}

/// Makes the cache one of the default pool, which gets its first heap for that.
#[cold]
fn prepare() -> Option<()> {
    let map = default_pool().owners_map().or_else(|| {
        let block = default_pool().alloc(1).ok()?;
        // SAFETY: nobody knows it.
        let released = unsafe { default_pool().release(block) };
        debug_assert!(released.is_ok());
        default_pool().owners_map()
    })?;
    // Not before: callbacks of the pool may have run.
    let _lock = LOCK.try_lock()?;
    if !IS_READY.load(Relaxed) {
        CACHE.map.set(map);
        CACHE.spans.set(map);
        default_pool().enter(&CACHE.inbox);
        IS_READY.store(true, Release);
    }
    Some(())
}

/// Whether this is the owner of the spans of checked blocks.
#[inline(always)]
pub(super) fn is(owner: *const Inbox) -> bool {
    core::ptr::eq(owner, &CACHE.inbox)
}

/// Allocations by the slow way until a thread's next check.
pub(super) fn calm() -> u32 {
    if sampled::is_enabled() {
        // All that take the slow way are to be counted for samples, which are better checks.
        0
    } else if default_pool().has_armours() {
        let level = CHECKS.load(Relaxed) / AT_EACH_INTERVAL;
        level.checked_sub(1).map_or(0, |doublings| FIRST_INTERVAL << doublings.min(MOST_DOUBLINGS))
    } else {
        u32::MAX
    }
}

impl Cache {
    /// Counts an allocation that takes the slow way; true if it is to take the slowest.
    #[inline(always)]
    pub(super) fn is_due(&self) -> bool {
        let calm = self.calm.get();
        if calm > 0 {
            self.calm.set(calm - 1);
        }
        calm == 0
    }
}

/// Does something with the cache; `None` if another thread does. What was released twice of its spans is told when the
/// lock is free again: whoever is told may allocate, or fork.
fn with_cache<T>(f: impl FnOnce(&Cache, &mut dyn FnMut(Error)) -> T) -> Option<T> {
    let mut late = None;
    let lock = LOCK.try_lock()?;
    let result = f(&CACHE, &mut |error| late = Some(error));
    drop(lock);
    if let Some(error) = late {
        found(&error);
    }
    Some(result)
}

/// Makes what was released of checked blocks free.
pub(super) fn collect() {
    if CACHE.inbox.has_post() {
        with_cache(|cache, tell| cache.collect_and(tell));
    }
}

/// A block with an armour, if one is due and can be had.
pub(super) fn check(wanted: Wanted) -> Option<NonNull<u8>> {
    let may_be = (1..=MOST_CHECKED).contains(&wanted.size)
        && wanted.alignment <= MIN_ALIGNMENT
        && default_pool().has_armours()
        && !sampled::is_enabled();
    // Acquire: with the release of `prepare`.
    if may_be && !IS_READY.load(Acquire) {
        prepare()?;
    }
    let cache = own()?;
    if !cache.is_due() {
        return None;
    }
    // Where one heap was not enough memory may be short, which spans of its own for each class would break up.
    if may_be && !default_pool().has_one_heap() {
        cache.calm.set(u32::MAX);
        return None;
    }
    let block = if may_be { checked_block(wanted) } else { None };
    if block.is_some() {
        CHECKS.fetch_add(1, Relaxed);
    }
    cache.calm.set(calm());
    block
}

fn checked_block(wanted: Wanted) -> Option<NonNull<u8>> {
    let object = object(armour::bytes_for(wanted.size, wanted.alignment)?)?;
    // SAFETY: the object is ours, and has so many bytes.
    let block = unsafe { default_pool().put_on_checked(object, wanted) };
    if block.is_none() {
        let released = release_bare(object.start);
        debug_assert!(released.is_ok());
    }
    block
}

/// An object of so many bytes of the spans of checked blocks.
fn object(size: usize) -> Option<Region> {
    let id = ClassId::holding(size);
    let object = with_cache(|cache, tell| {
        let slot = &cache.slots[id.index()];
        let start = slot.alloc().or_else(|| {
            // So that it is not left to `refill`, which tells at once.
            cache.collect_and(tell);
            if cache.refill(id) { slot.alloc() } else { None }
        })?;
        Some(Region { start, len: slot.object_size() })
    });
    object.flatten()
}

/// Whether somebody has the lock.
pub(super) fn is_locked() -> bool {
    LOCK.is_locked()
}

/// Takes the lock, so that a fork finds nothing half-way through a change.
pub(super) fn before_fork() {
    core::mem::forget(LOCK.lock());
}

/// Releases what [`before_fork`] took.
///
/// # Safety
/// The calling thread called it, or is the copy of the thread that did.
pub(super) unsafe fn after_fork() {
    // SAFETY: the caller's promise.
    unsafe { LOCK.force_unlock() }
}
