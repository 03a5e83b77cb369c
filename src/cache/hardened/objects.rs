//! The fast ways of a hardened pool's threads: an object of the thread's own spans puts its armour on, and one of any
//! span goes into quarantine. What is not as usual takes the other ways, which say what it is.

use super::{Ward, take};
use crate::armour::{self, HEADER, Region, Suit, TAIL};
use crate::cache::{Cache, release_bare, tls};
use crate::error::Origin;
use crate::pool::{Claim, MIN_ALIGNMENT};
use crate::slab::{ClassId, MAX_OBJECT, Slot};
use crate::system::default_pool;
use core::ptr::NonNull;

/// The most bytes of the user's that an object has room for.
const MOST: usize = MAX_OBJECT - HEADER - TAIL;

/// Allocates an object that is at hand, in a hardened pool; else `None`.
#[inline(always)]
pub fn alloc_at_once(size: usize, origin: Origin) -> Option<NonNull<u8>> {
    let cache = tls::get();
    let mut ward = cache.ward()?;
    // Blocks of 0 bytes are special.
    if size.wrapping_sub(1) >= MOST {
        return None;
    }
    let id = ClassId::holding(size + HEADER + TAIL);
    // SAFETY: nothing else uses it now.
    let key = unsafe {
        let Ward { key, credit, .. } = ward.as_mut();
        *credit = credit.checked_sub(1)?;
        *key
    };
    let slot = &cache.slots[id.index()];
    let block = take(slot, cache).or_else(|| take_next(slot, cache, id))?;
    // SAFETY: the block is ours, large enough, and a multiple of 16 bytes.
    unsafe {
        if let Some(offset) = armour::first_nonzero(block) {
            default_pool().found_written(block, offset);
        }
        let suit = Suit { key, block, guarded: false };
        Some(suit.put_on(size, MIN_ALIGNMENT, origin, false))
    }
}

/// [`take`] of an object of another word of the current span, or another span of the thread's own.
#[cold]
#[inline(never)]
fn take_next(slot: &Slot, cache: &Cache, id: ClassId) -> Option<Region> {
    if cache.refill_from_own(id.index()) { take(slot, cache) } else { None }
}

/// Releases an object that begins at `address`, in a hardened pool, into the thread's quarantine. False if that is for
/// others to do, or if there is something to say about it.
///
/// # Safety
/// As for `MemoryPool::release`.
#[inline(always)]
pub unsafe fn release_at_once(address: usize, claim: Claim) -> bool {
    let cache = tls::get();
    let Some(mut ward) = cache.ward() else { return false };
    let Some(block) = live_object(cache, address.wrapping_sub(HEADER)) else { return false };
    // SAFETY: nothing else uses the ward now. The object is live, so it can be read, and the caller gives it up.
    unsafe {
        let suit = Suit { key: ward.as_ref().key, block, guarded: false };
        let Some(worn) = suit.look_at_nearest() else { return false };
        if !claim.is_true_of(&worn) || suit.is_wounded_behind(&worn) || !suit.retire(&worn) {
            return false;
        }
        suit.wipe(&worn);
        if let Some(out) = ward.as_mut().quarantine.push(block) {
            discharge(cache, ward, out);
        }
        while let Some(out) = ward.as_mut().quarantine.pop_excess() {
            discharge(cache, ward, out);
        }
    }
    true
}

/// The live object that starts at `address`, of a span of the heap that caches know, whoever owns it. What another
/// thread has released since is not in its armour any more.
#[inline(always)]
fn live_object(cache: &Cache, address: usize) -> Option<Region> {
    let map = cache.spans();
    let span = map.holding(address)?;
    // SAFETY: the map has a descriptor for every granule.
    let descriptor = unsafe { span.as_ref() };
    if !descriptor.is_start_of_live(address) {
        return None;
    }
    let start = NonNull::new(map.pointer_to(address))?;
    Some(Region { start, len: descriptor.object_size() })
}

/// Gives a block that has left the thread's quarantine back, bare.
///
/// # Safety
/// It has; the ward is the cache's.
#[inline(always)]
unsafe fn discharge(cache: &Cache, ward: NonNull<Ward>, block: Region) {
    if block.len > MAX_OBJECT {
        return default_pool().discharge(&super::Own, block);
    }
    // SAFETY: the block is nobody else's now.
    unsafe {
        let suit = Suit { key: ward.as_ref().key, block, guarded: false };
        if !suit.take_off() {
            default_pool().found_written(block, 0);
        }
    }
    let address = block.start.addr().get();
    if let Some(span) = cache.spans().holding(address) {
        // SAFETY: the map has a descriptor for every granule; what the cache owns is its own (C2).
        let descriptor = unsafe { span.as_ref() };
        if descriptor.is_owned_by(&cache.inbox)
            && let Ok(is_due) = descriptor.release(address)
        {
            if is_due {
                cache.due(span);
            }
            return;
        }
    }
    let released = release_bare(block.start);
    debug_assert!(released.is_ok());
}
