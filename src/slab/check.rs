//! The invariants of the spans as code.

use super::{Slab, span};
use crate::buddy::{Broken, Buddy, Granule, Kind, Order, require};

impl Slab {
    /// Checks L1 to L4, and S1 to S3 of every span. Cost: a step an extent of the heap.
    pub(crate) fn check(&self, buddy: &Buddy) -> Result<(), Broken> {
        let mut live = [0; super::CLASSES];
        let (mut rooms, mut spans) = (0, 0);
        for extent in buddy.extents(Granule(0)).filter(|extent| extent.kind == Kind::Span) {
            let head = extent.head;
            let span = self.span_at(head);
            let id = span.class();
            if let Some(invariant) = span.broken(Order::holding(extent.granules)) {
                return require(false, invariant, head);
            }
            require(span.head(self.heap) == head, "L1: a span has its own descriptor", head)?;
            let is_current = self.current[id.index()] == self.descriptor(head);
            let has_bit = self.rooms.test(self.room(id, head));
            let is_next = self.next[id.index()] == Some(self.descriptor(head));
            let room_is_right = has_bit == (span.has_room() && !is_current && !is_next)
                && (!is_next || (span.has_room() && !is_current));
            require(room_is_right, "L2: a span with a free object has its room bit", head)?;
            require(is_current || !span.is_empty(), "L3: an empty span is released", head)?;
            live[id.index()] += span.live() as u64;
            rooms += usize::from(has_bit);
            spans += 1;
        }
        let origin = Granule(0);
        require(spans == self.spans_in_use, "L4: the spans in use are counted", origin)?;
        let counted = self.rooms_of.iter().sum::<u32>() as usize == rooms;
        require(
            counted && self.rooms.findable() == rooms,
            "L2: only spans have a room bit",
            origin,
        )?;
        for (index, &current) in self.current.iter().enumerate() {
            if let Some(next) = self.next[index] {
                // SAFETY: a next span is in use (L1).
                let span = unsafe { next.as_ref() };
                require(span.class().index() == index, "L1: a next span is of its class", origin)?;
            }
            let counted = self.allocated[index] - self.released[index] == live[index];
            require(counted, "L4: the counts are those of the live objects", origin)?;
            if current != span::NO_SPAN.get() {
                // SAFETY: a current span is in use (L1).
                let span = unsafe { current.as_ref() };
                require(
                    span.class().index() == index,
                    "L1: a current span is of its class",
                    origin,
                )?;
            }
        }
        Ok(())
    }
}
