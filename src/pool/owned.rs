//! Spans that caches own: taken out of the pool, given back, and what other threads released of them.

use super::MIN_ALIGNMENT;
use super::heap::{Heap, Request};
use super::inner::Inner;
use super::{MemoryPool, found};
use crate::buddy::Buddy;
use crate::error::Error;
use crate::slab::remote::{Inbox, Remote, unmarked};
use crate::slab::{self, Annex, ClassId, Freed, Posted, Refused, Slab, Span, SpanMap, State};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Acquire;
use spin::RelaxStrategy;

impl<R: RelaxStrategy> Inner<R> {
    fn take_span(
        &mut self,
        id: ClassId,
        owner: NonNull<Inbox>,
        taken: u8,
    ) -> Option<NonNull<Span>> {
        let request = Request { size: id.class().size as usize, alignment: MIN_ALIGNMENT };
        let take = |heap: &mut Heap, budget| heap.take_span(id, budget, owner, taken);
        self.first_heap_that(|heap, budget| take(heap, budget)).or_else(|| {
            self.first_heap_that(
                |heap, budget| {
                    if heap.grow(request, budget) { take(heap, budget) } else { None }
                },
            )
        })
    }

    /// The first heap whose spans can have owners: threads' caches find theirs by its map.
    pub(super) fn owners_heap(&self) -> Option<NonNull<Heap>> {
        let has_owners = |slab: &Slab| slab.map().has_owners();
        self.heaps.iter().find(|&heap| self.heaps.get(heap).slab().is_some_and(has_owners))
    }

    /// Does something to the heap that a span is in, by which granules become free.
    fn on_span(
        &mut self,
        span: NonNull<Span>,
        f: fn(&mut Slab, &mut Buddy, NonNull<Span>) -> Freed,
    ) {
        let Some(heap) = self.heaps.with_descriptor(span) else { return };
        let Freed { granules, twice } = self.heaps.get_mut(heap).on_span(span, f);
        if granules > 0 {
            self.gained_granules(heap, granules);
        }
        if let Some((pointer, size)) = twice {
            self.released_twice(pointer, size);
        }
    }

    fn base_of(&self, span: NonNull<Span>) -> *mut u8 {
        let heap = self.heaps.with_descriptor(span).map(|heap| self.heaps.get(heap));
        let slab = heap.and_then(Heap::slab);
        slab.map_or(core::ptr::null_mut(), |slab| slab.map().base_of(span))
    }

    /// Sees to a span of which others have released objects, and which is in no inbox: it was to be posted, but has no
    /// owner, or was taken out of the inbox of one that has left, or has so many that are deserted.
    fn deliver(&mut self, span: NonNull<Span>) {
        // SAFETY: objects of it are not collected, so it is in use, and has an annex.
        let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
        let (owner, _) = unmarked(descriptor.owner().load(Acquire));
        match NonNull::new(owner) {
            None => self.on_span(span, Slab::collect),
            // SAFETY: owners are never freed. They come and go under the lock.
            Some(owner) if unsafe { owner.as_ref() }.is_idle() => self.on_span(span, Slab::reclaim),
            // The owner may be waiting for those who released all of it.
            Some(_) if descriptor.is_deserted(&annex.remote) => self.on_span(span, Slab::reclaim),
            Some(_) => _ = slab::post(span),
        }
    }

    fn empty_inbox(&mut self, inbox: NonNull<Inbox>) {
        // SAFETY: owners are never freed.
        for remote in unsafe { inbox.as_ref() }.take() {
            // SAFETY: what is posted lies behind a descriptor.
            self.deliver(unsafe { SpanMap::span_of(remote) });
        }
    }

    /// Does what is left to do after the release of the object at `address`, of a span that has another owner.
    fn after_posting(&mut self, span: NonNull<Span>, posted: Posted, address: usize) {
        // SAFETY: a descriptor stays one, whatever becomes of its span.
        let descriptor = unsafe { span.as_ref() };
        match posted {
            Posted::Done => {}
            Posted::Ownerless if descriptor.state() == State::Unused => {
                // Two threads released its last object, and the span was given back between the two.
                // SAFETY: spans that had an owner have an annex.
                descriptor.collect(unsafe { &Annex::of(span).as_ref().remote });
                self.released_twice(address, descriptor.object_size());
            }
            Posted::Ownerless => self.deliver(span),
            Posted::Idle(inbox) | Posted::Deserted(inbox) => self.empty_inbox(inbox),
        }
    }

    fn released_twice(&mut self, pointer: usize, size: usize) {
        self.count_misuse();
        self.late = Some(Error::AlreadyReleased { pointer, size });
    }

