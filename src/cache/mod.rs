//! Per-thread caches of the default pool: what stands behind `malloc`.
//!
//! A thread's cache owns spans of the pool, and uses them without a lock: one current span a size class, from
//! whose slot objects are allocated, and a queue of others that have room. Full ones are in no queue; they
//! come back by their countdown, when an object of them is released. What other threads release comes through the
//! inbox, which is looked into before spans are taken out of the pool. Spans that run empty go back to it at
//! once, but for current ones and a few more.
//!
//! A cache outlives its thread, and waits for the next one. Full spans remain its own meanwhile: what is
//! released of them is posted, and whoever posts it to a cache that has no thread gives the span to the pool.
//!
//! Everything else, blocks without a class, and threads that can't have a cache, is the pool's own business,
//! under its lock.
//!
//! Invariants of a cache that has a thread:
//! - C1: only its thread uses it, but for the inbox.
//! - C2: the spans of the slots, and those in the queues, are its own: their `owner` is its inbox, marked or
//!   not. Current ones are in the state `Current`, those of the queues in the state `Room`.
//! - C3: a queue holds spans of its class that were not full when last looked at.

mod caches;
mod exit;
mod fork;
mod hardened;
mod queue;
mod spans;
mod spot;
#[cfg(test)]
mod tests;
mod tls;

pub use exit::{first_wound, last_stats};
pub use fork::{after_fork_in_child, after_fork_in_parent, before_fork};
pub use hardened::{alloc_at_once, change_origin, fault_at, harden, record_of, release_at_once};

use crate::error::Error;
use crate::pool::MIN_ALIGNMENT;
pub use crate::pool::{Claim, Fault, Wanted, set_found_handler};
use crate::pool::{Request, Resized, Stash, replace};
use crate::sampled;
pub use crate::sampled::{Record, Trace, TraceFn, set_tracer};
pub use crate::slab::MAX_OBJECT;
use crate::slab::remote::{Inbox, unmarked};
use crate::slab::{Annex, CLASSES, ClassId, Place, Refused, Slot, Span, SpanMap};
use crate::system::default_pool;
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Acquire;
use hardened::Ward;
use queue::Queue;
pub use spot::spot_check;

/// Sizes for which the table of slots has an entry: in units of the smallest class's.
const UNIT: usize = 16;
const UNITS: usize = MAX_OBJECT / UNIT + 1;

/// A thread's spans.
#[repr(C, align(128))]
pub(crate) struct Cache {
    /// First, so that its address is the cache's.
    inbox: Inbox,
    /// So that others' postings don't take away the line that the thread reads next.
    _apart: [u8; 128 - size_of::<Inbox>()],
    /// Of the heap that most blocks are in. Empty, so that the fast way finds nothing, if the pool is hardened.
    map: Cell<SpanMap>,
    /// The same, for the other ways.
    spans: Cell<SpanMap>,
    /// For each size in units, rounded up, the distance of its class's slot from the first, in bytes.
    slot_of: Cell<[u16; UNITS]>,
    /// Behind those of the classes comes one that never has objects: where the fast way is led if the pool is
    /// hardened.
    slots: [Slot; CLASSES + 1],
    rooms: [Queue; CLASSES],
    stash: Stash,
    /// Spans of each class that its thread has taken out of the pool.
    taken: [Cell<u8>; CLASSES],
    /// Allocations by the slow way until the next that is checked, or may be sampled.
    calm: Cell<u32>,
    /// Spans that were wanted since the inbox was last emptied.
    waited: Cell<u8>,
    /// Bytes of the spans in the queues that have no live object.
    kept: Cell<usize>,
    /// The cache made before this one.
    older: AtomicPtr<Cache>,
    /// The next of those without a thread.
    idle: AtomicPtr<Cache>,
    /// What its thread needs besides if the pool is hardened; else null.
    ward: Cell<*mut Ward>,
}

// SAFETY: what is not atomic is used by the cache's thread alone (C1), or by whoever holds the lock on those
// without one.
unsafe impl Sync for Cache {}

/// The cache of a thread that has none yet.
static UNSET: Cache = Cache::empty();

