//! A heap's blocks, which are objects of spans and runs: allocated, released, resized, and why that is refused.

use super::Heap;
use crate::buddy::{Granule, Kind, Order, Run, Tag};
use crate::error::Error;
use crate::slab::{ClassId, MAX_OBJECT, Place, Refused};
use core::ptr::NonNull;

/// What an allocation asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) size: usize,
    /// A power of two.
    pub(crate) alignment: usize,
}

impl Request {
    /// Whether a block has the alignment.
    pub(crate) fn suits(self, block: NonNull<u8>) -> bool {
        block.addr().get().is_multiple_of(self.alignment)
    }
}

/// A block that is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) size: usize,
    /// The run it is, unless it is an object of a span.
    pub(super) run: Option<Granule>,
}

/// A new block, and whether its bytes are known to be zero.
pub(crate) struct Fresh {
    pub(crate) address: NonNull<u8>,
    pub(crate) zeroed: bool,
}

impl Heap {
    /// The size class that a request goes to in this heap, if to any.
    pub(super) fn class_for(&self, request: Request) -> Option<ClassId> {
        self.slab.as_ref().and_then(|_| ClassId::aligned(request.alignment, request.size))
    }

    /// Granules and alignment of the run that a request needs.
    pub(super) fn run_for(&self, request: Request) -> (u32, Order) {
        let granules = self.granules_in(request.size.saturating_add(self.granule() - 1)).max(1);
        let alignment = request.alignment.trailing_zeros().saturating_sub(self.shift as u32);
        (granules, Order(alignment as u8))
    }

    /// Allocates an object from a span of its class that has room.
    #[inline]
    pub(in crate::pool) fn alloc_object(&mut self, id: ClassId) -> Option<NonNull<u8>> {
        let (slab, _) = self.slab_mut()?;
        slab.alloc(id).or_else(|| slab.alloc_from_other(id))
    }

    /// Allocates an object from a new span of its class, of which no other has room, taking up to `budget` bytes of
    /// free granules.
    pub(in crate::pool) fn alloc_from_new(
        &mut self,
        id: ClassId,
        budget: usize,
    ) -> Option<NonNull<u8>> {
        let granules = self.granules_in(budget);
        let (slab, buddy) = self.slab_mut()?;
        slab.alloc_from_new(buddy, id, granules)
    }

    /// Allocates what is asked for from the place that suits it best, taking up to `budget` bytes of free
    /// granules.
    pub(in crate::pool) fn alloc(&mut self, request: Request, budget: usize) -> Option<Fresh> {
        let granules = self.granules_in(budget);
        let Some(id) = self.class_for(request) else {
            return self.alloc_run(request, granules);
        };
        let (slab, buddy) = self.slab_mut()?;
        let object = slab.alloc_slow(buddy, id, granules)?;
        Some(Fresh { address: object, zeroed: false })
    }

    /// Allocates what [`Heap::alloc`] could not, from any place that will do, in a heap that has settled.
    pub(in crate::pool) fn alloc_last(&mut self, request: Request, budget: usize) -> Option<Fresh> {
        let granules = self.granules_in(budget);
        let id = self.class_for(request)?;
        let (slab, buddy) = self.slab_mut()?;
        let object = slab.alloc_last(buddy, id, request.alignment, granules)?;
        Some(Fresh { address: object, zeroed: false })
    }

    fn alloc_run(&mut self, request: Request, budget: u32) -> Option<Fresh> {
        let run = self.take_run(request, budget)?;
        Some(Fresh { address: self.address_of(run.head), zeroed: run.used == 0 })
    }

    pub(super) fn take_run(&mut self, request: Request, budget: u32) -> Option<Run> {
        let (granules, alignment) = self.run_for(request);
        if granules > self.buddy.end() {
            return None;
        }
        let run = self.buddy.alloc_run(granules, alignment, budget)?;
        self.live_runs += 1;
        self.live_run_granules += run.granules;
        self.runs_allocated += 1;
        Some(run)
    }

    /// Releases the block that starts at `address`, unless it is in a span that has an owner. Says how many
    /// granules became free.
    #[inline]
    pub(in crate::pool) fn release(&mut self, address: usize) -> Result<u32, Refused> {
        if let Some((slab, buddy)) = self.slab_mut()
            && let Ok(granules) = slab.release(buddy, address)
        {
            return Ok(granules);
        }
        self.release_run(address)
    }

    /// See [`Slab::after_release`](crate::slab::Slab::after_release).
    pub(in crate::pool) fn after_release(&mut self, address: usize) -> u32 {
        self.slab_mut().map_or(0, |(slab, buddy)| slab.after_release(buddy, address))
    }

