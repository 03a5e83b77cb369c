//! Stashes: runs that a thread has released, at hand for its next ones without a lock.
//!
//! A stash notes where its runs are, and whose a run is says its tag: see `buddy::handover`. So the pool can take a
//! run out of any stash, where memory is short or a run has been there for a while, and two notes of one run, as a
//! double release by two threads may leave them, do no harm.
//!
//! A thread alone adds notes to its stash. The pool, under its lock, takes some away, and marks those that it has seen.

use super::MemoryPool;
use super::inner::Inner;
use crate::buddy::{Granule, Order, Tags};
use crate::slab::SPAN_GRANULE_SHIFT;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use spin::RelaxStrategy;

/// The orders of the runs in a stash: from 16 KiB to 256 KiB. Smaller blocks are objects of spans.
const LEAST: Order = Order(2);
const MOST: Order = Order(6);
const ORDERS: usize = (MOST.0 - LEAST.0 + 1) as usize;

/// Bytes of a granule of the heaps whose runs are stashed.
const PAGE: usize = 1 << SPAN_GRANULE_SHIFT;

/// Runs of each order.
const PLACES: usize = 2;

/// In a note: a round of decay has seen it.
const SEEN: u32 = 1 << 31;

/// Where a run is: one more than its granule, or 0.
struct Note(AtomicU32);

impl Note {
    fn granule(note: u32) -> Option<Granule> {
        Some(Granule((note & !SEEN).checked_sub(1)?))
    }

    fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    fn write(&self, granule: Granule) {
        self.0.store(granule.0 + 1, Relaxed);
    }

    /// What it says, which it does not from now on.
    fn take(&self) -> Option<Granule> {
        let note = self.0.load(Relaxed);
        if note != 0 {
            self.0.store(0, Relaxed);
        }
        Note::granule(note)
    }

    /// The same for other threads than the stash's, if the note has been seen before; else it is seen now.
    fn take_if_seen(&self) -> Option<Granule> {
        let note = self.0.load(Relaxed);
        let next = if note & SEEN == 0 { note | SEEN } else { 0 };
        let taken = note != 0 && self.0.compare_exchange(note, next, Relaxed, Relaxed).is_ok();
        Note::granule(note).filter(|_| taken && next == 0)
    }
}

/// See the module.
pub(crate) struct Stash {
    /// Address of granule 0 of the heap whose runs are stashed, and its tags.
    first: Cell<*mut u8>,
    tags: Cell<Tags>,
    notes: [[Note; PLACES]; ORDERS],
    /// Runs that were taken out again.
    taken: AtomicU64,
    /// The next of the pool's stashes.
    next: AtomicPtr<Stash>,
}

impl Stash {
    /// One that never has anything.
    pub(crate) const fn new() -> Stash {
        Stash {
            first: Cell::new(null_mut()),
            tags: Cell::new(Tags::EMPTY),
            notes: [const { [const { Note(AtomicU32::new(0)) }; PLACES] }; ORDERS],
            taken: AtomicU64::new(0),
            next: AtomicPtr::new(null_mut()),
        }
    }

    fn notes_of(&self, order: Order) -> Option<&[Note; PLACES]> {
        self.notes.get(order.0.checked_sub(LEAST.0)? as usize)
    }

    /// Takes a run of at least `size` bytes with that alignment, and says how many it has.
    pub(crate) fn take(&self, size: usize, alignment: usize) -> Option<(NonNull<u8>, usize)> {
        let bytes = size.max(alignment);
        if bytes > PAGE << MOST.0 {
            return None;
        }
        let order = Order::holding(bytes.div_ceil(PAGE) as u32);
        let granules = self.notes_of(order)?.iter().rev().filter_map(Note::take);
        let granule = granules.into_iter().find(|&granule| self.tags.get().take(granule, order))?;
        self.taken.store(self.taken.load(Relaxed) + 1, Relaxed);
        Some((NonNull::new(self.address_of(granule))?, PAGE << order.0))
    }

    fn address_of(&self, granule: Granule) -> *mut u8 {
        self.first.get().wrapping_add(granule.index() * PAGE)
    }

    /// The granule that starts at `address`, which may lie beyond the heap's.
    fn granule_at(&self, address: usize) -> Option<Granule> {
        let offset = address.wrapping_sub(self.first.get().addr());
        let granule = Granule(u32::try_from(offset / PAGE).ok()?);
        offset.is_multiple_of(PAGE).then_some(granule)
    }

