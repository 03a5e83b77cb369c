//! Which span an address is in: a number a granule, a descriptor a number.

use super::class::{ClassId, SPAN_GRANULE_SHIFT};
use super::remote::Remote;
use super::span::Span;
use crate::buddy::{Granule, Order};
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The number of a granule's span and the descriptors, of one heap.
///
/// Descriptor 0 is that of no span; the one of the span that starts at granule `g` is number `(g + 1) * stride`.
/// Where spans can have owners, the stride is two, and an [`Annex`] lies behind each descriptor.
///
/// Numbers change under the pool's lock. An owner reads those of its own spans, which it got under the lock;
/// what others read in it is right for as long as they have a live object there.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SpanMap {
    /// Address of granule 0.
    first: *mut u8,
    granules: usize,
    numbers: NonNull<AtomicU32>,
    spans: NonNull<Span>,
    stride: u32,
}

/// What a descriptor has beside it where spans can have owners. Zeroes are one.
#[repr(C)]
pub(crate) struct Annex {
    /// First: see [`SpanMap::span_of`].
    pub(crate) remote: Remote,
    /// Links of the owner's list of spans with room.
    pub(crate) before: Cell<Option<NonNull<Span>>>,
    pub(crate) after: Cell<Option<NonNull<Span>>>,
}

const _: () = assert!(size_of::<Annex>() <= size_of::<Span>());

impl Annex {
    /// The annex of a span that has one.
    #[inline]
    pub(crate) fn of(span: NonNull<Span>) -> NonNull<Annex> {
        span.map_addr(|address| address.saturating_add(size_of::<Span>())).cast()
    }
}

/// Descriptors for each granule of a heap.
pub(crate) const fn stride(has_owners: bool) -> u32 {
    if has_owners { 2 } else { 1 }
}

/// Bytes of the numbers and of the descriptors for so many granules, each to be aligned for its type.
pub(crate) const fn bytes(granules: usize, has_owners: bool) -> (usize, usize) {
    let descriptors = 1 + (granules + 1) * stride(has_owners) as usize;
    (granules * size_of::<AtomicU32>(), descriptors * size_of::<Span>())
}

impl SpanMap {
    /// The map of a heap that has no granules.
    pub(crate) const EMPTY: SpanMap = SpanMap {
        first: core::ptr::null_mut(),
        granules: 0,
        numbers: NonNull::dangling(),
        spans: NonNull::dangling(),
        stride: 0,
    };

    /// The map of a heap that has no spans yet.
    ///
    /// # Safety
    /// `numbers` and `spans` point to as many bytes as [`bytes`] says, the former zeroed, and the latter for
    /// a heap with owners too. They are valid and used by the map and its copies alone as long as these are used.
    /// `first` is the address of granule 0.
    pub(crate) unsafe fn new(
        first: NonNull<u8>,
        granules: u32,
        numbers: NonNull<u8>,
        spans: NonNull<u8>,
        has_owners: bool,
    ) -> SpanMap {
        let spans = spans.cast::<Span>();
        // SAFETY: the caller's promise.
        unsafe { spans.write(Span::none()) };
        SpanMap {
            first: first.as_ptr(),
            granules: granules as usize,
            numbers: numbers.cast(),
            spans,
            stride: stride(has_owners),
        }
    }

    /// Granules of the heap, usable or not.
    #[inline]
    pub(crate) fn granules(&self) -> usize {
        self.granules
    }

    /// The descriptor of the span that holds `address`, that of no span if it is in none; `None` if it is not
    /// in the heap.
    #[inline(always)]
    pub(crate) fn holding(&self, address: usize) -> Option<NonNull<Span>> {
        let granule = address.wrapping_sub(self.first.addr()) >> SPAN_GRANULE_SHIFT;
        if granule >= self.granules {
            return None;
        }
        // SAFETY: there is a number for each granule.
        let number = unsafe { self.numbers.add(granule).as_ref() }.load(Relaxed);
        // SAFETY: each number that a granule has is one of a descriptor.
        Some(unsafe { self.spans.add(number as usize) })
    }

