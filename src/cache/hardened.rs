//! Caches of a hardened pool: bare blocks come from, and go to, the thread's own spans; what waits in quarantine
//! does so by thread.
//!
//! The fast ways of a cache know nothing of armours. So they are led to a slot that never has objects, and to a
//! map without granules, and every call comes here.

use super::{Cache, caches, own_object, release_bare, tls};
use crate::armour::{Quarantine, Region};
use crate::error::{Error, Origin};
use crate::pool::{Bare, Claim, Fault, MIN_ALIGNMENT, Request, Wanted};
use crate::sampled::{self, Record};
use crate::slab::{Annex, ClassId, Dice, MAX_OBJECT, Slot};
use crate::system::{self, default_pool, untouchable_pool};
use core::ptr::NonNull;

/// What a thread needs besides its cache.
pub(super) struct Ward {
    dice: Dice,
    quarantine: Quarantine,
}

impl Ward {
    pub(super) const fn new(seed: u64) -> Ward {
        Ward { dice: Dice::new(seed), quarantine: Quarantine::new() }
    }
}

impl Cache {
    /// Its thread's ward, unless the pool is not hardened or the thread has no cache.
    #[inline]
    fn with_ward<T>(&self, f: impl FnOnce(&mut Ward) -> T) -> Option<T> {
        // SAFETY: the cache's thread alone uses it (C1), and `f` never comes back here.
        unsafe { self.ward.get().as_mut() }.map(f)
    }

    /// Gives back what waits in quarantine, before its thread leaves.
    pub(super) fn empty_quarantine(&self) {
        if !self.ward.get().is_null() {
            default_pool().empty_quarantine(&Own);
        }
    }
}

/// The calling thread's spans, and the pool where those don't do.
struct Own;

impl Bare for Own {
    fn take(&self, request: Request) -> Result<(Region, bool), Error> {
        let Request { size, alignment } = request;
        let fits = size <= MAX_OBJECT && alignment <= MIN_ALIGNMENT;
        match fits.then(|| self.take_object(size)).flatten() {
            Some(object) => Ok((object, false)),
            None => default_pool().take(request),
        }
    }

    fn give(&self, block: NonNull<u8>) -> Result<(), Error> {
        release_bare(block)
    }

    fn holding(&self, address: usize) -> Option<Region> {
        self.object_holding(address).or_else(|| default_pool().holding(address))
    }

    #[inline]
    fn take_object(&self, bytes: usize) -> Option<Region> {
        let cache = tls::get();
        let id = ClassId::holding(bytes);
        let len = id.class().size as usize;
        let start = take_at_random(&cache.slots[id.index()], cache)
            .or_else(|| own_object(bytes, take_at_random))?;
        Some(Region { start, len })
    }

    /// Of a span of the heap that caches know, whoever owns it.
    #[inline]
    fn object_holding(&self, address: usize) -> Option<Region> {
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

    #[inline]
    fn quarantine<T>(&self, f: impl FnOnce(&mut Quarantine) -> T) -> Option<T> {
        tls::get().with_ward(|ward| f(&mut ward.quarantine))
    }
}

#[inline]
fn take_at_random(slot: &Slot, cache: &Cache) -> Option<NonNull<u8>> {
    cache.with_ward(|ward| slot.alloc_at_random(&mut ward.dice)).flatten()
}

#[inline]
pub(super) fn alloc(wanted: Wanted) -> Result<NonNull<u8>, Error> {
    if wanted.size == 0 {
        return untouchable_pool().alloc_aligned(wanted.alignment, 1);
    }
    match default_pool().alloc_at_once(&Own, wanted) {
        Some(block) => Ok(block),
        None => default_pool().alloc_armoured(&Own, wanted).map(|block| block.address),
    }
}

#[inline]
pub(super) fn release(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    if default_pool().release_at_once(&Own, block.addr().get(), claim) {
        return Ok(());
    }
    release_other(block, claim)
}

#[cold]
#[inline(never)]
fn release_other(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    match default_pool().release_armoured(&Own, block.addr().get(), claim) {
        Err(Error::NotInPool { .. } | Error::OtherPool { .. })
            if untouchable_pool().owns(block.as_ptr()) =>
        {
            // SAFETY: the caller gives it up.
            unsafe { untouchable_pool().release(block) }
        }
        released => released,
    }
}

pub(super) fn resize(block: NonNull<u8>, size: usize, claim: Claim) -> Result<NonNull<u8>, Error> {
    if untouchable_pool().owns(block.as_ptr()) {
        let new = alloc(Wanted { size, alignment: MIN_ALIGNMENT, origin: Origin::Malloc })?;
        return release(block, claim).map(|()| new).inspect_err(|_| {
            // Nobody knows the new one.
            let _ = release(new, Claim::POOL);
        });
    }
    default_pool().resize_armoured(&Own, block.addr().get(), size, claim)
}

pub(super) fn usable_size(block: NonNull<u8>) -> Result<usize, Error> {
    if untouchable_pool().owns(block.as_ptr()) {
        return untouchable_pool().usable_size(block).map(|_| 0);
    }
    default_pool().armoured_size(&Own, block.addr().get())
}

/// Gives a live block of the origin `from` the origin `to`, in a hardened pool. What is no such block stays as it
/// is. Says which origin it had, if it is a live block.
pub fn change_origin(block: *mut u8, from: Origin, to: Origin) -> Option<Origin> {
    if sampled::holds(block.addr()) {
        return sampled::change_origin(block.addr(), from, to);
    }
    if !default_pool().is_hardened() {
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
    unsafe { system::harden_default_pool() && caches::harden() }
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
    let is_empty = untouchable_pool().try_owns(address).unwrap_or(false);
    let fault = if is_empty { Fault::Empty } else { default_pool().fault_at(address)? };
    Some((fault, None))
}

/// Who allocated and released the block that `address` is in, if it is a sampled one.
pub fn record_of(address: usize) -> Option<Record> {
    sampled::record_of(address)
}

/// What something wrote, beside a live block of the pool behind `malloc`, or to one of the calling thread that
/// waits in quarantine; or beside a sampled block. Cost, if the pool is hardened: a step a block.
pub fn first_wound() -> Option<Error> {
    let sampled = sampled::first_wound();
    if sampled.is_some() || !default_pool().is_hardened() {
        return sampled;
    }
    default_pool().first_stain(&Own).or_else(|| default_pool().first_wound())
}
