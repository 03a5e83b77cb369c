//! Hardened pools: every block wears an armour, and waits in quarantine before its memory is used again.
//!
//! What is armoured are bare blocks, those that the pool hands out otherwise. So all that is exact about them
//! stays exact: an address is that of a live bare block, or of none, before a byte of the armour is read.
//!
//! The bare blocks come from where the caller says ([`Bare`]): from the pool under its lock, or from a thread's
//! cache in front of it. Both serve the same blocks.
//!
//! Invariant:
//! - N1: the free memory of a hardened pool reads as zero. What is read there otherwise was written after its
//!   release.

mod fault;
mod found;
mod look;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use found::set_found_handler;
pub(crate) use found::{found, set_found_handler_if_none};

use super::heap::{Fresh, Heap, MIN_ALIGNMENT, Request};
use super::inner::Inner;
use super::{BlockState, MemoryPool};
use crate::armour::{
    self, Damaged, Key, MOST_UNGUARDED, PAGE, Quarantine, Region, State, Suit, Worn, Wound,
};
use crate::buddy::Kind;
use crate::error::{Error, Origin};
use crate::slab::MAX_OBJECT;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use look::wounded;
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
        const WORTH_PURGING: usize = 128 << 10;
        // SAFETY: the caller's promise.
        unsafe {
            if pages.len < WORTH_PURGING || !(self.purge)(pages.start, pages.len) {
                pages.start.write_bytes(0, pages.len);
            }
        }
    }
}

/// Where the bare blocks of a hardened pool come from and go to.
pub(crate) trait Bare {
    /// A block, and whether its bytes are known to be zero because nobody ever had them. From the heaps that there
    /// are, or, if it `may_ask`, from those that the pool's source and callbacks add.
    fn take(&self, request: Request, may_ask: bool) -> Result<(Region, bool), Error>;

    /// Releases the block that starts there.
    fn give(&self, block: NonNull<u8>) -> Result<(), Error>;

    /// The live block that holds `address`.
    fn holding(&self, address: usize) -> Option<Region>;

    /// The same for an object of a span that can be had at once, without a lock.
    fn take_object(&self, _bytes: usize) -> Option<Region> {
        None
    }

    /// The live block that holds `address`, if it is an object that can be found at once.
    fn object_holding(&self, _address: usize) -> Option<Region> {
        None
    }

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
}

impl Wanted {
    /// What a pool's own functions want.
    pub(crate) fn bytes(size: usize) -> Wanted {
        Wanted { size, alignment: MIN_ALIGNMENT, origin: Origin::Malloc }
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
    fn is_true_of(self, worn: &Worn) -> bool {
        self.origin.is_none_or(|origin| origin == worn.origin)
            && self.size.is_none_or(|size| size == worn.size)
    }
}

/// The most bytes of the user's that an object can have.
const MOST_AT_ONCE: usize = MAX_OBJECT - 64;

/// What a hardened pool has beside what every pool has.
pub(crate) struct Hardened {
    pub(crate) key: Key,
    /// Where every heap of the pool is made of pages that may be closed.
    pub(crate) guards: Option<&'static Guards>,
    /// Used under the pool's lock.
    pub(crate) quarantine: UnsafeCell<Quarantine>,
    /// Where the blocks start that were handed out before the pool was hardened and are live; else 0.
    pub(crate) early: &'static [AtomicUsize],
    /// Guarded blocks whose pages were closed.
    pub(crate) closed: AtomicUsize,
    /// Blocks that are stranded: retired, and in no quarantine, because the system did not open their pages.
    pub(crate) stranded: AtomicUsize,
}

/// The most guarded blocks whose pages are closed at a time; others are like them but for that. Each takes three
/// mappings of the process, of which the system grants some ten thousands.
const MOST_CLOSED: usize = 8192;

impl Hardened {
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
            Kind::Free => None,
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
    /// Makes a retired block that is not guarded read as zero behind its header.
    fn wipe(&self, suit: Suit) {
        let behind = suit.behind_header();
        if let Some(heap) = self.find(behind.start.addr().get()) {
            // SAFETY: the block is retired, so that nobody uses it.
            unsafe { self.heaps.get(heap).wipe_block(behind) };
        }
    }

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
            inner.alloc(request).ok_or_else(|| inner.refusal(request))?
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
        f(unsafe { &mut *self.hardened().quarantine.get() })
    }
}

