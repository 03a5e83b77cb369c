//! Caches of a hardened pool: bare blocks come from, and go to, the thread's own spans; what waits in quarantine
//! does so by thread.
//!
//! The fast ways of a cache know nothing of armours. So they are led to a slot that never has objects, and to a
//! map without granules, and every call comes here.

mod objects;

pub use objects::{alloc_at_once, release_at_once};

use super::{Cache, caches, counted, own, own_object, release_bare, tls};
use crate::armour::{Key, Quarantine, Region};
use crate::error::{Error, Origin};
use crate::pool::{Bare, Claim, Fault, MIN_ALIGNMENT, Request, Wait, Wanted};
use crate::sampled::{self, Record};
use crate::slab::{Annex, Dice, MAX_OBJECT, Slot};
use crate::system::{
    self, MemoryPool, default_pool, untouchable_at, untouchable_pool, untouchable_pools,
};
use core::ptr::NonNull;

/// What a thread needs besides its cache.
pub(super) struct Ward {
    key: Key,
    dice: Dice,
    /// Allocations that are sampled for certain not to be: what is left of the thread's [`sampled::credit`].
    credit: u32,
    quarantine: Quarantine,
}

impl Ward {
    /// Makes a thread's, in a pool with this key, where it is to be: it is too large for the stacks of coroutines.
    ///
    /// # Safety
    /// There is memory for one, which nobody else uses.
    pub(super) unsafe fn make(ward: *mut Ward, key: Key, seed: u64) {
        // SAFETY: the caller's promise.
        unsafe {
            (&raw mut (*ward).key).write(key);
            (&raw mut (*ward).dice).write(Dice::new(seed));
            (&raw mut (*ward).credit).write(0);
            Quarantine::make(&raw mut (*ward).quarantine);
        }
    }
}

impl Cache {
    /// Its thread's ward, unless the pool is not hardened, the thread has no cache, or there was no memory for one. The
    /// thread alone uses it (C1).
    #[inline]
    pub(super) fn ward(&self) -> Option<NonNull<Ward>> {
        NonNull::new(self.ward.get())
    }

    /// Has what waits in quarantine wait in the pool's: its thread leaves.
    pub(super) fn leave_quarantine(&self) {
        let Some(mut ward) = self.ward() else { return };
        // SAFETY: the pool knows nothing of it.
        while let Some(block) = unsafe { ward.as_mut() }.quarantine.pop() {
            default_pool().confine(default_pool(), block);
        }
    }
}

/// The calling thread's spans, and the pool where those don't do.
struct Own;

impl Bare for Own {
    fn take(&self, request: Request, may_ask: bool) -> Result<(Region, bool), Error> {
        let Request { size, alignment } = request;
        let fits = size <= MAX_OBJECT && alignment <= MIN_ALIGNMENT;
        match fits.then(|| own_object(size, take)).flatten() {
            Some(object) => Ok((object, false)),
            None => match tls::get().stash.take(size, alignment) {
                Some((start, len)) => Ok((Region { start, len }, false)),
                None => default_pool().take(request, may_ask),
            },
        }
    }

    fn give(&self, block: NonNull<u8>) -> Result<(), Error> {
        release_bare(block)
    }

    fn holding(&self, address: usize) -> Option<Region> {
        object_holding(address).or_else(|| default_pool().holding(address))
    }

    #[inline]
    fn quarantine<T>(&self, f: impl FnOnce(&mut Quarantine) -> T) -> T {
        match tls::get().ward() {
            // SAFETY: `f` knows nothing but the quarantine.
            Some(mut ward) => f(&mut unsafe { ward.as_mut() }.quarantine),
            None => default_pool().quarantine(f),
        }
    }
}

/// An object of a slot: a random one, if the thread has a ward.
#[inline(always)]
fn take(slot: &Slot, cache: &Cache) -> Option<Region> {
    let start = match cache.ward() {
        // SAFETY: the slot does not know it.
        Some(mut ward) => slot.alloc_at_random(&mut unsafe { ward.as_mut() }.dice),
        None => slot.alloc(),
    }?;
    Some(Region { start, len: slot.object_size() })
}

/// The live object that holds `address`, of a span of the heap that caches know, whoever owns it.
fn object_holding(address: usize) -> Option<Region> {
    let map = tls::get().spans();
    let span = map.holding(address)?;
    // SAFETY: the map has a descriptor for every granule.
    let descriptor = unsafe { span.as_ref() };
    let (offset, (word, bit)) = descriptor.object_holding(address)?;
    // SAFETY: spans of the heap that caches know have an annex.
    let is_noted = unsafe { Annex::of(span).as_ref() }.remote.is_noted(word, bit);
    let start = NonNull::new(map.base_of(span).wrapping_add(offset))?;
    (!is_noted).then(|| Region { start, len: descriptor.object_size() })
}

