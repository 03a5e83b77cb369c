//! What waits in quarantine, what is stranded, and how both become bare again.

use super::{Armoury, Bare};
use crate::armour::{Damaged, Quarantine, Region, State, Suit, Worn};
use crate::pool::inner::Inner;
use crate::pool::lock::Guard;
use crate::pool::{BlockState, MemoryPool};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;

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

    /// Makes the memory of a retired block read as zero, and, if it is guarded and waits, closes the user's pages.
    pub(super) fn wipe_retired(&self, suit: Suit, worn: &Worn) {
        let Some(guards) = self.armoury().guards.filter(|_| suit.guarded) else {
            return self.lock().wipe(suit, worn);
        };
        let pages = suit.pages();
        let (_, behind) = suit.guards(worn.user, worn.size);
        // Of a block that was not closed, what lies behind may be left of when it was larger.
        let closed = if worn.is_closed { behind.len } else { 0 };
        let open = Region { start: pages.start, len: pages.len - closed };
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
    pub(crate) fn discharge(&self, bare: &impl Bare, block: Region) {
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
            // SAFETY: the block has left the quarantine, so it is ours.
            unsafe { suit.stain() }
        });
        // SAFETY: as above.
        if !unsafe { suit.take_off() } {
            self.found_written(block, suit.header_offset());
        } else if let Some(offset) = stain {
            self.tell_written(block, offset);
        }
        let released = bare.give(block.start);
        debug_assert!(released.is_ok());
    }

    /// Notes that a retired block can't be given back yet.
    fn strand(&self, suit: Suit, worn: &Worn) {
        // SAFETY: the block has left the quarantine, and its header can be written to.
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
            // Not below 0, if it was not counted: see `discharge`.
            let _ = closed.fetch_update(Relaxed, Relaxed, |closed| closed.checked_sub(1));
        }
        opened
    }

    /// What waits in the pool's quarantine.
    pub(in super::super) fn waiting<'pool>(
        &'pool self,
        _lock: &'pool Guard<'_, Inner<R>, R>,
    ) -> impl Iterator<Item = Region> + use<'pool, R> {
        // SAFETY: the quarantine is used under the lock alone.
        let quarantine = self.equipped().map(|armoury| unsafe { &*armoury.quarantine.get() });
        quarantine.into_iter().flat_map(Quarantine::iter)
    }

    /// Forgets what waits in quarantine, and which blocks wear an armour: all of them are released.
    pub(in super::super) fn forget_armours(&self) {
        self.quarantine(Quarantine::clear);
        if let Some(roll) = self.armoury().roll {
            roll.clear();
        }
    }

    /// Gives back what waits in quarantine, and what is stranded.
    pub(crate) fn empty_quarantine(&self, bare: &impl Bare) {
        while let Some(block) = bare.quarantine(Quarantine::pop) {
            self.discharge(bare, block);
        }
        // Each once: those that strand again do so at addresses that were passed by.
        let mut address = 0;
        while self.armoury().stranded.load(Relaxed) > 0
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
                self.armoury().stranded.fetch_sub(1, Relaxed);
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
}