impl<R: RelaxStrategy> MemoryPool<R> {
    /// Hardens the pool, which has no heap yet, or only such whose free memory reads as zero.
    ///
    /// # Safety
    /// No other thread is in a method of the pool. `hardened` lives as long as the pool, and is used by it alone.
    pub(crate) unsafe fn harden(&self, hardened: NonNull<Hardened>) {
        // SAFETY: the caller's promise.
        self.lock().take_at_random(unsafe { hardened.as_ref() }.key.second);
        // Release: whoever finds it finds what is in it.
        self.hardened.store(hardened.as_ptr(), Release);
    }

    /// Whether the blocks of the pool wear an armour.
    #[inline]
    pub(crate) fn is_hardened(&self) -> bool {
        // Acquire: with the release of `harden`.
        !self.hardened.load(Acquire).is_null()
    }

    /// Of a pool that is hardened.
    #[inline]
    fn hardened(&self) -> &Hardened {
        let hardened = self.hardened.load(Acquire);
        debug_assert!(!hardened.is_null());
        // SAFETY: it lives as long as the pool.
        unsafe { &*hardened }
    }

    #[inline]
    fn suit(&self, block: Region) -> Suit {
        let Hardened { key, guards, .. } = self.hardened();
        Suit { key: *key, block, guarded: block.len > MOST_UNGUARDED && guards.is_some() }
    }

    /// Allocates an object that can be had at once, and puts its armour on.
    #[inline]
    pub(crate) fn alloc_at_once(&self, bare: &impl Bare, wanted: Wanted) -> Option<NonNull<u8>> {
        let Wanted { size, alignment, origin } = wanted;
        if size > MOST_AT_ONCE || alignment > MIN_ALIGNMENT {
            return None;
        }
        let block = bare.take_object(armour::bytes_for(size, MIN_ALIGNMENT)?)?;
        self.wipe_if_written(block);
        let suit = Suit { key: self.hardened().key, block, guarded: false };
        // SAFETY: the block is ours, and large enough.
        Some(unsafe { suit.put_on(size, MIN_ALIGNMENT, origin, false) })
    }

    /// Releases a block that starts at `address` and can be found at once, into quarantine. False if it can't, or if
    /// there is something to say about it.
    #[inline]
    pub(crate) fn release_at_once(&self, bare: &impl Bare, address: usize, claim: Claim) -> bool {
        let Some(block) = bare.object_holding(address) else { return false };
        let suit = Suit { key: self.hardened().key, block, guarded: false };
        // SAFETY: the block is live, so it can be read, and the caller gives it up.
        unsafe {
            let Ok(worn) = suit.look() else { return false };
            let is_it = worn.is_live() && worn.user.addr().get() == address;
            if !is_it || !claim.is_true_of(&worn) || suit.wound(&worn).is_some() {
                return false;
            }
            if !suit.retire(&worn) {
                return false;
            }
            suit.wipe();
        }
        self.confine(bare, block);
        true
    }

    /// Allocates a block and puts its armour on; says whether its bytes are zero.
    pub(crate) fn alloc_armoured(&self, bare: &impl Bare, wanted: Wanted) -> Result<Fresh, Error> {
        let Wanted { size, alignment, origin } = wanted;
        let too_large = Error::SizeOverflow { count: 1, size };
        let bytes = armour::bytes_for(size, alignment).ok_or(too_large)?;
        let request = if bytes > MOST_UNGUARDED && self.hardened().guards.is_some() {
            let size = armour::guarded_bytes_for(size, alignment).ok_or(too_large)?;
            Request { size, alignment: PAGE }
        } else {
            Request { size: bytes, alignment }
        };
        let (block, fresh) = bare.take(request, false).or_else(|_| {
            // What waits in quarantine may be what is missing.
            if request.size <= self.lock().capacity {
                self.empty_quarantine(bare);
            }
            bare.take(request, true)
        })?;
        let suit = self.suit(block);
        if !fresh && !suit.guarded {
            self.wipe_if_written(block);
        }
        let closes = suit.guarded && self.may_close();
        // SAFETY: the block is ours, and large enough.
        let user = unsafe { suit.put_on(size, alignment, origin, closes) };
        if closes {
            self.close_guards(suit, user, size);
        }
        Ok(Fresh { address: user, zeroed: fresh || !suit.guarded })
    }