/// The cache of a thread that can't have one, or that has ended and still allocates.
static NEVER: Cache = Cache::empty();

impl Cache {
    const fn empty() -> Cache {
        Cache {
            inbox: Inbox::new(),
            _apart: [0; 128 - size_of::<Inbox>()],
            map: Cell::new(SpanMap::EMPTY),
            spans: Cell::new(SpanMap::EMPTY),
            slot_of: Cell::new([0; UNITS]),
            slots: [const { Slot::new() }; CLASSES + 1],
            rooms: [const { Queue::new() }; CLASSES],
            stash: Stash::new(),
            taken: [const { Cell::new(0) }; CLASSES],
            calm: Cell::new(0),
            waited: Cell::new(0),
            kept: Cell::new(0),
            older: AtomicPtr::new(core::ptr::null_mut()),
            idle: AtomicPtr::new(core::ptr::null_mut()),
            ward: Cell::new(core::ptr::null_mut()),
        }
    }

    /// The map of the heap that most blocks are in.
    fn spans(&self) -> &SpanMap {
        // SAFETY: it is written before the cache is a thread's, or before there is a second thread.
        unsafe { &*self.spans.as_ptr() }
    }

    /// What `slot_of` has, each by itself.
    fn distances(&self) -> &[Cell<u16>] {
        let all: &Cell<[u16]> = &self.slot_of;
        all.as_slice_of_cells()
    }

    /// Allocates an object for `size` bytes from the word that is at hand.
    #[inline(always)]
    fn alloc(&self, size: usize) -> Option<NonNull<u8>> {
        let distance = self.distance_to_slot(size)?;
        // SAFETY: each distance is that of a slot.
        unsafe { &*self.slots.as_ptr().byte_add(distance) }.alloc()
    }

    /// Allocates an object for `size` bytes from another word of the current span, or another span.
    #[inline(never)]
    fn alloc_next(&self, size: usize) -> Option<NonNull<u8>> {
        let class = self.distance_to_slot(size)? / size_of::<Slot>();
        if class < CLASSES && self.refill_from_own(class) {
            self.slots[class].alloc()
        } else {
            None
        }
    }

    /// The distance of the slot for `size` bytes from the first, in bytes; `None` if no class has so many.
    #[inline(always)]
    fn distance_to_slot(&self, size: usize) -> Option<usize> {
        let unit = size.wrapping_add(UNIT - 1) / UNIT;
        if size > MAX_OBJECT {
            return None;
        }
        // SAFETY: the table has an entry for each unit up to the largest object's.
        Some(unsafe { self.slot_of.as_ptr().cast::<u16>().add(unit).read() } as usize)
    }

    /// Releases an object of another cache's span, or of one of its own of which others have released objects; false
    /// if it is none.
    #[inline(always)]
    fn release_shared(&self, address: usize) -> bool {
        // SAFETY: as in `release`.
        let Some(span) = unsafe { &*self.map.as_ptr() }.holding(address) else { return false };
        let owner = owner_of(span);
        !spot::is(owner) && self.release_owned(span, owner, address) == Some(Ok(()))
    }

    /// Releases an object of a span that a cache owns, this one or another; `None` if none does.
    #[inline(always)]
    fn release_owned(
        &self,
        span: NonNull<Span>,
        owner: *const Inbox,
        address: usize,
    ) -> Option<Result<(), Refused>> {
        if owner.is_null() {
            return None;
        }
        Some(if core::ptr::eq(owner, &self.inbox) {
            self.release_own(span, address)
        } else {
            default_pool().release_remote(span, address)
        })
    }

    /// Releases an object of one of this cache's spans, marked or not.
    #[inline(always)]
    fn release_own(&self, span: NonNull<Span>, address: usize) -> Result<(), Refused> {
        // SAFETY: it is this cache's own (C2).
        let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
        if descriptor.release_unless_noted(&annex.remote, address)? {
            self.due(span);
        }
        Ok(())
    }
}

/// The cache that owns a span; null if none does.
#[inline(always)]
fn owner_of(span: NonNull<Span>) -> *const Inbox {
    // SAFETY: a map has a descriptor for every granule.
    unmarked(unsafe { span.as_ref() }.owner().load(Acquire)).0
}

