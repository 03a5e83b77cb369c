//! Spans that caches own: taken out of the pool, given back, and what other threads released of them.

use super::MIN_ALIGNMENT;
use super::MemoryPool;
use super::heap::{Heap, Request};
use super::inner::Inner;
use crate::buddy::Buddy;
use crate::error::Error;
use crate::slab::remote::{Inbox, Remote, unmarked};
use crate::slab::{self, Annex, ClassId, Posted, Refused, Slab, Span, SpanMap};
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
        self.expect_owners();
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
    fn on_span(&mut self, span: NonNull<Span>, f: fn(&mut Slab, &mut Buddy, NonNull<Span>) -> u32) {
        let Some(heap) = self.heaps.with_descriptor(span) else { return };
        let granules = self.heaps.get_mut(heap).on_span(span, f);
        if granules > 0 {
            self.gained_granules(heap, granules);
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

    fn after_posting(&mut self, span: NonNull<Span>, posted: Posted) {
        match posted {
            Posted::Done => {}
            Posted::Ownerless => self.deliver(span),
            Posted::Idle(inbox) | Posted::Deserted(inbox) => self.empty_inbox(inbox),
        }
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
        self.after_posting(span, posted);
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
        self.lock().on_span(span, Slab::give);
    }

    /// Counts what the caller, its owner, has released of a span.
    #[cold]
    pub(crate) fn count_owners(&self, span: NonNull<Span>) {
        self.lock().on_span(span, |slab, _, span| {
            slab.count_owners(span);
            0
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
            posted => self.after_posting(span, posted),
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn after_posting(&self, span: NonNull<Span>, posted: Posted) {
        self.lock().after_posting(span, posted);
    }

    /// Says that an owner is there. Under the lock, since whoever finds that he is not uses his spans under it.
    pub(crate) fn enter(&self, inbox: &Inbox) {
        let _inner = self.lock();
        inbox.set_idle(false);
    }

    /// Sees to it that what is posted to an owner who leaves is collected, by whoever posts it.
    pub(crate) fn leave(&self, inbox: &Inbox) {
        let mut inner = self.lock();
        inbox.set_idle(true);
        inner.empty_inbox(NonNull::from(inbox));
    }

    /// Posts a span that was in an inbox, but is not its owner's.
    pub(crate) fn deliver(&self, remote: *mut Remote) {
        // SAFETY: what is posted lies behind a descriptor.
        self.lock().deliver(unsafe { SpanMap::span_of(remote) });
    }

    /// The object at that offset of a span was released by two threads.
    #[cold]
    pub(crate) fn released_twice(&self, span: NonNull<Span>, offset: usize) -> Error {
        let mut inner = self.lock();
        inner.count_misuse();
        let pointer = inner.base_of(span).addr() + offset;
        // SAFETY: the span is in use, and the caller's.
        Error::AlreadyReleased { pointer, size: unsafe { span.as_ref() }.object_size() }
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
