//! The invariants of the spans as code.

use super::Slab;
use super::span::State;
use crate::buddy::{Broken, Buddy, Granule, Order, require};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;

impl Slab {
    /// Checks L1 to L4, and S1 and S2 of every span of the pool; owners use theirs meanwhile. Cost: a step an
    /// extent of the heap.
    pub(crate) fn check(&self, buddy: &Buddy) -> Result<(), Broken> {
        let (mut rooms, mut spans) = (0, 0);
        for extent in buddy.extents(Granule(0)) {
            let head = extent.head;
            let numbered = (head.0..head.0 + extent.granules)
                .all(|granule| self.map.is_numbered(Granule(granule), self.span_of(extent)));
            require(numbered, "L1: the granules of a span have its number", head)?;
            let Some(span) = self.span_of(extent) else { continue };
            spans += 1;
            let id = span.class();
            let has_bit = self.rooms.test(self.room(id, head));
            rooms += usize::from(has_bit);
            if !span.owner().load(Relaxed).is_null() {
                require(!has_bit, "L2: the rooms are the pool's", head)?;
                continue;
            }
            if let Some(invariant) = span.broken(Order::holding(extent.granules)) {
                return require(false, invariant, head);
            }
            let is_current = self.current(id) == Some(NonNull::from(span));
            let is_next = self.next[id.index()] == Some(NonNull::from(span));
            let room_is_right = has_bit == (span.has_room() && !is_current && !is_next)
                && (!is_next || (span.has_room() && !is_current));
            require(room_is_right, "L2: a span with a free object has its room bit", head)?;
            let state_is_right = match span.state() {
                State::Current => is_current,
                State::Room => has_bit || is_next,
                State::Full => !span.has_room(),
                State::Unused => false,
            };
            require(state_is_right, "S2: a span has the state that its owner gave it", head)?;
            let may_stay = is_current || !span.may_be_retired();
            require(may_stay, "L3: an empty span is released", head)?;
        }
        let origin = Granule(0);
        require(spans == self.spans_in_use, "L4: the spans in use are counted", origin)?;
        let counted = self.rooms_of.iter().sum::<u32>() as usize == rooms;
        require(counted && self.rooms.findable() == rooms, "L2: only spans have a room bit", origin)
    }
}