    #[inline(never)]
    pub(super) fn release_run(&mut self, address: usize) -> Result<u32, Refused> {
        let granule = self.granule_at(address).ok_or(Refused)?;
        if self.address_of(granule).addr().get() != address {
            return Err(Refused);
        }
        let length = self.buddy.release_run(granule).ok_or(Refused)?;
        self.live_runs -= 1;
        self.live_run_granules -= length;
        Ok(length)
    }

    /// Makes the stashed run free that starts at `address`, and says how many granules it had.
    pub(in crate::pool) fn reclaim_run(&mut self, address: usize) -> Option<u32> {
        let length = self.buddy.reclaim_run(self.granule_at(address)?)?;
        self.live_runs -= 1;
        self.live_run_granules -= length;
        Some(length)
    }

    /// The live block that starts at `address`.
    pub(in crate::pool) fn live(&self, address: usize) -> Option<Live> {
        let granule = self.granule_at(address)?;
        match self.buddy.tag(granule) {
            Tag::Span(_) => {
                let span = self.span_holding(address)?;
                let live = self.slab()?.is_live(span, address);
                live.then(|| Live { size: span.object_size(), run: None })
            }
            Tag::Run(_) if self.address_of(granule).addr().get() == address => {
                let size = self.bytes(self.buddy.run_at(granule));
                Some(Live { size, run: Some(granule) })
            }
            _ => None,
        }
    }

    /// Makes a live block hold `size` bytes where it is, taking up to `budget` bytes of free granules.
    /// False where it would have to move, to be large enough or not to waste more than half of it.
    pub(in crate::pool) fn resize(&mut self, live: Live, size: usize, budget: usize) -> bool {
        let Some(head) = live.run else {
            let fits = size <= live.size;
            return fits
                && (size >= live.size / 2
                    || ClassId::holding(size).class().size as usize == live.size);
        };
        if self.slab.is_some() && size <= MAX_OBJECT {
            return false;
        }
        let (granules, _) = self.run_for(Request { size, alignment: 1 });
        if granules > self.buddy.end() {
            return false;
        }
        self.resize_run(head, self.granules_in(live.size), granules, self.granules_in(budget))
    }

    /// Gives back the tail of a live run behind `size` bytes.
    pub(in crate::pool) fn shrink(&mut self, live: Live, size: usize) {
        let (granules, _) = self.run_for(Request { size, alignment: 1 });
        let length = self.granules_in(live.size);
        if let Some(head) = live.run.filter(|_| granules < length) {
            self.resize_run(head, length, granules, 0);
        }
    }

    fn resize_run(&mut self, head: Granule, length: u32, granules: u32, budget: u32) -> bool {
        let resized = self.buddy.resize_run(head, length, granules, budget);
        let Some(new_length) = resized else { return false };
        self.live_run_granules = self.live_run_granules - length + new_length;
        true
    }

    /// The fewest bytes of granules with which a request can be served; `None` if the heap never can.
    pub(in crate::pool) fn least_bytes(&self, request: Request) -> Option<usize> {
        if let Some(id) = self.class_for(request) {
            return Some(self.bytes(Order(id.class().least_span_order()).granules()));
        }
        let (granules, _) = self.run_for(request);
        (granules <= self.buddy.capacity()).then(|| self.bytes(self.buddy.trimmed_length(granules)))
    }

    /// Why `address`, which [`Heap::holds`] and where no live block starts, can't be released.
    #[cold]
    pub(in crate::pool) fn diagnose(&self, address: usize) -> Error {
        let pointer = address;
        let Some(granule) = self.granule_at(address) else { return Error::NotInPool { pointer } };
        let extent = self.buddy.covering(granule);
        match (extent.kind, self.slab()) {
            (Kind::Run, _) => {
                let block = self.address_of(extent.head).addr().get();
                let size = self.bytes(extent.granules);
                if block == pointer {
                    // It was in a stash, out of which its thread has taken it since.
                    Error::AlreadyReleased { pointer, size }
                } else {
                    Error::InteriorPointer { pointer, block, size }
                }
            }
            (Kind::Stashed, _) => {
                Error::AlreadyReleased { pointer, size: self.bytes(extent.granules) }
            }
            (Kind::Span, Some(slab)) => {
                let Some(span) = slab.span_of(extent) else { return Error::NotInPool { pointer } };
                let size = span.object_size();
                match span.place(address) {
                    // Released by another thread, and not collected.
                    Place::Live if !slab.is_live(span, address) => {
                        Error::AlreadyReleased { pointer, size }
                    }
                    Place::Live | Place::Padding => Error::NotInPool { pointer },
                    Place::Interior(offset) => {
                        let block = self.address_of(extent.head).addr().get() + offset;
                        Error::InteriorPointer { pointer, block, size }
                    }
                    Place::Free => Error::AlreadyReleased { pointer, size },
                }
            }
            _ => Error::AlreadyReleased { pointer, size: 0 },
        }
    }
}