    /// Tells of a free block that something wrote to, and makes it zero again (N1).
    #[inline]
    fn wipe_if_written(&self, block: Region) {
        // SAFETY: the block is ours, and a multiple of 16 bytes.
        let Some(offset) = (unsafe { armour::first_nonzero(block) }) else { return };
        self.found_written(block, offset);
    }

    #[cold]
    fn found_written(&self, block: Region, offset: usize) {
        // SAFETY: the block is the caller's.
        unsafe { block.start.write_bytes(0, block.len) };
        let block = block.start.addr().get();
        self.lock().count_misuse();
        found(&Error::WrittenAfterRelease { pointer: block + offset, block });
    }

    /// Whether one more block may have its pages closed; it is counted then.
    fn may_close(&self) -> bool {
        let closed = &self.hardened().closed;
        let may = closed.fetch_add(1, Relaxed) < MOST_CLOSED;
        if !may {
            closed.fetch_sub(1, Relaxed);
        }
        may
    }

    /// Closes the pages about the user's; those that the system doesn't close stay as they are.
    fn close_guards(&self, suit: Suit, user: NonNull<u8>, size: usize) {
        let Some(guards) = self.hardened().guards else { return };
        let (before, behind) = suit.guards(user, size);
        for guard in [before, behind] {
            // SAFETY: they are pages of the block, which nobody uses.
            unsafe { (guards.close)(guard.start, guard.len) };
        }
    }

    /// The live block that starts at `address`, for whoever uses it.
    #[inline]
    fn block_at(&self, bare: &impl Bare, address: usize) -> Result<Block, Error> {
        let Some(block) = bare.holding(address) else { return Err(self.bare_misuse(address)) };
        let suit = self.suit(block);
        // SAFETY: the block is live, so it can be read, or, if it is guarded, its header can.
        match unsafe { suit.look() } {
            Ok(worn) if worn.is_live() && worn.user.addr().get() == address => {
                Ok(Block::Armoured(suit, worn))
            }
            Err(Damaged) if self.is_early(block, address) => Ok(Block::Early(block)),
            other => Err(self.diagnose(address, other)),
        }
    }

    /// Why a pointer into no live bare block is none to a user's bytes.
    #[cold]
    fn bare_misuse(&self, address: usize) -> Error {
        match self.misuse(address) {
            // The books have it, but another thread has released it.
            Error::InteriorPointer { pointer, size, .. } => {
                Error::AlreadyReleased { pointer, size }
            }
            error => error,
        }
    }

    #[cold]
    fn is_early(&self, block: Region, address: usize) -> bool {
        block.start.addr().get() == address && self.hardened().early(block).is_some()
    }

    /// Why a pointer into a live bare block is none to its user's bytes.
    #[cold]
    fn diagnose(&self, pointer: usize, worn: Result<Worn, Damaged>) -> Error {
        self.lock().count_misuse();
        let Ok(worn) = worn else { return Error::Underrun { pointer, offset: 0 } };
        let (size, block) = (worn.size, worn.user.addr().get());
        if !worn.is_live() {
            Error::AlreadyReleased { pointer, size }
        } else if pointer.wrapping_sub(block) < size {
            Error::InteriorPointer { pointer, block, size }
        } else {
            Error::NotInPool { pointer }
        }
    }

    /// Whether what is claimed of a live block is true, and nothing was written beside its bytes.
    #[inline]
    fn accept(&self, suit: Suit, worn: &Worn, claim: Claim) -> Result<(), Error> {
        // SAFETY: the block is live, and the caller's to release.
        let wound = unsafe { suit.wound(worn) };
        if claim.is_true_of(worn) && wound.is_none() {
            Ok(())
        } else {
            Err(self.refuse(worn, claim, wound))
        }
    }

    #[cold]
    fn refuse(&self, worn: &Worn, claim: Claim, wound: Option<Wound>) -> Error {
        self.lock().count_misuse();
        let (pointer, size, origin) = (worn.user.addr().get(), worn.size, worn.origin);
        match (wound, claim.size) {
            (Some(wound), _) => wounded(worn, wound),
            (None, Some(given)) if given != size => Error::SizeMismatch { pointer, given, size },
            (None, _) => Error::OriginMismatch { pointer, origin },
        }
    }