    /// Releases the object that starts at `address`, in a span that has an owner.
    #[cold]
    #[inline(never)]
    pub(super) fn release_owned(
        &mut self,
        heap: NonNull<Heap>,
        address: usize,
    ) -> Result<(), Refused> {
        let slab = self.heaps.get(heap).slab().ok_or(Refused)?;
        let span = slab.map().holding(address).ok_or(Refused)?;
        let posted = slab::release_remote(span, address)?;
        self.after_posting(span, posted, address);
        Ok(())
    }
}

/// For the caches.
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Takes a span of the class that has room for an owner, who has taken so many before, if a heap has one. Callbacks
    /// run if the owner `may_wait` for them.
    pub(crate) fn take_span(
        &self,
        id: ClassId,
        owner: NonNull<Inbox>,
        taken: u8,
        may_wait: bool,
    ) -> Option<NonNull<Span>> {
        let mut inner = self.lock();
        let span = inner.take_span(id, owner, taken);
        if may_wait {
            self.warn_if_due(inner);
        }
        span
    }

    /// The descriptor of the span that holds `address`, in a heap whose spans can have owners.
    pub(crate) fn span_holding(&self, address: usize) -> Option<NonNull<Span>> {
        let inner = self.lock();
        let heap = inner.heap_holding(address).ok()?;
        let map = inner.heaps.get(heap).slab()?.map();
        if map.has_owners() { map.holding(address) } else { None }
    }

    /// Takes back a span that its owner uses no more.
    ///
    /// # Safety
    /// The span is in use, its owner is the caller, or has left, and it has no slot and no link to it.
    pub(crate) unsafe fn give_span(&self, span: NonNull<Span>) {
        self.lock().on_span(span, |slab, buddy, span| Freed {
            granules: slab.give(buddy, span),
            twice: None,
        });
    }

    /// Counts what the caller, its owner, has released of a span.
    #[cold]
    pub(crate) fn count_owners(&self, span: NonNull<Span>) {
        self.lock().on_span(span, |slab, _, span| {
            slab.count_owners(span);
            Freed::default()
        });
    }

    /// Releases the object that starts at `address` of a span that has another owner.
    #[inline(always)]
    pub(crate) fn release_remote(
        &self,
        span: NonNull<Span>,
        address: usize,
    ) -> Result<(), Refused> {
        match slab::release_remote(span, address)? {
            Posted::Done => {}
            posted => self.after_posting(span, posted, address),
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn after_posting(&self, span: NonNull<Span>, posted: Posted, address: usize) {
        self.and_late(|inner| inner.after_posting(span, posted, address)).inspect(found);
    }

    /// Does something by which a double release may be found, and says of it: it is to be told without the lock.
    fn and_late(&self, f: impl FnOnce(&mut Inner<R>)) -> Option<Error> {
        let mut inner = self.lock();
        f(&mut inner);
        inner.late.take()
    }

    /// Says that an owner is there. Under the lock, since whoever finds that he is not uses his spans under it.
    pub(crate) fn enter(&self, inbox: &Inbox) {
        let _inner = self.lock();
        inbox.set_idle(false);
    }

    /// Sees to it that what is posted to an owner who leaves is collected, by whoever posts it.
    pub(crate) fn leave(&self, inbox: &Inbox) {
        let late = self.and_late(|inner| {
            inbox.set_idle(true);
            inner.empty_inbox(NonNull::from(inbox));
        });
        late.inspect(found);
    }

    /// Posts a span that was in an inbox, but is not its owner's. Says if an object of it was released twice.
    pub(crate) fn deliver(&self, remote: *mut Remote) -> Option<Error> {
        // SAFETY: what is posted lies behind a descriptor.
        let span = unsafe { SpanMap::span_of(remote) };
        self.and_late(|inner| inner.deliver(span))
    }

    /// Address of the first object of a span; null if no heap has it.
    #[cold]
    #[inline(never)]
    pub(crate) fn base_of(&self, span: NonNull<Span>) -> *mut u8 {
        self.lock().base_of(span)
    }

    /// A live block of `size` bytes can't have been allocated with `given`.
    #[cold]
    pub(crate) fn size_mismatch(&self, pointer: usize, given: usize, size: usize) -> Error {
        self.lock().size_mismatch(pointer, given, size)
    }

    /// Why `address`, where no live block starts, can't be released.
    #[cold]
    pub(crate) fn misuse(&self, address: usize) -> Error {
        self.refused(self.lock(), address)
    }

    /// Whether there is no second heap.
    pub(crate) fn has_one_heap(&self) -> bool {
        self.lock().heaps.iter().nth(1).is_none()
    }

    /// How spans are found in the first heap whose spans can have owners, which is never removed from now on.
    pub(crate) fn owners_map(&self) -> Option<SpanMap> {
        let mut inner = self.lock();
        let heap = inner.owners_heap()?;
        inner.expect_owners();
        inner.heaps.get(heap).slab().map(|slab| *slab.map())
    }
}