    /// Bytes of the live run that starts at `address`, if it is a single block of the heap whose runs are stashed.
    pub(crate) fn bytes_of_run(&self, address: usize) -> Option<usize> {
        let order = self.tags.get().order_of(self.granule_at(address)?)?;
        Some(PAGE << order.0)
    }

    /// Stashes the run that starts at `address`, if there is such a one, without a note of it.
    fn stash(&self, address: usize) -> Option<(Granule, Order)> {
        let granule = self.granule_at(address)?;
        Some((granule, self.tags.get().stash(granule, LEAST..=MOST)?))
    }

    /// Notes where a run is; false if there is no place.
    fn note(&self, granule: Granule, order: Order) -> bool {
        let place =
            self.notes_of(order).and_then(|notes| notes.iter().find(|note| note.is_empty()));
        place.inspect(|place| place.write(granule)).is_some()
    }
}

impl<R: RelaxStrategy> Inner<R> {
    /// The stashes of threads.
    fn stashes(&self) -> impl Iterator<Item = &'static Stash> + use<R> {
        let mut next = self.stashes;
        core::iter::from_fn(move || {
            // SAFETY: stashes are never freed.
            let stash = unsafe { next.as_ref() }?;
            next = stash.next.load(Relaxed);
            Some(stash)
        })
    }

    /// Makes a run of a stash free, if it still is in one.
    fn reclaim(&mut self, stash: &Stash, granule: Granule) {
        let address = stash.address_of(granule).addr();
        if let Some(heap) = self.find(address)
            && let Some(granules) = self.heaps.get_mut(heap).reclaim_run(address)
        {
            self.gained_granules(heap, granules);
        }
    }

    /// Makes free what has been in a stash since the last round of decay but one.
    pub(super) fn decay_stashes(&mut self) {
        for stash in self.stashes() {
            stash
                .notes
                .iter()
                .flatten()
                .filter_map(Note::take_if_seen)
                .for_each(|granule| self.reclaim(stash, granule));
        }
    }

    /// Makes free what is in stashes; says how many bytes.
    pub(super) fn empty_stashes(&mut self) -> usize {
        let used = self.used;
        for stash in self.stashes() {
            self.empty(stash);
        }
        used - self.used
    }

    /// Makes free the half of a stash's runs of an order that was there first.
    fn empty_half(&mut self, stash: &Stash, order: Order) {
        let Some(notes) = stash.notes_of(order) else { return };
        let (first, last) = notes.split_at(PLACES / 2);
        first.iter().filter_map(Note::take).for_each(|granule| self.reclaim(stash, granule));
        for (place, note) in first.iter().zip(last) {
            note.take().inspect(|&granule| place.write(granule));
        }
    }

    fn empty(&mut self, stash: &Stash) {
        stash
            .notes
            .iter()
            .flatten()
            .filter_map(Note::take)
            .for_each(|granule| self.reclaim(stash, granule));
    }

    /// Bytes of all runs in stashes.
    pub(super) fn stashed_bytes(&self) -> usize {
        let notes = self.stashes().flat_map(|stash| stash.notes.iter().zip(LEAST.0..));
        let bytes = notes.map(|(notes, order)| {
            notes.iter().filter(|note| !note.is_empty()).count()
                << (SPAN_GRANULE_SHIFT + order as u32)
        });
        bytes.sum()
    }

    /// Runs that were allocated out of stashes.
    pub(super) fn taken_out_of_stashes(&self) -> u64 {
        self.stashes().map(|stash| stash.taken.load(Relaxed)).sum()
    }
}

/// For the caches.
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Lets a stash have runs of the first heap whose spans can have owners.
    pub(crate) fn enlist(&self, stash: &'static Stash) {
        let mut inner = self.lock();
        let runs = inner.heaps.iter().find_map(|heap| inner.heaps.get(heap).shared_runs());
        if let Some((first, tags)) = runs {
            stash.first.set(first.as_ptr());
            stash.tags.set(tags);
        }
        stash.next.store(inner.stashes, Relaxed);
        inner.stashes = core::ptr::from_ref(stash).cast_mut();
    }

    /// Releases the run that starts at `address` into a stash, if that may have it.
    pub(crate) fn stash(&self, stash: &Stash, address: usize) -> bool {
        let Some((granule, order)) = stash.stash(address) else { return false };
        if !stash.note(granule, order) {
            self.lock().empty_half(stash, order);
            // There is a place now.
            stash.note(granule, order);
        }
        true
    }

    /// Gives back the runs of a stash.
    pub(crate) fn empty_stash(&self, stash: &Stash) {
        self.lock().empty(stash);
    }
}
