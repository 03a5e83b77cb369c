//! What of the slab is for owners: spans are taken and given back, and what other threads have released of them is
//! posted, collected, and counted.

use super::remote::{self, Inbox, Noted};
use super::{Annex, ClassId, Collected, Refused, Slab, Span, State, atomic};
use crate::buddy::Buddy;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::{Acquire, SeqCst};

impl Inbox {
    /// An empty inbox, of an owner that is there.
    pub(crate) const fn new() -> Inbox {
        Inbox {
            top: atomic::AtomicPtr::new(null_mut()),
            idle: atomic::AtomicBool::new(false),
            posted: atomic::AtomicU32::new(0),
            deserted: atomic::AtomicU32::new(0),
        }
    }
}

/// What a thread that is not the owner has done by a release.
pub(crate) enum Posted {
    /// All there was to do.
    Done,
    /// The span is the pool's by now: to be collected under its lock.
    Ownerless,
    /// It was posted to an owner that has left: the inbox is to be emptied under the lock.
    Idle(NonNull<Inbox>),
    /// The owner's inbox has so many spans of which others have released everything that they are to be given back
    /// under the lock: he may not come for long.
    Deserted(NonNull<Inbox>),
}

/// What became free when a span was given back or collected.
#[derive(Default)]
pub(crate) struct Freed {
    pub(crate) granules: u32,
    /// As in [`Collected`].
    pub(crate) twice: Option<(usize, usize)>,
}

impl Slab {
    /// Takes a span of the class that has room, or a new one, for an owner who has taken so many before. The first
    /// ones are small: of most classes a thread needs a few objects.
    pub(crate) fn take(
        &mut self,
        buddy: &mut Buddy,
        id: ClassId,
        budget: u32,
        owner: NonNull<Inbox>,
        taken: u8,
    ) -> Option<NonNull<Span>> {
        let class = id.class();
        let largest = class.owned_span_order.min(self.span_order(id));
        let order = class.first_span_order.saturating_add(taken).min(largest);
        let span = match self.take_room(id).or_else(|| self.take_current(id, order)) {
            Some(span) => span,
            None => self.new_span(buddy, id, order, budget)?,
        };
        // SAFETY: the span is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        self.settle(span, State::Current);
        descriptor.set_owner(owner.as_ptr());
        Some(span)
    }

    /// Takes a span back from its owner, who uses it no more. Says how many granules became free. One without a live
    /// object, no larger than the next owner's first one, is made the current one of its class if that has none (L3):
    /// he is served by it without the buddy system, as where threads come and go.
    pub(crate) fn give(&mut self, buddy: &mut Buddy, span: NonNull<Span>) -> u32 {
        // SAFETY: the span is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        descriptor.set_owner(null_mut());
        // Either this sees the notes of who releases an object, or he sees that the span is the pool's.
        atomic::fence(SeqCst);
        self.count_owners(span);
        let id = descriptor.class();
        if descriptor.order().0 <= id.class().first_span_order
            && self.current(id).is_none()
            && descriptor.may_be_retired()
        {
            self.make_current(id, span);
            return 0;
        }
        self.settle(span, State::Full);
        if descriptor.has_room() { self.changed_room(buddy, span) } else { 0 }
    }

    /// Collects what others have released of one of the pool's spans, which is not posted.
    pub(crate) fn collect(&mut self, buddy: &mut Buddy, span: NonNull<Span>) -> Freed {
        // SAFETY: the span has objects that are not collected, so it is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        debug_assert!(descriptor.state() != State::Unused, "M2: a noted span was given back");
        let Some(annex) = self.map.annex(span) else { return Freed::default() };
        let Collected { released, twice } = descriptor.collect(&annex.remote);
        self.released[descriptor.class().index()] += released;
        let granules = match descriptor.state() {
            State::Current => 0,
            _ if released == 0 && !descriptor.is_empty() => 0,
            _ => self.changed_room(buddy, span),
        };
        Freed { granules, twice }
    }

    /// [`Slab::give`] of a span whose owner has left, and that others have released objects of; it is not
    /// posted.
    pub(crate) fn reclaim(&mut self, buddy: &mut Buddy, span: NonNull<Span>) -> Freed {
        // SAFETY: the span has objects that are not collected, so it is in use (L1).
        let descriptor = unsafe { span.as_ref() };
        let Some(annex) = self.map.annex(span) else { return Freed::default() };
        let Collected { released, twice } = descriptor.collect(&annex.remote);
        annex.count_owners(released);
        Freed { granules: self.give(buddy, span), twice }
    }

    /// Counts what a span's owner has released, by the owner.
    pub(crate) fn count_owners(&mut self, span: NonNull<Span>) {
        // SAFETY: the span is in use (L1).
        let id = unsafe { span.as_ref() }.class();
        let released = self.map.annex(span).map_or(0, |annex| annex.take_uncounted());
        self.released[id.index()] += released;
    }
}

/// Releases the object at `address` of a span that has another owner, or had one just now. A pointer that
/// is no live object's is refused; so is one of no span.
#[inline(always)]
pub(crate) fn release_remote(span: NonNull<Span>, address: usize) -> Result<Posted, Refused> {
    // SAFETY: the map has a descriptor for every granule.
    let descriptor = unsafe { span.as_ref() };
    let (word, bit) = descriptor.bit_of(address).ok_or(Refused)?;
    if descriptor.is_free_bit(word, bit) {
        return Err(Refused);
    }
    // SAFETY: a span that can have an owner has an annex.
    let remote = &unsafe { Annex::of(span).as_ref() }.remote;
    let posted = match remote.note(descriptor.filled(), word, bit) {
        Noted::Twice => return Err(Refused),
        Noted::Done => Posted::Done,
        Noted::First => post(span),
    };
    // By now the span may be another one: then no harm is done.
    if matches!(posted, Posted::Done) && descriptor.is_word_deserted(remote, word) {
        return Ok(count_deserted(span));
    }
    Ok(posted)
}

/// Counts a span, of whose words one is deserted, if all are.
#[cold]
#[inline(never)]
fn count_deserted(span: NonNull<Span>) -> Posted {
    // SAFETY: as in `release_remote`.
    let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
    if !descriptor.is_deserted(&annex.remote) {
        return Posted::Done;
    }
    let (owner, _) = remote::unmarked(descriptor.owner().load(Acquire));
    match NonNull::new(owner) {
        // SAFETY: owners are never freed.
        Some(owner) if unsafe { owner.as_ref() }.count_deserted() => Posted::Deserted(owner),
        _ => Posted::Done,
    }
}

/// Posts a span to its owner, by who has to.
#[inline(never)]
pub(crate) fn post(span: NonNull<Span>) -> Posted {
    // SAFETY: it has an object that is not collected, so it is in use, and has an annex.
    let (descriptor, annex) = unsafe { (span.as_ref(), Annex::of(span).as_ref()) };
    let Some(owner) = NonNull::new(remote::mark(descriptor.owner())) else {
        return Posted::Ownerless;
    };
    // SAFETY: owners are never freed.
    if unsafe { owner.as_ref() }.post(&annex.remote) { Posted::Idle(owner) } else { Posted::Done }
}
