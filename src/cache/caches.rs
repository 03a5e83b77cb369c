//! All caches: made once, handed on from thread to thread.
//!
//! They lie in memory of their own between pages that can't be touched, and are never freed: a thread that
//! found a span's owner may use its inbox long after.

use super::{Cache, NEVER, UNSET, Ward, spot, tls};
use crate::os::{self, ThreadEnd, YieldAfterSpin};
use crate::slab::{CLASSES, ClassId, Dice, Slot, SpanMap};
use crate::system::default_pool;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::{Relaxed, Release};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Bytes that caches are made of at a time.
const CHUNK: usize = 256 << 10;

/// Requests for a cache that go without, after the system has refused memory for more of them: each call of
/// `malloc` and `free` is one in a thread that has none.
const PAUSE: u32 = 1000;

/// See the module.
pub(super) struct Caches {
    /// Without a thread.
    idle: *mut Cache,
    /// The last that was made.
    pub(super) newest: *mut Cache,
    /// Where the next is made, and how many more have room there.
    room: *mut Cache,
    rooms: usize,
    /// Requests until the system is asked again.
    pause: u32,
    thread_end: Option<ThreadEnd>,
    /// If the pool is hardened: what the dice of the next ward begin with.
    seed: Option<Dice>,
    /// Where the next ward is made, and how many more have room there.
    ward_room: *mut Ward,
    ward_rooms: usize,
}

// SAFETY: the caches are used by whoever holds the lock, or got them from it.
unsafe impl Send for Caches {}

static CACHES: SpinMutex<Caches, YieldAfterSpin> = SpinMutex::new(Caches {
    idle: null_mut(),
    newest: null_mut(),
    room: null_mut(),
    rooms: 0,
    pause: 0,
    thread_end: None,
    seed: None,
    ward_room: null_mut(),
    ward_rooms: 0,
});

/// Waits for the lock. It is held before the pool's, or without.
pub(super) fn lock() -> SpinMutexGuard<'static, Caches, YieldAfterSpin> {
    CACHES.lock()
}

/// Whether somebody has the lock.
pub(super) fn is_locked() -> bool {
    CACHES.is_locked()
}

/// Releases a lock whose guard was forgotten.
///
/// # Safety
/// The calling thread forgot it, or it is a copy of the thread that did.
pub(super) unsafe fn force_unlock() {
    // SAFETY: the caller's promise.
    unsafe { CACHES.force_unlock() }
}

impl Caches {
    /// A cache without a thread, or a new one.
    fn take(&mut self) -> Option<&'static Cache> {
        if let Some(cache) = NonNull::new(self.idle) {
            // SAFETY: caches are never freed.
            let cache = unsafe { cache.as_ref() };
            self.idle = cache.idle.load(Relaxed);
            return Some(cache);
        }
        let map = default_pool().owners_map()?;
        if self.rooms == 0 {
            if self.pause > 0 {
                self.pause -= 1;
                return None;
            }
            let Some(chunk) = chunk() else {
                self.pause = PAUSE;
                return None;
            };
            self.room = chunk.cast().as_ptr();
            self.rooms = CHUNK / size_of::<Cache>();
        }
        let ward = if self.seed.is_some() { self.new_ward()? } else { null_mut() };
        let cache = self.room;
        self.rooms -= 1;
        // SAFETY: there is room for so many caches, of which this is the next; nobody else knows it.
        let cache = unsafe {
            self.room = cache.add(1);
            make(cache, map, self.newest);
            if !ward.is_null() {
                harden_cache(&*cache, ward);
            }
            &*cache
        };
        default_pool().enlist(&cache.stash);
        self.newest = core::ptr::from_ref(cache).cast_mut();
        Some(cache)
    }

    fn new_ward(&mut self) -> Option<*mut Ward> {
        let seed = self.seed.as_mut()?.roll();
        if self.ward_rooms == 0 {
            self.ward_room = chunk()?.cast().as_ptr();
            self.ward_rooms = CHUNK / size_of::<Ward>();
        }
        let ward = self.ward_room;
        // SAFETY: there is room for so many wards, of which this is the next; nobody else knows it.
        unsafe {
            self.ward_room = ward.add(1);
            Ward::make(ward, default_pool().key(), seed);
        }
        self.ward_rooms -= 1;
        Some(ward)
    }

    fn thread_end(&mut self) -> Option<ThreadEnd> {
        if self.thread_end.is_none() {
            self.thread_end = os::at_thread_end(leave);
        }
        self.thread_end
    }
}

