//! Stashes: runs that a thread has released, at hand for its next ones without a lock.
//!
//! A stash has notes of where its runs are; whose a run is says its tag: see `buddy::handover`. So the pool can take a
//! run out of any stash, under its lock: where memory is short, where a run has been there for a while, or where
//! nothing is to be allocated from the heap any more.

mod note;

use super::MemoryPool;
use super::heap::{Fresh, Heap, Request};
use super::inner::Inner;
use crate::buddy::{Granule, Order, Tags};
use crate::slab::SPAN_GRANULE_SHIFT;
use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64};
use note::Note;
use spin::RelaxStrategy;

mod atomic {
    pub(super) use core::sync::atomic::AtomicU32;
}

/// The orders of the runs in a stash: from 16 KiB to 256 KiB. Smaller blocks are objects of spans.
const LEAST: Order = Order(2);
const MOST: Order = Order(6);
const ORDERS: usize = (MOST.0 - LEAST.0 + 1) as usize;

/// Bytes of a granule of the heaps whose runs are stashed.
const PAGE: usize = 1 << SPAN_GRANULE_SHIFT;

/// Runs of each order.
const PLACES: usize = 2;

/// See the module.
pub(crate) struct Stash {
    /// Address of granule 0 of the heap whose runs are stashed, and its tags.
    first: Cell<*mut u8>,
    tags: Cell<Tags>,
    notes: [[Note; PLACES]; ORDERS],
    /// A bit for each order of which a run was told of to who sees to it that they decay.
    told: AtomicU8,
    /// Nothing is put there any more, or taken out: the heap drains.
    closed: AtomicBool,
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
            told: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            next: AtomicPtr::new(null_mut()),
        }
    }

    /// The tags of the runs that it may have; `None` if it may have none.
    fn tags(&self) -> Option<Tags> {
        (!self.closed.load(Relaxed)).then(|| self.tags.get())
    }

    fn notes_of(&self, order: Order) -> Option<&[Note; PLACES]> {
        self.notes.get(order.0.checked_sub(LEAST.0)? as usize)
    }

    /// Takes a run of at least `size` bytes with that alignment, and says how many it has.
    pub(crate) fn take(&self, size: usize, alignment: usize) -> Option<(NonNull<u8>, usize)> {
        if size > PAGE << MOST.0 {
            return None;
        }
        let (tags, order) = (self.tags()?, Order::holding(size.div_ceil(PAGE) as u32));
        if alignment > PAGE << order.0 {
            return None;
        }
        let mut granules = self.notes_of(order)?.iter().rev().filter_map(Note::take).map(Granule);
        let granule = granules.find(|&granule| tags.take(granule, order))?;
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
        let order = self.tags()?.order_of(self.granule_at(address)?)?;
        Some(PAGE << order.0)
    }

    /// Stashes the run that starts at `address`, if there is such a one, without a note of it.
    fn stash(&self, address: usize) -> Option<(Granule, Order)> {
        let granule = self.granule_at(address)?;
        Some((granule, self.tags()?.stash(granule, LEAST..=MOST)?))
    }

    /// Notes where a run is; false if there is no place.
    fn note(&self, granule: Granule, order: Order) -> bool {
        let place =
            self.notes_of(order).and_then(|notes| notes.iter().find(|note| note.is_empty()));
        place.inspect(|place| place.write(granule.0)).is_some()
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

    /// Makes free what `take` takes out of the notes of a stash, as far as it still is in one.
    fn reclaim(&mut self, stash: &Stash, take: impl Fn(&Note) -> Option<u32>) {
        for granule in stash.notes.iter().flatten().filter_map(take) {
            self.reclaim_run(stash.address_of(Granule(granule)).addr());
        }
    }

    fn reclaim_run(&mut self, address: usize) {
        if let Some(heap) = self.find(address)
            && let Some(granules) = self.heaps.get_mut(heap).reclaim_run(address)
        {
            self.gained_granules(heap, granules);
        }
    }

    /// Makes free what has been in a stash since the last round of decay but one.
    pub(super) fn decay_stashes(&mut self) {
        self.stashes().for_each(|stash| self.reclaim(stash, Note::take_away_if_seen));
    }

    /// Makes free what is in stashes; says how many bytes.
    pub(super) fn empty_stashes(&mut self) -> usize {
        let used = self.used;
        self.stashes().for_each(|stash| self.reclaim(stash, Note::take_away));
        used - self.used
    }

    /// Makes free the half of a stash's runs of an order that was there first. By the stash's thread.
    fn empty_half(&mut self, stash: &Stash, order: Order) {
        let Some(notes) = stash.notes_of(order) else { return };
        let (first, last) = notes.split_at(PLACES / 2);
        for granule in first.iter().filter_map(Note::take) {
            self.reclaim_run(stash.address_of(Granule(granule)).addr());
        }
        for (place, note) in first.iter().zip(last) {
            note.take().inspect(|&granule| place.write(granule));
        }
    }

    /// Bytes in stashes.
    pub(super) fn stashed_bytes(&self) -> usize {
        self.bytes_in_stashes(|_, _| false)
    }

    /// Bytes that can be in stashes before anybody is told of more: those that are, and all that has a place where a
    /// run of the order was told of.
    fn unheard_bytes(&self) -> usize {
        self.bytes_in_stashes(|stash, order| stash.told.load(Relaxed) & 1 << order != 0)
    }

    /// Bytes in stashes, where those of which it `counts_as_full` have a run in every place.
    fn bytes_in_stashes(&self, counts_as_full: impl Fn(&Stash, u8) -> bool) -> usize {
        let runs = |stash: &Stash, notes: &[Note; PLACES], order| {
            let is_run = |note: &&Note| counts_as_full(stash, order) || !note.is_empty();
            notes.iter().filter(is_run).count()
        };
        let bytes = |stash: &Stash| {
            let of_orders = stash.notes.iter().zip(LEAST.0..);
            of_orders
                .map(|(notes, order)| runs(stash, notes, order) * (PAGE << order))
                .sum::<usize>()
        };
        self.stashes().map(bytes).sum()
    }

    /// Who sees to it that runs decay has to be told of those in stashes.
    pub(super) fn forget_stashes(&self) {
        self.stashes().for_each(|stash| stash.told.store(0, Relaxed));
    }

    /// Allocates a block, of the memory in stashes if there is no other.
    pub(super) fn alloc_also_stashed(&mut self, request: Request) -> Option<Fresh> {
        match self.alloc(request) {
            None if self.empty_stashes() > 0 => self.alloc(request),
            block => block,
        }
    }

    /// Lets stashes have no run of a heap any more.
    pub(super) fn close_stashes(&mut self, heap: NonNull<Heap>) {
        let heap = self.heaps.get(heap);
        let of_heap = |stash: &&Stash| heap.holds(stash.first.get().addr());
        self.stashes().filter(of_heap).for_each(|stash| stash.closed.store(true, Relaxed));
        self.empty_stashes();
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
        stash.closed.store(runs.is_none(), Relaxed);
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
        let told = stash.told.load(Relaxed);
        if told & 1 << order.0 == 0 {
            self.tell(stash, told | 1 << order.0);
        }
        true
    }

    /// Tells who sees to it that runs decay how much there is, or can be: it is told of the first run of each order in a
    /// stash, and of none that comes later.
    #[cold]
    fn tell(&self, stash: &Stash, told: u8) {
        let inner = self.lock();
        stash.told.store(told, Relaxed);
        if let Some(heap) = inner.find(stash.first.get().addr()) {
            inner.heaps.get(heap).decays(inner.free_purgeable() + inner.unheard_bytes());
        }
    }

    /// Gives back the runs of a stash.
    pub(crate) fn empty_stash(&self, stash: &Stash) {
        self.lock().reclaim(stash, Note::take_away);
    }
}
