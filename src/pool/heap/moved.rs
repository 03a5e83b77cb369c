//! Runs that move with their pages: the system hands over the memory itself, where copying would need it twice.
//!
//! What lies where pages have come to is a mapping of its own from then on, of which a process has 65,530. So those
//! places are noted (H4). Where there is no room for another note, places that are free and purged are made a part of the
//! heap's own mapping again; while there are none, runs are copied.

use super::{Backing, Heap, Live, Request};
use crate::buddy::Granule;
use crate::pool::MIN_ALIGNMENT;
use core::ptr::NonNull;

/// Bytes of a run from which on to move its pages is worth some system calls, and a mapping. Smaller ones can be stashed,
/// and so change hands while the lock is held.
const WORTH_MOVING: usize = 512 << 10;

/// The most places that are noted.
const MOST: u32 = 1024;

/// The most mappings that a run may be in to be moved.
const MOST_PARTS: u32 = 8;

/// What became of a block that is to hold more bytes, or fewer.
pub(crate) enum Resized {
    /// It is there now, with what was in it.
    Is(NonNull<u8>),
    /// It has so many bytes as before, which are to be copied: to this new block, if there is one.
    Copy { bytes: usize, to: Option<NonNull<u8>> },
}

/// Granules whose pages may have come from elsewhere.
#[derive(Clone, Copy)]
struct Place {
    start: Granule,
    granules: u32,
}

impl Place {
    fn end(self) -> Granule {
        self.start.plus(self.granules)
    }

    /// What is left behind so many granules.
    fn behind(self, granules: u32) -> Place {
        Place { start: self.start.plus(granules), granules: self.granules - granules }
    }

    fn is_in(self, other: Place) -> bool {
        other.start <= self.start && self.end() <= other.end()
    }
}

/// See the module.
pub(super) struct Places {
    notes: NonNull<Place>,
    count: u32,
    /// The note that is looked at next for one to take away.
    hand: u32,
}

impl Places {
    /// Bytes of the notes.
    pub(super) const BYTES: usize = MOST as usize * size_of::<Place>();

    /// # Safety
    /// There are so many bytes at `notes`, aligned for `u32`, the heap's own; writable before [`Places::note`] is called.
    pub(super) unsafe fn new(notes: NonNull<u8>) -> Places {
        Places { notes: notes.cast(), count: 0, hand: 0 }
    }

    fn get(&self, index: u32) -> Place {
        debug_assert!(index < self.count);
        // SAFETY: so many notes were written.
        unsafe { self.notes.add(index as usize).read() }
    }

    fn remove(&mut self, index: u32) {
        let last = self.get(self.count - 1);
        // SAFETY: the index is that of a note.
        unsafe { self.notes.add(index as usize).write(last) };
        self.count -= 1;
    }

    fn iter(&self) -> impl Iterator<Item = Place> {
        (0..self.count).map(|index| self.get(index))
    }

    /// How many of the first granules of a range are in one mapping.
    fn first_part(&self, range: Place) -> u32 {
        let edges = self.iter().flat_map(|place| [place.start, place.end()]);
        let parts = edges.map(|edge| edge.0.wrapping_sub(range.start.0));
        parts.filter(|&granules| granules > 0).fold(range.granules, u32::min)
    }

    /// Whether one of them has granules of this one.
    fn overlap(&self, place: Place) -> bool {
        self.iter().any(|noted| noted.start < place.end() && place.start < noted.end())
    }

    /// Takes away the notes of places that lie in this one.
    fn forget(&mut self, place: Place) {
        for index in (0..self.count).rev() {
            if self.get(index).is_in(place) {
                self.remove(index);
            }
        }
    }

    /// Whether they lie in a heap of so many granules.
    pub(super) fn lie_below(&self, end: u32) -> bool {
        self.count <= MOST && self.iter().all(|place| place.granules > 0 && place.end().0 <= end)
    }

    /// Notes a place, where there is room, instead of those that lie in it.
    fn note(&mut self, place: Place) {
        self.forget(place);
        // SAFETY: there is room for one more.
        unsafe { self.notes.add(self.count as usize).write(place) };
        self.count += 1;
    }
}