pub(super) fn alloc(wanted: Wanted) -> Result<NonNull<u8>, Error> {
    if let Some(mut ward) = tls::get().ward() {
        // SAFETY: nothing else uses it now.
        let credit = &mut unsafe { ward.as_mut() }.credit;
        if *credit == 0 {
            *credit = sampled::credit();
        }
    }
    if wanted.size == 0 {
        return untouchable_pool(wanted.origin).alloc_aligned(wanted.alignment, 1);
    }
    default_pool().alloc_armoured(&Own, wanted)
}

pub(super) fn release(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    if let Some((pool, origin)) = untouchable_at(block.as_ptr()) {
        return release_untouchable(pool, origin, block, claim);
    }
    // A thread that only releases has a quarantine, too.
    own();
    default_pool().release_armoured(&Own, block.addr().get(), claim)
}

fn release_untouchable(
    pool: &MemoryPool,
    origin: Origin,
    block: NonNull<u8>,
    claim: Claim,
) -> Result<(), Error> {
    let pointer = block.addr().get();
    counted(pool.usable_size(block))?;
    if let Some(given) = claim.size.filter(|&given| given != 0) {
        return counted(Err(Error::SizeMismatch { pointer, given, size: 0 }));
    }
    // Arrays have the origin of what their operator calls.
    if claim.origin.is_some_and(|claimed| (claimed == Origin::Malloc) != (origin == Origin::Malloc))
    {
        return Err(Error::OriginMismatch { pointer, origin });
    }
    // SAFETY: the caller gives it up.
    counted(unsafe { pool.release(block) })
}

pub(super) fn resize(block: NonNull<u8>, size: usize, claim: Claim) -> Result<NonNull<u8>, Error> {
    if let Some((pool, _)) = untouchable_at(block.as_ptr()) {
        counted(pool.usable_size(block))?;
        let new = alloc(Wanted::bytes(size))?;
        return release(block, claim).map(|()| new).inspect_err(|_| {
            // Nobody knows the new one.
            let _ = release(new, Claim::POOL);
        });
    }
    default_pool().resize_armoured(&Own, block.addr().get(), size, claim)
}

pub(super) fn usable_size(block: NonNull<u8>) -> Result<usize, Error> {
    if let Some((pool, _)) = untouchable_at(block.as_ptr()) {
        return counted(pool.usable_size(block)).map(|_| 0);
    }
    default_pool().armoured_size(&Own, block.addr().get())
}

/// Gives a live block of the origin `from` the origin `to`, in a hardened pool. What is no such block stays as it
/// is. Says which origin it had, if it is a live block.
pub fn change_origin(block: *mut u8, from: Origin, to: Origin) -> Option<Origin> {
    if sampled::holds(block.addr()) {
        return sampled::change_origin(block.addr(), from, to);
    }
    if !default_pool().wears_armour(block.addr()) {
        return None;
    }
    default_pool().change_origin(&Own, block.addr(), from, to)
}

/// Hardens the pool behind `malloc`. False, with nothing changed, if too many blocks of it are live.
///
/// # Safety
/// The process has a single thread, which is in no function of this library, and this is called once.
pub unsafe fn harden() -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let hardened = system::harden_default_pool();
        if hardened {
            caches::harden();
        }
        hardened
    }
}

/// Which block of the pool behind `malloc` was touched at an address that can't be. May be called by a signal
/// handler: it waits for nothing.
pub fn fault_at(address: usize) -> Option<(Fault, Option<Record>)> {
    if let Some((fault, record)) = sampled::fault_at(address) {
        return Some((fault, Some(record)));
    }
    if !default_pool().is_hardened() {
        return None;
    }
    let is_empty = untouchable_pools().iter().any(|pool| pool.try_owns(address) == Some(true));
    let fault = if is_empty { Fault::Empty } else { default_pool().fault_at(address)? };
    Some((fault, None))
}

/// Who allocated and released the block that `address` is in, if it is a sampled one.
pub fn record_of(address: usize) -> Option<Record> {
    sampled::record_of(address)
}

/// What something wrote, beside a live block of the pool behind `malloc`, or to one that waits in the calling thread's
/// quarantine or the pool's, or is free in a span of the thread's own; or beside a sampled block. Where only some blocks
/// wear an armour, of those. `wait` says how long to wait for locks. Cost, if the pool is hardened: two steps a block, and
/// one for eight bytes of what the thread has free.
pub(super) fn first_wound(wait: Wait<'_>) -> Option<Error> {
    let sampled = sampled::first_wound(wait);
    let pool = default_pool();
    if sampled.is_some() || !pool.has_armours() {
        return sampled;
    }
    let cache = tls::get();
    // SAFETY: the pool knows nothing of it.
    let own = cache.ward().and_then(|ward| pool.stain_in(&unsafe { ward.as_ref() }.quarantine));
    own.or_else(|| pool.first_stain(wait))
        .or_else(|| pool.first_stain_of_free(&cache.inbox, wait))
        .or_else(|| pool.first_wound(wait))
}
