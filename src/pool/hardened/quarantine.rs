//! What waits in quarantine, hangs on the rack or is stranded, and how it becomes bare again.

use super::{Armoury, Bare, Rack};
use crate::armour::{Damaged, Quarantine, Region, State, Suit, Worn};
use crate::error::Error;
use crate::pool::inner::Inner;
use crate::pool::lock::Guard;
use crate::pool::stats::take_off;
use crate::pool::{BlockState, MemoryPool};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;

/// Bytes of a block from which on they are given back to the system: fewer are as fast zeroed as they are got from it
/// again.
pub(super) const WORTH_PURGING: usize = 1 << 20;

impl<R: RelaxStrategy> MemoryPool<R> {
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

    /// Makes the memory of a retired block read as zero, and, if it is guarded and may wait, closes the user's pages.
    /// False if it can't wait: it is too large, or the system does not close them.
    pub(super) fn wipe_retired(&self, suit: Suit, worn: &Worn) -> bool {
        let may_wait = suit.block.len <= Quarantine::LARGEST;
        let Some(guards) = self.armoury().guards.filter(|_| suit.guarded) else {
            // SAFETY: the block is retired, so that nobody uses it.
            unsafe { self.wipe(suit.behind_header(worn), WORTH_PURGING) };
            return may_wait;
        };
        // Of a block that was not closed, what lies behind may be left of when it was larger.
        let open = if worn.is_closed { suit.used(worn.user, worn.size) } else { suit.pages() };
        // SAFETY: the block is retired, so that nobody uses its pages.
        unsafe { guards.wipe(open) };
        if !(worn.is_closed && may_wait) {
            return may_wait;
        }
        // Under the lock: who looks at live blocks finds their pages open.
        let _inner = self.lock();
        // SAFETY: as above.
        unsafe { (guards.close)(open.start, open.len) }
    }

    /// Does something to the rack, under the lock.
    pub(super) fn rack<T>(&self, f: impl FnOnce(&mut Rack) -> T) -> T {
        self.rack_and(|rack, _| f(rack))
    }

    fn rack_and<T>(&self, f: impl FnOnce(&mut Rack, &Inner<R>) -> T) -> T {
        let inner = self.lock();
        // SAFETY: it is used under the lock alone.
        f(unsafe { &mut *self.armoury().rack.get() }, &inner)
    }

    /// Hangs a closed block on the rack, and lets one out if it needs its place; the block itself if its heap drains.
    fn hang(&self, block: Region) -> Option<Region> {
        self.rack_and(|rack, inner| {
            if inner.drains(block.start.addr().get()) { Some(block) } else { rack.hang(block) }
        })
    }

    /// Hangs a block that has left the quarantine on the rack, if its pages are closed, or gives it back, bare.
    pub(crate) fn discharge(&self, bare: &impl Bare, block: Region) {
        let suit = self.suit(block);
        // SAFETY: the block is retired, and its header can be read.
        let hangs = suit.guarded && unsafe { suit.look() }.is_ok_and(|worn| worn.is_closed);
        let out = if hangs { self.hang(block) } else { Some(block) };
        if let Some(block) = out {
            self.give_back(bare, block);
        }
    }

    /// Gives a retired block that waits nowhere any more back, bare.
    pub(super) fn give_back(&self, bare: &impl Bare, block: Region) {
        let suit = self.suit(block);
        if suit.guarded {
            // SAFETY: the block is retired, and its header can be read.
            let worn = unsafe { suit.look() };
            // Whether the pages were closed is not known where something wrote over the header: most are.
            let is_closed = worn.is_ok_and(|worn| worn.is_closed) || worn.is_err();
            if is_closed && !self.open(suit) {
                match worn {
                    Ok(worn) => self.strand(suit, &worn),
                    Err(Damaged) => self.tell_written(block, suit.header_offset()),
                }
                return;
            }
        }
        // In a hardened pool that is looked for when the memory is allocated again.
        let stain = self.armoury().roll.and_then(|roll| {
            roll.strike(block.start.addr().get());
            // SAFETY: the block waits nowhere any more, so it is ours.
            unsafe { suit.stain() }
        });
        // SAFETY: as above.
        if !unsafe { suit.take_off() } {
            self.found_written(block, suit.header_offset());
        } else if let Some(offset) = stain {
            self.tell_written(block, offset);
        }
        // Guarded blocks are the pool's own (see `Bare`).
        let released = if suit.guarded { self.give(block.start) } else { bare.give(block.start) };
        debug_assert!(released.is_ok());
    }

