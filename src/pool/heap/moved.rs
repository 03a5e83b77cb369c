//! Runs that move with their pages: the system hands over the memory itself, where copying would need it twice.
//!
//! What lies where pages have come to is a mapping of its own from then on, of which a process has 65,530. So those
//! places are noted (H4). Where there is no room for another note, places that are free and purged are made a part of the
//! heap's own mapping again; while there are none, runs are copied.

use super::{Backing, Heap, Live, Request};
use crate::buddy::Granule;
use core::ptr::NonNull;

/// Bytes of a run from which on to move its pages is worth some system calls, and a mapping. Smaller ones can be stashed,
/// and so change hands while the lock is held.
const WORTH_MOVING: usize = 512 << 10;

/// The most places that are noted.
const MOST: u32 = 1024;

/// The most mappings that a run may be in to be moved: one for each time that it has moved, at the least.
const MOST_PARTS: u32 = 16;

/// What became of a block that is to hold more bytes, or fewer.
pub(crate) enum Resized {
    /// It is there now, with what was in it.
    Is(NonNull<u8>),
    /// It has so many bytes as before, which are to be copied: to this new block, if there is one, where the first `done`
    /// are already.
    Copy { done: usize, bytes: usize, to: Option<NonNull<u8>> },
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
    /// is too short, or there is no room for it in this heap, which may commit more if it `may_grow`.
    pub(in crate::pool) fn move_run(
        &mut self,
        live: Live,
        request: Request,
        budget: usize,
        may_grow: bool,
    ) -> Option<Resized> {
        let (head, backing) = (live.run?, self.backing?);
        let is_worth_it = live.size >= WORTH_MOVING && request.size > live.size;
        if !is_worth_it || !self.has_room_for_places(backing) {
            return None;
        }
        let new = match self.take_run(request, self.granules_in(budget)) {
            Some(run) => run,
            None if may_grow && self.grow(request, budget) => {
                self.take_run(request, self.granules_in(budget))?
            }
            None => return None,
        };
        let old = Place { start: head, granules: self.granules_in(live.size) };
        let place = Place { start: new.head, granules: old.granules };
        // Memory that is there already would go back to the system, to come again for whoever is next where the run was.
        let is_warm = new.used > old.granules / 2;
        let moved = if is_warm { 0 } else { self.move_pages(backing, old, place) };
        let (to, done) = (self.address_of(new.head), self.bytes(moved));
        if moved < old.granules {
            return Some(Resized::Copy { done, bytes: live.size, to: Some(to) });
        }
        // It is too long for a stash, so nobody has released it meanwhile.
        let released = self.release_run(self.address_of(head).addr().get());
        debug_assert!(released.is_ok(), "a run that moves is in use");
        self.buddy.forget_use(head, moved);
        Some(Resized::Is(to))
    }

    /// Moves the pages of a run to one without; says how many granules, the first ones, were moved.
    fn move_pages(&mut self, backing: &Backing, run: Place, to: Place) -> u32 {
        let mut parts = [0; MOST_PARTS as usize];
        let mut left = run;
        for part in &mut parts {
            *part = self.places.first_part(left);
            left = left.behind(*part);
        }
        if left.granules > 0 {
            // So that it can be moved from there: what lies in the way are places of others, of which nobody uses any.
            self.renew(backing, to);
            return 0;
        }
        let mut moved = 0;
        for part in parts.into_iter().take_while(|&part| part > 0) {
            let (old, new) = (run.behind(moved), to.behind(moved));
            let (from, to) = (self.address_of(old.start), self.address_of(new.start));
            // SAFETY: the runs are committed memory of this heap (H1), in use, and disjoint. The old one is given up by
            // who moves it, and nobody knows the new one.
            if !unsafe { (backing.move_pages)(from, to, self.bytes(part)) } {
                break;
            }
            self.places.note(Place { granules: part, ..new });
            moved += part;
        }
        if moved > 0 {
            self.renew(backing, Place { granules: moved, ..run });
        }
        moved
    }

    /// Makes granules that nobody uses a part of the heap's own mapping again, if the system lets it.
    fn renew(&mut self, backing: &Backing, place: Place) {
        let (start, size) = (self.address_of(place.start), self.bytes(place.granules));
        // SAFETY: the granules are committed memory of this heap (H1), and nobody uses what is in them.
        if unsafe { (backing.renew)(start, size) } {
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