/// Samples one in so many of the blocks that take the slow way; see `sampled`. False if that can't be.
///
/// # Safety
/// The process has a single thread, which is in no function of this library, and this is called once.
pub unsafe fn sample(interval: u32) -> bool {
    // SAFETY: the caller's promise.
    let sampled = unsafe { sampled::enable(interval) };
    if sampled && let Some(cache) = own() {
        // Nothing is at hand, so that the first blocks take the slow way.
        cache.give_all();
        cache.calm.set(spot::calm());
    }
    sampled
}

/// Allocates a block of at least `size` bytes from the default pool, by way of the thread's cache; `None` if
/// nothing is at hand: then [`alloc_slow`] has it, or says why not.
#[inline(always)]
pub fn alloc(size: usize) -> Option<NonNull<u8>> {
    tls::get().alloc(size)
}

/// [`alloc`], when that found nothing at hand, from another word of the current span, or another span of the thread's
/// own; `None` if there is none, if the pool is hardened, or if the block is to be checked or sampled.
#[inline(always)]
pub fn alloc_next(size: usize) -> Option<NonNull<u8>> {
    let cache = tls::get();
    if cache.is_due() { None } else { cache.alloc_next(size) }
}

/// [`alloc`], when that found nothing at hand, and for every other block.
///
/// # Errors
/// As `MemoryPool::alloc_aligned`.
#[cold]
#[inline(never)]
pub fn alloc_slow(wanted: Wanted) -> Result<NonNull<u8>, Error> {
    if sampled::is_due()
        && let Some(block) = sampled::sample(wanted)
    {
        return Ok(block);
    }
    if default_pool().is_hardened() {
        return hardened::alloc(wanted);
    }
    if let Some(block) = spot::check(wanted) {
        return Ok(block);
    }
    let Wanted { size, alignment, zeroed, .. } = wanted;
    if alignment <= MIN_ALIGNMENT
        && let Some(object) = own_object(size, |slot, _| slot.alloc())
    {
        if zeroed {
            // SAFETY: the object has so many bytes, and is ours.
            unsafe { object.write_bytes(0, size) };
        }
        return Ok(object);
    }
    if let Some((run, _)) = tls::get().stash.take(size, alignment) {
        if zeroed {
            // SAFETY: the run has so many bytes, and is ours.
            unsafe { run.write_bytes(0, size) };
        }
        return Ok(run);
    }
    if zeroed {
        default_pool().alloc_zeroed(size)
    } else {
        default_pool().alloc_aligned(alignment, size)
    }
}

/// An object of a span of the thread's own, taken from its slot by `take`.
fn own_object<T>(size: usize, take: impl Fn(&Slot, &Cache) -> Option<T>) -> Option<T> {
    let refilled = || {
        let cache = if size <= MAX_OBJECT { own()? } else { return None };
        let id = ClassId::holding(size);
        if cache.refill(id) { take(&cache.slots[id.index()], cache) } else { None }
    };
    if let Some(object) = refilled() {
        return Some(object);
    }
    // Who only allocates large blocks never looks there otherwise; and the pool may have no more spans.
    if tls::get().inbox.has_post() {
        tls::get().collect();
        return refilled();
    }
    None
}

/// The thread's cache, made if need be; `None` if it can't have one.
fn own() -> Option<&'static Cache> {
    let cache = tls::get();
    if core::ptr::eq(cache, &NEVER) {
        return None;
    }
    if core::ptr::eq(cache, &UNSET) { caches::enter() } else { Some(cache) }
}

/// What has become of a block that is to be released.
pub enum Released {
    Yes,
    /// It may be an object that [`release_shared`] releases.
    NotYet,
    /// It takes [`release_slow`], in a hardened pool first [`release_at_once`], to say what it is.
    Elsewhere,
}