    /// Releases the block that starts at `address`: into quarantine.
    pub(crate) fn release_armoured(
        &self,
        bare: &impl Bare,
        address: usize,
        claim: Claim,
    ) -> Result<(), Error> {
        let (suit, worn) = match self.block_at(bare, address)? {
            Block::Armoured(suit, worn) => (suit, worn),
            Block::Early(block) => {
                // SAFETY: the caller gives it up. Free memory is zero (N1).
                unsafe { block.start.write_bytes(0, block.len) };
                if let Some(early) = self.hardened().early(block) {
                    early.store(0, Relaxed);
                }
                return bare.give(block.start);
            }
        };
        self.accept(suit, &worn, claim)?;
        // SAFETY: the caller gives it up.
        if !unsafe { suit.retire(&worn) } {
            self.lock().count_misuse();
            return Err(Error::AlreadyReleased { pointer: address, size: worn.size });
        }
        self.wipe_retired(suit, &worn);
        if suit.block.len > Quarantine::LARGEST {
            self.discharge(bare, suit.block);
        } else {
            self.confine(bare, suit.block);
        }
        Ok(())
    }

    /// Puts a retired block into quarantine, and gives back what leaves it for that.
    #[inline]
    pub(crate) fn confine(&self, bare: &impl Bare, block: Region) {
        let mut out = bare
            .quarantine(|quarantine| quarantine.push(block).or_else(|| quarantine.pop_excess()));
        while let Some(block) = out {
            self.discharge(bare, block);
            out = bare.quarantine(Quarantine::pop_excess);
        }
    }

    /// Makes the memory of a retired block read as zero, and, if it is guarded and waits, closes the user's pages.
    fn wipe_retired(&self, suit: Suit, worn: &Worn) {
        let Some(guards) = self.hardened().guards.filter(|_| suit.guarded) else {
            return self.lock().wipe(suit);
        };
        let pages = suit.pages();
        let (_, behind) = suit.guards(worn.user, worn.size);
        let open = Region { start: pages.start, len: pages.len - behind.len };
        // SAFETY: the block is retired, so that nobody uses its pages.
        unsafe {
            guards.wipe(open);
            if worn.is_closed && suit.block.len <= Quarantine::LARGEST {
                // Under the lock: who looks at live blocks finds their pages open.
                let _inner = self.lock();
                (guards.close)(open.start, open.len);
            }
        }
    }

    /// Gives a block that has left the quarantine back, bare.
    fn discharge(&self, bare: &impl Bare, block: Region) {
        let suit = self.suit(block);
        if suit.guarded {
            // SAFETY: the block is retired, and its header can be read.
            let worn = unsafe { suit.look() };
            let is_closed = worn.is_ok_and(|worn| worn.is_closed);
            if is_closed && !self.open(suit) {
                if let Ok(worn) = worn
                    // SAFETY: as above.
                    && unsafe { suit.change(&worn, State::Retired, State::Stranded) }
                {
                    self.hardened().stranded.fetch_add(1, Relaxed);
                }
                return;
            }
        }
        // SAFETY: the block has left the quarantine, so it is ours.
        if let Some(offset) = unsafe { suit.take_off() } {
            self.found_written(block, offset);
        }
        let released = bare.give(block.start);
        debug_assert!(released.is_ok());
    }

    /// Opens all pages of a retired block; false if the system refuses, as it may where a process has too many
    /// mappings.
    fn open(&self, suit: Suit) -> bool {
        let Hardened { guards, closed, .. } = self.hardened();
        // SAFETY: the block is retired, so that nobody uses its pages.
        let opened =
            guards.is_some_and(|guards| unsafe { (guards.open)(suit.block.start, suit.block.len) });
        if opened {
            closed.fetch_sub(1, Relaxed);
        }
        opened
    }

    /// Gives back what waits in quarantine, and what is stranded.
    pub(crate) fn empty_quarantine(&self, bare: &impl Bare) {
        while let Some(block) = bare.quarantine(Quarantine::pop) {
            self.discharge(bare, block);
        }
        // Each once: those that strand again do so at addresses that were passed by.
        let mut address = 0;
        while self.hardened().stranded.load(Relaxed) > 0
            && let Some(block) = self.next_bare(address)
        {
            address = block.start.addr().get() + block.len;
            let suit = self.suit(block);
            if !suit.guarded {
                continue;
            }
            // SAFETY: the block was live under the lock, so its header can be read; one thread makes it retired
            // again.
            let refloated = unsafe {
                suit.look().is_ok_and(|worn| suit.change(&worn, State::Stranded, State::Retired))
            };
            if refloated {
                self.hardened().stranded.fetch_sub(1, Relaxed);
                self.discharge(bare, block);
            }
        }
    }

