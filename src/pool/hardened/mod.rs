//! Hardened pools: every block wears an armour, and waits in quarantine before its memory is used again.
//!
//! What is armoured are bare blocks, those that the pool hands out otherwise. So all that is exact about them
//! stays exact: an address is that of a live bare block, or of none, before a byte of the armour is read.
//!
//! The bare blocks come from where the caller says ([`Bare`]): from the pool under its lock, or from a thread's
//! cache in front of it. Both serve the same blocks.
//!
//! A pool that is spot-checked is not hardened: now and then one of its blocks wears an armour, which is on a roll. All
//! that is said here of armoured blocks is true of those, but for N1: what was written to one after its release is
//! looked for when it leaves quarantine.
//!
//! Invariant:
//! - N1: the free memory of a hardened pool reads as zero. What is read there otherwise was written after its
//!   release.

mod alloc;
mod fault;
mod find;
mod found;
mod look;
mod quarantine;
mod rack;
mod release;
mod resize;
mod roll;
#[cfg(test)]
mod tests;

pub(crate) use alloc::MOST_CHECKED;
pub use fault::Fault;
pub use found::set_found_handler;
pub(crate) use found::{found, set_found_handler_if_none};
pub(crate) use rack::Rack;
pub(crate) use roll::Roll;

use super::MemoryPool;
use super::heap::{Heap, MIN_ALIGNMENT, Request};
use super::inner::Inner;
use crate::armour::{
    HEADER, Key, MOST_UNGUARDED, PAGE, Quarantine, Region, Suit, Worn, first_nonzero,
};
use crate::buddy::Kind;
use crate::error::{Error, Origin};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use spin::RelaxStrategy;

/// How pages can be kept from being touched. All of them may fail, and say so.
pub(crate) struct Guards {
    /// Lets nobody touch committed pages.
    pub(crate) close: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Undoes that.
    pub(crate) open: unsafe fn(NonNull<u8>, usize) -> bool,
    /// Gives the pages back to the system: what is read there next is zero.
    pub(crate) purge: unsafe fn(NonNull<u8>, usize) -> bool,
}

impl Guards {
    /// Makes pages read as zero (N1).
    ///
    /// # Safety
    /// They are committed, open, and nobody uses them.
    unsafe fn wipe(&self, pages: Region) {
        /// Fewer are as fast zeroed as they are got from the system again.
        const WORTH_PURGING: usize = 512 << 10;
        // SAFETY: the caller's promise.
        if pages.len >= WORTH_PURGING && unsafe { (self.purge)(pages.start, pages.len) } {
            return;
        }
        // Those that are zero are left alone: they may be none that the system has found memory for.
        for offset in (0..pages.len).step_by(PAGE) {
            // SAFETY: the caller's promise; the page is one of them.
            unsafe {
                let page = Region { start: pages.start.add(offset), len: PAGE };
                if first_nonzero(page).is_some() {
                    page.start.write_bytes(0, PAGE);
                }
            }
        }
    }
}

/// Where the bare blocks of a hardened pool come from and go to; those of guarded blocks under the pool's lock.
pub(crate) trait Bare {
    /// A block, and whether its bytes are known to be zero because nobody ever had them. From the heaps that there
    /// are, or, if it `may_ask`, from those that the pool's source and callbacks add.
    fn take(&self, request: Request, may_ask: bool) -> Result<(Region, bool), Error>;

    /// Releases the block that starts there.
    fn give(&self, block: NonNull<u8>) -> Result<(), Error>;

    /// The live block that holds `address`.
    fn holding(&self, address: usize) -> Option<Region>;

    /// Does something to the quarantine.
    fn quarantine<T>(&self, f: impl FnOnce(&mut Quarantine) -> T) -> T;
}

/// What a block is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Bytes.
    pub size: usize,
    /// A power of two.
    pub alignment: usize,
    /// What allocates it.
    pub origin: Origin,
    /// Whether its bytes are to be zero.
    pub zeroed: bool,
}

impl Wanted {
    /// What a pool's own functions want.
    pub(crate) fn bytes(size: usize) -> Wanted {
        Wanted { size, alignment: MIN_ALIGNMENT, origin: Origin::Malloc, zeroed: false }
    }
}

/// What whoever releases a block knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What allocated it.
    pub origin: Option<Origin>,
    /// The bytes that were asked for.
    pub size: Option<usize>,
}

impl Claim {
    /// What a pool's own functions know: they release whatever the pool holds.
    pub(crate) const POOL: Claim = Claim { origin: None, size: None };

    #[inline]
    pub(crate) fn is_true_of(self, worn: &Worn) -> bool {
        self.origin.is_none_or(|origin| origin == worn.origin)
            && self.size.is_none_or(|size| size == worn.size)
    }
}