/// Releases a block of the default pool, by way of the thread's cache.
///
/// # Safety
/// As for `MemoryPool::release`.
#[inline(always)]
pub unsafe fn release(address: usize) -> Released {
    let cache = tls::get();
    // SAFETY: the map is written before the cache is a thread's, and there is no reference to it.
    let Some(span) = (unsafe { &*cache.map.as_ptr() }).holding(address) else {
        return Released::Elsewhere;
    };
    // SAFETY: the map has a descriptor for every granule.
    let descriptor = unsafe { span.as_ref() };
    if !descriptor.is_owned_by(&cache.inbox) {
        return Released::NotYet;
    }
    match descriptor.release(address) {
        Ok(false) => Released::Yes,
        Ok(true) => {
            after_release(address);
            Released::Yes
        }
        Err(Refused) => Released::NotYet,
    }
}

/// The countdown has ended of the span that `address` was just released of. It is told the address, and not
/// what is known already, so that the register that holds it stays as it is.
#[cold]
#[inline(never)]
fn after_release(address: usize) {
    let cache = tls::get();
    // Marked or not: another thread may have posted it since.
    if let Some(span) = cache.spans().holding(address) {
        cache.due(span);
    }
}

/// [`release`], for what is the commonest besides: an object of a span that threads share. False if it takes another way
/// to say what it is, as in a hardened pool.
///
/// # Safety
/// As for `MemoryPool::release`.
#[inline(always)]
pub unsafe fn release_shared(address: usize) -> bool {
    tls::get().release_shared(address)
}

/// [`release`], for every block, of which this is claimed.
///
/// # Errors
/// As `MemoryPool::release`.
///
/// # Safety
/// As for `MemoryPool::release`.
#[cold]
#[inline(never)]
pub unsafe fn release_slow(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    if sampled::holds(block.addr().get()) {
        return counted(sampled::release(block.addr().get(), claim));
    }
    if default_pool().wears_armour(block.addr().get()) {
        return hardened::release(block, claim).inspect(|()| spot::collect());
    }
    release_bare(block)
}

/// Gives memory of the default pool back to the system, as `MemoryPool::trim` does, after what the calling thread keeps
/// and has no use for. Says how many bytes.
pub fn trim() -> usize {
    tls::get().trim();
    default_pool().trim()
}

/// Counts a misuse of the pool behind `malloc` that the pool itself did not see, or did not judge.
pub fn count_misuse() {
    default_pool().count_misuse();
}

/// Counts a refusal by others than the pool: by those who hold what is no block of it. Mismatches of origins are for
/// the caller to judge, and count.
fn counted<T>(result: Result<T, Error>) -> Result<T, Error> {
    result.inspect_err(|error| {
        if !matches!(error, Error::OriginMismatch { .. }) {
            count_misuse();
        }
    })
}

/// Releases a block without an armour.
fn release_bare(block: NonNull<u8>) -> Result<(), Error> {
    let address = block.addr().get();
    // A thread that only releases finds others' objects by its cache, too.
    let cache = own().unwrap_or(&NEVER);
    if default_pool().stash(&cache.stash, address) {
        return Ok(());
    }
    let span = cache.spans().holding(address);
    let Some(span) = span.or_else(|| default_pool().span_holding(address)) else {
        return default_pool().release_bare(block);
    };
    match cache.release_owned(span, owner_of(span), address) {
        Some(released) => released.map_err(|Refused| default_pool().misuse(address)),
        None => default_pool().release_bare(block),
    }
}

/// Whether another thread released the object at `address`, and the span's owner has not collected it.
fn is_noted(span: &Span, address: usize) -> bool {
    // SAFETY: spans of the heap that caches know have an annex.
    let annex = unsafe { Annex::of(NonNull::from(span)).as_ref() };
    span.bit_of(address).is_some_and(|(word, bit)| annex.remote.is_noted(word, bit))
}

/// Bytes that may be used of the live object of a span that starts at `address`; `None` for a block that is
/// none, or a pointer that is no block's, and in a hardened pool. Takes no lock.
pub fn object_size(address: usize) -> Option<usize> {
    // SAFETY: the map is written before the cache is a thread's.
    let span = unsafe { &*tls::get().map.as_ptr() }.holding(address)?;
    // SAFETY: the map has a descriptor for every granule.
    let descriptor = unsafe { span.as_ref() };
    let live = descriptor.place(address) == Place::Live
        && !is_noted(descriptor, address)
        && !spot::is(owner_of(span));
    live.then(|| descriptor.object_size())
}