    /// The first live bare block that starts at `address` or above.
    fn next_bare(&self, address: usize) -> Option<Region> {
        let mut address = address;
        let inner = self.lock();
        loop {
            let block = inner.block_from(address)?;
            if block.state == BlockState::Live {
                let start = NonNull::new(block.address)?;
                return Some(Region { start, len: block.size });
            }
            address = block.address.addr() + block.size;
        }
    }

    /// Makes a block hold `size` bytes, where it is if that can be.
    pub(crate) fn resize_armoured(
        &self,
        bare: &impl Bare,
        address: usize,
        size: usize,
        claim: Claim,
    ) -> Result<NonNull<u8>, Error> {
        let (old, old_size, new) = match self.block_at(bare, address)? {
            Block::Armoured(suit, worn) => {
                self.accept(suit, &worn, claim)?;
                let room = suit.room(worn.user).unwrap_or(0);
                // To move one that gets smaller saves half.
                let may_stay = size <= room && (size >= worn.size || size >= room / 2);
                if may_stay && self.resize_in_place(suit, &worn, size) {
                    return Ok(worn.user);
                }
                match self.alloc_armoured(bare, Wanted::bytes(size)) {
                    Ok(new) => (worn.user, worn.size, new),
                    Err(_) if size <= worn.size && self.resize_in_place(suit, &worn, size) => {
                        return Ok(worn.user);
                    }
                    Err(error) => return Err(error),
                }
            }
            Block::Early(block) => {
                (block.start, block.len, self.alloc_armoured(bare, Wanted::bytes(size))?)
            }
        };
        let new = new.address;
        // SAFETY: both blocks are live, so that they don't overlap, and have so many bytes.
        unsafe { new.copy_from_nonoverlapping(old, old_size.min(size)) };
        self.release_armoured(bare, address, claim).map(|()| new).inspect_err(|_| {
            // Somebody released it meanwhile, against the caller's promise.
            let _ = self.release_armoured(bare, new.addr().get(), Claim::POOL);
        })
    }

    fn resize_in_place(&self, suit: Suit, worn: &Worn, size: usize) -> bool {
        if suit.room(worn.user).is_none_or(|room| size > room) {
            return false;
        }
        if let Some(guards) = self.hardened().guards.filter(|_| suit.guarded && worn.is_closed) {
            let (_, old) = suit.guards(worn.user, worn.size);
            let (_, new) = suit.guards(worn.user, size);
            // SAFETY: the pages between are the block's, and nobody uses them yet, or any more.
            unsafe {
                if new.start > old.start {
                    if !(guards.open)(old.start, old.len - new.len) {
                        return false;
                    }
                } else {
                    let left = Region { start: new.start, len: new.len - old.len };
                    guards.wipe(left);
                    // Under the lock, and the header with it: who looks at live blocks finds their pages open.
                    let _inner = self.lock();
                    suit.write(worn.user, size, worn.origin, true);
                    (guards.close)(left.start, left.len);
                    return true;
                }
            }
        }
        // SAFETY: the block has room for the user's bytes, and is his to resize.
        unsafe { suit.write(worn.user, size, worn.origin, worn.is_closed) };
        true
    }

    /// The bytes that were asked for of the live block that starts at `address`.
    pub(crate) fn armoured_size(&self, bare: &impl Bare, address: usize) -> Result<usize, Error> {
        Ok(match self.block_at(bare, address)? {
            Block::Armoured(_, worn) => worn.size,
            Block::Early(block) => block.len,
        })
    }

    /// Gives a live block of the origin `from` the origin `to`; blocks of others it leaves as they are. Says which
    /// it had, if it is a live block that nothing was written beside.
    pub(crate) fn change_origin(
        &self,
        bare: &impl Bare,
        address: usize,
        from: Origin,
        to: Origin,
    ) -> Option<Origin> {
        let suit = self.suit(bare.holding(address)?);
        // SAFETY: the block is live, and the caller's.
        unsafe {
            let worn = suit.look().ok()?;
            let is_it = worn.is_live() && worn.user.addr().get() == address;
            if !is_it || suit.wound(&worn).is_some() {
                return None;
            }
            if worn.origin == from {
                suit.write(worn.user, worn.size, to, worn.is_closed);
            }
            Some(worn.origin)
        }
    }
}

/// A live block of a hardened pool.
enum Block {
    Armoured(Suit, Worn),
    /// From before the pool was hardened.
    Early(Region),
}
