//! Caches of a hardened pool: bare blocks come from, and go to, the thread's own spans; what waits in quarantine
//! does so by thread.
//!
//! The fast ways of a cache know nothing of armours. So they are led to a slot that never has objects, and to a
//! map without granules, and every call comes here.

use super::{Cache, caches, own, own_object, release_bare, tls};
use crate::armour::{Quarantine, Region};
use crate::error::{Error, Origin};
use crate::pool::{Bare, Claim, Fault, Fresh, MIN_ALIGNMENT, Request, Wanted};
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
    /// Its thread's ward, unless the pool is not hardened, the thread has no cache, or there was no memory for one. The
    /// thread alone uses it (C1).
    #[inline]
    fn ward(&self) -> Option<NonNull<Ward>> {
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
        match fits.then(|| self.take_object(size)).flatten() {
            Some(object) => Ok((object, false)),
            None => default_pool().take(request, may_ask),
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
    fn quarantine<T>(&self, f: impl FnOnce(&mut Quarantine) -> T) -> T {
        match tls::get().ward() {
            // SAFETY: `f` knows nothing but the quarantine.
            Some(mut ward) => f(&mut unsafe { ward.as_mut() }.quarantine),
            None => default_pool().quarantine(f),
        }
    }
}

#[inline]
fn take_at_random(slot: &Slot, cache: &Cache) -> Option<NonNull<u8>> {
    let mut ward = cache.ward()?;
    // SAFETY: the slot does not know it.
    slot.alloc_at_random(&mut unsafe { ward.as_mut() }.dice)
}

#[inline]
pub(super) fn alloc(wanted: Wanted) -> Result<NonNull<u8>, Error> {
    if wanted.size > 0
        && let Some(block) = default_pool().alloc_at_once(&Own, wanted)
    {
        return Ok(block);
    }
    alloc_other(wanted).map(|block| block.address)
}

/// [`alloc`], for every block; says whether its bytes are zero.
#[cold]
#[inline(never)]
pub(super) fn alloc_other(wanted: Wanted) -> Result<Fresh, Error> {
    if wanted.size == 0 {
        let address = untouchable_pool().alloc_aligned(wanted.alignment, 1)?;
        return Ok(Fresh { address, zeroed: true });
    }
    default_pool().alloc_armoured(&Own, wanted)
}

#[inline]
pub(super) fn release(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    // A thread that only releases has a quarantine, too.
    if own().is_some() && default_pool().release_at_once(&Own, block.addr().get(), claim) {
        return Ok(());
    }
    release_other(block, claim)
}

#[cold]
#[inline(never)]
fn release_other(block: NonNull<u8>, claim: Claim) -> Result<(), Error> {
    if untouchable_pool().owns(block.as_ptr()) {
        // SAFETY: the caller gives it up.
        return unsafe { untouchable_pool().release(block) };
    }
    default_pool().release_armoured(&Own, block.addr().get(), claim)
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