/// Makes a block hold `size` bytes, as `MemoryPool::resize` does, if it is no object of [`object_size`].
///
/// # Errors
/// As `MemoryPool::resize`.
///
/// # Safety
/// As for `MemoryPool::resize`.
pub unsafe fn resize(block: NonNull<u8>, size: usize, claim: Claim) -> Result<NonNull<u8>, Error> {
    if sampled::holds(block.addr().get()) {
        // SAFETY: passed on to the caller.
        return unsafe { resize_sampled(block, size, claim) };
    }
    if default_pool().wears_armour(block.addr().get()) {
        return hardened::resize(block, size, claim);
    }
    let address = block.addr().get();
    // Without the lock, a run that stays the same block.
    let bytes = tls::get().stash.bytes_of_run(address);
    if bytes.is_some_and(|bytes| (bytes / 2 + 1..=bytes).contains(&size)) {
        return Ok(block);
    }
    let request = Request { size, alignment: MIN_ALIGNMENT };
    let (bytes, new) = match default_pool().resize_uncopied(block, request)? {
        Resized::Is(block) => return Ok(block),
        Resized::Copy { bytes, .. } if size <= bytes => {
            // SAFETY: passed on to the caller.
            return unsafe { default_pool().resize(block, size) };
        }
        Resized::Copy { done, bytes, to: Some(new) } => (done..bytes, new),
        Resized::Copy { bytes, to: None, .. } => {
            match alloc(size).map_or_else(|| alloc_slow(Wanted::bytes(size)), Ok) {
                Ok(new) => (0..bytes, new),
                Err(error) => return default_pool().resize_at_last(block, request, error),
            }
        }
    };
    // SAFETY: passed on to the caller.
    unsafe { replace(block, new, bytes, |block| release_slow(block, claim)) }
}

/// Moves a sampled block.
///
/// # Safety
/// As for [`resize`].
#[cold]
unsafe fn resize_sampled(
    block: NonNull<u8>,
    size: usize,
    claim: Claim,
) -> Result<NonNull<u8>, Error> {
    let address = block.addr().get();
    // Before there may be no memory: that is another mistake, and another error.
    let old_size = counted(sampled::size_if_releasable(address, claim))?;
    let new = alloc_slow(Wanted::bytes(size))?;
    // SAFETY: both blocks are live, and have so many bytes; the rest is the caller's promise.
    unsafe { replace(block, new, 0..old_size.min(size), |block| release_slow(block, claim)) }
}

/// Bytes that may be used of a live block, as `MemoryPool::usable_size` says.
///
/// # Errors
/// As `MemoryPool::usable_size`.
pub fn usable_size(block: NonNull<u8>) -> Result<usize, Error> {
    if sampled::holds(block.addr().get()) {
        return counted(sampled::size(block.addr().get()));
    }
    if default_pool().wears_armour(block.addr().get()) {
        return hardened::usable_size(block);
    }
    let address = block.addr().get();
    object_size(address)
        .or_else(|| tls::get().stash.bytes_of_run(address))
        .map_or_else(|| default_pool().usable_size(block), Ok)
}

/// Whether a live block may have been allocated with so many bytes and this alignment: in a hardened pool, with so
/// many bytes exactly.
///
/// # Errors
/// `SizeMismatch`; as `MemoryPool::usable_size`.
pub fn check_size(block: NonNull<u8>, given: usize, alignment: usize) -> Result<(), Error> {
    let address = block.addr().get();
    let (size, is_exact) = match object_size(address) {
        Some(size) => (size, false),
        None => {
            let is_exact = default_pool().wears_armour(address) || sampled::holds(address);
            (usable_size(block)?, is_exact)
        }
    };
    // No block is more than twice as large as what it was allocated, or last resized, for.
    let may_be =
        given == size || !is_exact && given < size && size / 2 <= given.max(alignment).max(UNIT);
    if may_be {
        return Ok(());
    }
    Err(default_pool().size_mismatch(address, given, size))
}