    fn number(&self, head: Granule) -> u32 {
        (head.0 + 1) * self.stride
    }

    /// First granule of the span whose descriptor this is.
    #[inline]
    pub(crate) fn head_of(&self, span: NonNull<Span>) -> Granule {
        let distance = span.addr().get() - self.spans.addr().get();
        let number = (distance / size_of::<Span>()) as u32;
        // The stride is 1 or 2.
        Granule((number >> (self.stride - 1)) - 1)
    }

    /// Descriptor of the span that starts at `head`.
    #[inline]
    pub(crate) fn descriptor(&self, head: Granule) -> NonNull<Span> {
        debug_assert!(head.index() < self.granules);
        // SAFETY: there is one for each granule.
        unsafe { self.spans.add(self.number(head) as usize) }
    }

    /// Whether spans can have owners.
    pub(crate) fn has_owners(&self) -> bool {
        self.stride > stride(false)
    }

    /// The annex of a span; `None` in a heap whose spans have no owners.
    pub(crate) fn annex(&self, span: NonNull<Span>) -> Option<&Annex> {
        // SAFETY: spans of this heap have one.
        self.has_owners().then(|| unsafe { Annex::of(span).as_ref() })
    }

    /// The span behind whose descriptor this is.
    ///
    /// # Safety
    /// `remote` is part of an annex.
    pub(crate) unsafe fn span_of(remote: *mut Remote) -> NonNull<Span> {
        // SAFETY: the caller's promise.
        unsafe { NonNull::new_unchecked(remote.cast::<Span>().sub(1)) }
    }

    /// Whether this is one of the heap's descriptors.
    pub(crate) fn has_descriptor(&self, span: NonNull<Span>) -> bool {
        let distance = span.addr().get().wrapping_sub(self.spans.addr().get());
        distance < (self.granules + 1) * self.stride as usize * size_of::<Span>()
    }

    /// Address of the first object of a span.
    #[inline]
    pub(crate) fn base_of(&self, span: NonNull<Span>) -> *mut u8 {
        self.first.wrapping_add(self.head_of(span).index() << SPAN_GRANULE_SHIFT)
    }

    /// Whether the granule has the number of this span, or of none.
    pub(super) fn is_numbered(&self, granule: Granule, span: Option<&Span>) -> bool {
        // SAFETY: there is a number for each granule.
        let number = unsafe { self.numbers.add(granule.index()).as_ref() }.load(Relaxed);
        number == span.map_or(0, |span| self.number(self.head_of(NonNull::from(span))))
    }

    fn set_numbers(&self, head: Granule, order: Order, number: u32) {
        for granule in head.index()..head.index() + order.granules() as usize {
            // SAFETY: there is a number for each granule.
            unsafe { self.numbers.add(granule).as_ref() }.store(number, Relaxed);
        }
    }

    /// Makes the block of `order` at `head` a span of the class.
    pub(super) fn add(&self, head: Granule, id: ClassId, order: Order) -> NonNull<Span> {
        let span = self.descriptor(head);
        // SAFETY: the block lies in the heap, so that its address is not null.
        let base =
            unsafe { NonNull::new_unchecked(self.first.add(head.index() << SPAN_GRANULE_SHIFT)) };
        // SAFETY: whatever bytes are there are a valid descriptor but for its state, which is written first.
        unsafe { Span::set_up(span, base, id, order) };
        self.set_numbers(head, order, self.number(head));
        span
    }

    /// Forgets a span, and says where it starts.
    pub(super) fn remove(&self, span: NonNull<Span>) -> Granule {
        let head = self.head_of(span);
        // SAFETY: it is in use.
        self.set_numbers(head, unsafe { span.as_ref() }.order(), 0);
        head
    }
}