/// Memory for caches or wards, zeroed.
fn chunk() -> Option<NonNull<u8>> {
    let page = os::page_size();
    let start = os::reserve(CHUNK + 2 * page).ok()?;
    // SAFETY: it lies in the reservation, which is ours.
    unsafe {
        let chunk = start.add(page);
        if os::commit(chunk, CHUNK) {
            return Some(chunk);
        }
        os::release(start, CHUNK + 2 * page);
    }
    None
}

/// Makes a cache out of zeroes.
///
/// # Safety
/// There is zeroed memory for one, which nobody else uses.
unsafe fn make(cache: *mut Cache, map: SpanMap, older: *mut Cache) {
    // SAFETY: the caller's promise; an empty cache has no other, and this one stays empty.
    unsafe {
        // A copy: one that is made here is made on the stack, where a coroutine has few pages.
        cache.copy_from_nonoverlapping(&raw const NEVER, 1);
        (*cache).map.set(map);
        (*cache).spans.set(map);
        (*cache).calm.set(spot::calm());
        (*cache).older.store(older, Relaxed);
        // Where the slots begin is where distances count from.
        for (unit, distance) in (*cache).distances().iter().enumerate() {
            let slot = ClassId::holding(unit * super::UNIT).index();
            distance.set((slot * size_of::<Slot>()) as u16);
        }
    }
}

/// Leads the fast ways of a cache to nothing.
fn harden_cache(cache: &Cache, ward: *mut Ward) {
    cache.ward.set(ward);
    cache.map.set(SpanMap::EMPTY);
    for distance in cache.distances() {
        distance.set((CLASSES * size_of::<Slot>()) as u16);
    }
}

/// Hardens the caches: that of the calling thread, and those that are made from now on. Without memory for its ward
/// the thread uses the pool's quarantine, and its spans.
///
/// # Safety
/// The process has a single thread, which is in no function of this library, and the pool has just been hardened.
pub(super) unsafe fn harden() {
    let own = tls::get();
    let mut caches = lock();
    let [seed, _] = os::entropy();
    caches.seed = Some(Dice::new(seed));
    if !core::ptr::eq(own, &UNSET) && !core::ptr::eq(own, &NEVER) {
        harden_cache(own, caches.new_ward().unwrap_or(null_mut()));
    }
}

/// Gives the calling thread a cache; `None` if it can't have one.
#[cold]
pub(super) fn enter() -> Option<&'static Cache> {
    let (cache, thread_end) = {
        let mut caches = lock();
        let thread_end = caches.thread_end()?;
        (caches.take()?, thread_end)
    };
    default_pool().enter(&cache.inbox);
    tls::set(cache);
    // It may allocate, from the cache by now.
    if !thread_end.set(NonNull::from(cache).cast()) {
        finish(cache);
        return None;
    }
    Some(cache)
}

/// Called when a thread ends that has a cache.
unsafe extern "C" fn leave(cache: *mut c_void) {
    // SAFETY: it is what `enter` set.
    finish(unsafe { &*cache.cast::<Cache>() });
}

/// The calling thread does without its cache from now on.
fn finish(cache: &'static Cache) {
    cache.leave_quarantine();
    tls::set(&NEVER);
    cache.leave();
    let mut caches = lock();
    let idle = core::mem::replace(&mut caches.idle, core::ptr::from_ref(cache).cast_mut());
    cache.idle.store(idle, Release);
}