impl Heap {
    /// Has a live run that is to hold more bytes move, with its pages if that is better than to copy them; `None` if it
    /// is too short, or there is no room for it in this heap.
    pub(in crate::pool) fn move_run(
        &mut self,
        live: Live,
        size: usize,
        budget: usize,
    ) -> Option<Resized> {
        let (head, backing) = (live.run?, self.backing?);
        if live.size < WORTH_MOVING || size <= live.size || !self.has_room_for_places(backing) {
            return None;
        }
        let request = Request { size, alignment: MIN_ALIGNMENT };
        let new = match self.take_run(request, self.granules_in(budget)) {
            Some(run) => run,
            None if self.grow(request, budget) => {
                self.take_run(request, self.granules_in(budget))?
            }
            None => return None,
        };
        let old = Place { start: head, granules: self.granules_in(live.size) };
        let place = Place { start: new.head, granules: new.granules };
        let to = self.address_of(new.head);
        // Memory that is there already would go back to the system, to come again for whoever is next where the run was.
        let is_warm = new.used > old.granules / 2;
        if is_warm || !self.move_pages(backing, old, place) {
            return Some(Resized::Copy { bytes: live.size, to: Some(to) });
        }
        // It is too long for a stash, so nobody has released it meanwhile.
        let released = self.release_run(self.address_of(head).addr().get());
        debug_assert!(released.is_ok(), "a run that moves is in use");
        self.buddy.forget_use(head, old.granules);
        self.renew(backing, old);
        Some(Resized::Is(to))
    }

    /// Moves the pages of a run to another one that is at least as long; false, with nothing moved, if that can't be.
    fn move_pages(&mut self, backing: &Backing, run: Place, to: Place) -> bool {
        let (mut from, mut to) = (run, to);
        for _ in 0..MOST_PARTS {
            let part = self.places.first_part(from);
            let room = if part == from.granules { to.granules } else { part };
            let (old, new) = (self.address_of(from.start), self.address_of(to.start));
            // SAFETY: the runs are committed memory of this heap (H1), in use, and disjoint. The old one is given up by
            // who moves it, and nobody knows the new one.
            if !unsafe { (backing.move_pages)(old, new, self.bytes(part), self.bytes(room)) } {
                break;
            }
            self.places.note(Place { granules: room, ..to });
            (from, to) = (from.behind(part), to.behind(room));
            if from.granules == 0 {
                return true;
            }
        }
        if from.granules == run.granules {
            return false;
        }
        let (old, new) = (self.address_of(from.start), self.address_of(to.start));
        // SAFETY: as above; so much is left of both.
        unsafe { new.copy_from_nonoverlapping(old, self.bytes(from.granules)) };
        true
    }

    /// Makes free granules without pages, where some came from elsewhere, a part of the heap's own mapping again, if the
    /// system lets it.
    fn renew(&mut self, backing: &Backing, place: Place) {
        let start = self.address_of(place.start);
        if self.places.overlap(place)
            // SAFETY: the granules are committed memory of this heap (H1), and free.
            && unsafe { (backing.renew)(start, self.bytes(place.granules)) }
        {
            self.places.forget(place);
        }
    }

    /// Whether as many more places can be noted as a run may have parts; makes room if need be, and if it can.
    fn has_room_for_places(&mut self, backing: &Backing) -> bool {
        /// Notes that are looked at.
        const LOOKS: u32 = 2 * MOST_PARTS;
        if self.places.count == 0 {
            // SAFETY: the notes are part of the metadata, and begin at a page.
            return unsafe { (backing.let_write)(self.places.notes.cast(), Places::BYTES) };
        }
        for _ in 0..LOOKS {
            if self.places.count + MOST_PARTS <= MOST {
                return true;
            }
            self.places.hand = (self.places.hand + 1) % self.places.count;
            let place = self.places.get(self.places.hand);
            if self.buddy.is_unused(place.start, place.granules) {
                self.renew(backing, place);
            }
        }
        false
    }
}