/// What a pool has, beside what every pool has, whose blocks wear an armour.
pub(crate) struct Armoury {
    pub(crate) key: Key,
    /// Which of them do, if the pool is spot-checked and not hardened.
    pub(crate) roll: Option<&'static Roll>,
    /// Where every heap of the pool is made of pages that may be closed.
    pub(crate) guards: Option<&'static Guards>,
    /// Used under the pool's lock.
    pub(crate) quarantine: UnsafeCell<Quarantine>,
    /// Used under the pool's lock.
    pub(crate) rack: UnsafeCell<Rack>,
    /// Where the blocks start that were handed out before the pool was hardened and are live; else 0.
    pub(crate) early: &'static [AtomicUsize],
    /// Guarded blocks whose pages were closed.
    pub(crate) closed: AtomicUsize,
    /// Blocks that are stranded: retired, and in no quarantine, because the system did not open their pages.
    pub(crate) stranded: AtomicUsize,
    /// Allocations that found no memory while some were, since some were last given back.
    pub(crate) misses: AtomicUsize,
}

impl Armoury {
    fn early(&self, block: Region) -> Option<&AtomicUsize> {
        self.early.iter().find(|early| early.load(Relaxed) == block.start.addr().get())
    }
}

impl Heap {
    /// The live block that holds `address`.
    pub(super) fn block_holding(&self, address: usize) -> Option<Region> {
        let extent = self.extent_covering(self.granule_at(address)?)?;
        let start = self.address_of(extent.head);
        match extent.kind {
            Kind::Free | Kind::Stashed => None,
            Kind::Run => Some(Region { start, len: extent.granules as usize * self.granule() }),
            Kind::Span => {
                let slab = self.slab()?;
                let span = slab.span_of(extent)?;
                let (offset, len) = slab.live_object(span, address)?;
                // SAFETY: the object lies in the span.
                Some(Region { start: unsafe { start.add(offset) }, len })
            }
        }
    }
}

impl<R: RelaxStrategy> Inner<R> {
    fn block_holding(&self, address: usize) -> Option<Region> {
        self.heaps.get(self.find(address)?).block_holding(address)
    }
}

/// The pool itself, under its lock.
impl<R: RelaxStrategy> Bare for MemoryPool<R> {
    fn take(&self, request: Request, may_ask: bool) -> Result<(Region, bool), Error> {
        let fresh = if may_ask {
            self.alloc_slow(request)?
        } else {
            let mut inner = self.lock();
            let fresh = inner.alloc_also_stashed(request).ok_or_else(|| inner.refusal(request))?;
            self.warn_if_due(inner);
            fresh
        };
        let len = self.lock().live(fresh.address.addr().get()).map_or(0, |(_, live)| live.size);
        Ok((Region { start: fresh.address, len }, fresh.zeroed))
    }

    fn give(&self, block: NonNull<u8>) -> Result<(), Error> {
        self.release_bare(block)
    }

    fn holding(&self, address: usize) -> Option<Region> {
        self.lock().block_holding(address)
    }

    fn quarantine<T>(&self, f: impl FnOnce(&mut Quarantine) -> T) -> T {
        let _inner = self.lock();
        // SAFETY: it is used under the lock alone.
        f(unsafe { &mut *self.armoury().quarantine.get() })
    }
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Has blocks of the pool wear an armour: those of the armoury's roll, or else all of them; then it has no heap
    /// yet, or only such whose free memory reads as zero.
    ///
    /// # Safety
    /// No other thread is in a method of the pool. The armoury lives as long as the pool, and is used by it alone.
    pub(crate) unsafe fn equip(&self, armoury: NonNull<Armoury>) {
        // SAFETY: the caller's promise.
        let Armoury { key, roll, .. } = unsafe { armoury.as_ref() };
        if roll.is_none() {
            self.lock().take_at_random(key.second);
        }
        // Release: whoever finds it finds what is in it.
        self.armoury.store(armoury.as_ptr(), Release);
    }

    /// The armoury, if blocks of the pool wear an armour.
    #[inline]
    fn equipped(&self) -> Option<&Armoury> {
        // SAFETY: it lives as long as the pool. Acquire: with the release of `equip`.
        unsafe { self.armoury.load(Acquire).as_ref() }
    }

    /// Of a pool that has one.
    #[inline]
    fn armoury(&self) -> &Armoury {
        debug_assert!(self.equipped().is_some());
        // SAFETY: it lives as long as the pool.
        unsafe { &*self.armoury.load(Acquire) }
    }

    /// Whether all blocks of the pool wear an armour.
    #[inline]
    pub(crate) fn is_hardened(&self) -> bool {
        self.equipped().is_some_and(|armoury| armoury.roll.is_none())
    }

    /// Whether blocks of the pool wear an armour, all or some.
    #[inline]
    pub(crate) fn has_armours(&self) -> bool {
        self.equipped().is_some()
    }

    /// Whether the block whose user's bytes begin at `address`, or whose header does, wears an armour.
    #[inline]
    pub(crate) fn wears_armour(&self, address: usize) -> bool {
        self.equipped().is_some_and(|armoury| {
            armoury.roll.is_none_or(|roll| {
                // Where only some do the header is the only thing before the user's bytes.
                roll.has(address.wrapping_sub(HEADER)) || roll.has(address)
            })
        })
    }

    /// The secret of a hardened pool.
    pub(crate) fn key(&self) -> Key {
        self.armoury().key
    }

    pub(crate) fn count_misuse(&self) {
        self.lock().count_misuse();
    }

    #[inline]
    fn suit(&self, block: Region) -> Suit {
        let Armoury { key, guards, .. } = self.armoury();
        Suit { key: *key, block, guarded: block.len > MOST_UNGUARDED && guards.is_some() }
    }
}