    /// Notes that a retired block can't be given back yet.
    fn strand(&self, suit: Suit, worn: &Worn) {
        // SAFETY: the block waits nowhere any more, and its header can be written to.
        if unsafe { suit.change(worn, State::Retired, State::Stranded) } {
            self.armoury().stranded.fetch_add(1, Relaxed);
        }
    }

    /// Opens all pages of a retired block; false if the system refuses, as it may where a process has too many
    /// mappings.
    fn open(&self, suit: Suit) -> bool {
        let Armoury { guards, closed, .. } = self.armoury();
        // SAFETY: the block is retired, so that nobody uses its pages.
        let opened =
            guards.is_some_and(|guards| unsafe { (guards.open)(suit.block.start, suit.block.len) });
        if opened {
            // Not below 0, if it was not counted: see `give_back`.
            let _ = closed.fetch_update(Relaxed, Relaxed, |closed| closed.checked_sub(1));
        }
        opened
    }

    /// What waits in the pool's quarantine, or hangs on its rack.
    pub(in super::super) fn waiting<'pool>(
        &'pool self,
        _lock: &'pool Guard<'_, Inner<R>, R>,
    ) -> impl Iterator<Item = Region> + use<'pool, R> {
        // SAFETY: both are used under the lock alone.
        let both = self
            .equipped()
            .map(|armoury| unsafe { (&*armoury.quarantine.get(), &*armoury.rack.get()) });
        both.into_iter().flat_map(|(quarantine, rack)| quarantine.iter().chain(rack.iter()))
    }

    /// Blocks that were allocated from the rack.
    pub(in super::super) fn taken_from_rack(&self, _lock: &Guard<'_, Inner<R>, R>) -> u64 {
        // SAFETY: it is used under the lock alone.
        self.equipped().map_or(0, |armoury| unsafe { &*armoury.rack.get() }.taken())
    }

    /// Forgets what waits in quarantine, and which blocks wear an armour: all of them are released.
    pub(in super::super) fn forget_armours(&self) {
        self.quarantine(Quarantine::clear);
        self.rack(Rack::clear);
        if let Some(roll) = self.armoury().roll {
            roll.clear();
        }
    }

    /// Gives back what waits in quarantine, what hangs on the rack, and what is stranded.
    #[cfg(test)]
    pub(super) fn empty_quarantine(&self, bare: &impl Bare) {
        self.empty_places(bare);
        self.give_back_stranded(0..usize::MAX);
    }

    /// The same for an allocation that finds no memory; what is stranded only at the first such, the second, the fourth
    /// and so on, since some was given back: it is looked for among all blocks.
    pub(super) fn make_room(&self, bare: &impl Bare) {
        self.empty_places(bare);
        let Armoury { stranded, misses, .. } = self.armoury();
        let before = stranded.load(Relaxed);
        if before > 0 && (misses.fetch_add(1, Relaxed) + 1).is_power_of_two() {
            self.give_back_stranded(0..usize::MAX);
            if stranded.load(Relaxed) < before {
                misses.store(0, Relaxed);
            }
        }
    }

    /// Gives back what waits in quarantine, and what hangs on the rack.
    fn empty_places(&self, bare: &impl Bare) {
        while let Some(block) = bare.quarantine(Quarantine::pop) {
            self.give_back(bare, block);
        }
        self.empty_rack();
    }

    /// Gives back what is stranded in a range. Guarded blocks are the pool's own (see [`Bare`]).
    fn give_back_stranded(&self, mut range: Range<usize>) {
        // Each once: those that strand again do so at addresses that were passed by.
        while let Some(block) = self.refloat(range.clone()) {
            range.start = block.start.addr().get() + block.len;
            self.armoury().stranded.fetch_sub(1, Relaxed);
            self.give_back(self, block);
        }
    }

    /// Gives back what waits of the heap that holds `address`, if nothing of it is live, so that it can be removed.
    ///
    /// # Errors
    /// `HeapUnknown`, `HeapInUse`, with nothing changed.
    pub(in super::super) fn give_back_waiting_in(&self, address: usize) -> Result<(), Error> {
        let range = self.unused_heap(address)?;
        let is_meant = |block: Region| range.contains(&block.start.addr().get());
        while let Some(block) = self.quarantine(|quarantine| quarantine.pop_one_of(is_meant)) {
            self.give_back(self, block);
        }
        while let Some(block) = self.rack(|rack| rack.pop_one_of(is_meant)) {
            self.give_back(self, block);
        }
        self.give_back_stranded(range);
        Ok(())
    }

    /// Where the heap lies that holds `address`, of which nothing is live but what waits.
    fn unused_heap(&self, address: usize) -> Result<Range<usize>, Error> {
        let mut inner = self.lock();
        let heap = inner.heap_holding(address)?;
        // A run in a stash is no live block, and may be taken out of it meanwhile.
        inner.empty_stashes();
        let this = inner.heaps.get(heap);
        let (mut live, range) = (this.live_counts(), this.start()..this.start() + this.size());
        let stranded = self.stranded_in(&inner, range.clone()).map(|(suit, _)| suit.block);
        let waiting = self.waiting(&inner);
        let waiting =
            waiting.filter(|block| range.contains(&block.start.addr().get())).chain(stranded);
        take_off((&mut live.blocks, &mut live.bytes), waiting);
        if live.blocks > 0 || inner.is_known_to_caches(heap) {
            let (blocks, bytes) = (live.blocks, live.bytes);
            return Err(Error::HeapInUse { address: range.start, blocks, bytes });
        }
        Ok(range)
    }

    /// Gives back what hangs on the rack.
    pub(in super::super) fn empty_rack(&self) {
        while let Some(block) = self.rack(Rack::pop) {
            self.give_back(self, block);
        }
    }

    /// The stranded blocks that start in a range.
    fn stranded_in<'pool>(
        &'pool self,
        inner: &'pool Guard<'_, Inner<R>, R>,
        mut range: Range<usize>,
    ) -> impl Iterator<Item = (Suit, Worn)> {
        core::iter::from_fn(move || {
            while self.armoury().stranded.load(Relaxed) > 0 {
                let found = inner.block_from(range.start)?;
                let start = NonNull::new(found.address)?;
                if start.addr().get() >= range.end {
                    return None;
                }
                range.start = start.addr().get() + found.size;
                let suit = self.suit(Region { start, len: found.size });
                if found.state != BlockState::Live || !suit.guarded {
                    continue;
                }
                // SAFETY: under the lock a live guarded block stays one, and its header can be read.
                let worn = unsafe { suit.look() };
                if let Ok(worn) = worn
                    && worn.state == State::Stranded
                {
                    return Some((suit, worn));
                }
            }
            None
        })
    }

    /// Makes the first stranded block that starts in a range retired again.
    fn refloat(&self, range: Range<usize>) -> Option<Region> {
        let inner = self.lock();
        self.stranded_in(&inner, range).find_map(|(suit, worn)| {
            // SAFETY: as in `stranded_in`.
            let is_retired = unsafe { suit.change(&worn, State::Stranded, State::Retired) };
            is_retired.then_some(suit.block)
        })
    }
}
