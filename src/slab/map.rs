//! Which span an address is in: a number a granule, a descriptor a number.

use super::class::{ClassId, SPAN_GRANULE_SHIFT};
use super::remote::Remote;
use super::span::{ALIGNMENT, Span};
use crate::buddy::{Granule, Order};
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The number of a granule's span and the descriptors, of one heap.
///
/// Descriptor 0 is that of no span. The others are numbered as they are needed, so that those in use lie
/// together. Where spans can have owners, each is inside an [`Annex`], and only every other number is used.
///
/// Addresses have no more than 48 bits.
///
/// Numbers change under the pool's lock. An owner reads those of its own spans, which it got under the lock;
/// what others read in it is right for as long as they have a live object there.
#[derive(Clone, Copy, PartialEq)]
#[repr(C)]
pub(crate) struct SpanMap {
    /// Address of granule 0.
    first: *mut u8,
    granules: usize,
    numbers: NonNull<AtomicU32>,
    /// Descriptor 0.
    spans: NonNull<Span>,
    stride: u32,
}

/// A descriptor, and what it has behind it where spans can have owners. What its owner needs to allocate and release
/// is in the descriptor's own cache line, what others change in the next.
#[repr(C, align(128))]
pub(crate) struct Annex {
    pub(super) span: Span,
    pub(crate) remote: Remote,
    /// Links of the owner's queue of spans with room.
    pub(crate) before: Cell<Option<NonNull<Span>>>,
    pub(crate) after: Cell<Option<NonNull<Span>>>,
    /// Objects that the owner itself has released, to be counted by the pool.
    uncounted: AtomicU32,
}

const _: () = assert!(size_of::<Annex>() == 2 * size_of::<Span>());

impl Annex {
    /// The annex of a span that has one.
    #[inline]
    pub(crate) fn of(span: NonNull<Span>) -> NonNull<Annex> {
        // SAFETY: the span is a part of it, by the caller's word.
        unsafe { span.byte_sub(offset_of!(Annex, span)).cast() }
    }

    /// Counts objects that the owner has released, collected ones among them, until the pool does. Says whether
    /// it should soon.
    pub(crate) fn count_owners(&self, released: u64) -> bool {
        let sum = self.uncounted.load(Relaxed) + released as u32;
        self.uncounted.store(sum, Relaxed);
        sum > u32::MAX / 2
    }

    /// What [`Annex::count_owners`] has counted.
    pub(crate) fn uncounted(&self) -> u64 {
        self.uncounted.load(Relaxed) as u64
    }

    /// The same, which the pool counts from now on.
    pub(crate) fn take_uncounted(&self) -> u64 {
        let sum = self.uncounted();
        self.uncounted.store(0, Relaxed);
        sum
    }
}

/// Numbers from a descriptor to the next.
const fn stride(has_owners: bool) -> u32 {
    if has_owners { 2 } else { 1 }
}

/// Bytes of the numbers and of the descriptors for so many granules.
pub(crate) const fn bytes(granules: usize, has_owners: bool) -> (usize, usize) {
    let descriptors = (granules + 1) * stride(has_owners) as usize;
    (granules * size_of::<AtomicU32>(), descriptors * size_of::<Span>())
}

/// What the descriptors are aligned to.
pub(crate) const fn alignment(has_owners: bool) -> usize {
    if has_owners { align_of::<Annex>() } else { ALIGNMENT }
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
    /// `numbers` and `spans` point to as many bytes as [`bytes`] says, aligned, the latter as [`alignment`] says;
    /// the former zeroed, and the latter for a heap with owners too. They are valid and used by the map and its copies alone as long as these are used.
    /// `first` is the address of granule 0.
    pub(crate) unsafe fn new(
        first: NonNull<u8>,
        granules: u32,
        numbers: NonNull<u8>,
        spans: NonNull<u8>,
        has_owners: bool,
    ) -> SpanMap {
        let offset = if has_owners { offset_of!(Annex, span) } else { 0 };
        // SAFETY: the caller's promise.
        let spans = unsafe {
            let spans = spans.byte_add(offset).cast::<Span>();
            spans.write(Span::none());
            spans
        };
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

    fn number(&self, span: NonNull<Span>) -> u32 {
        let distance = span.addr().get() - self.spans.addr().get();
        (distance / size_of::<Span>()) as u32
    }

    /// The number after this one; `None` behind the last for so many granules.
    pub(super) fn number_after(&self, number: u32, granules: u32) -> Option<u32> {
        (number < granules * self.stride).then_some(number + self.stride)
    }

    /// The descriptor with this number, which is one's.
    pub(super) fn numbered(&self, number: u32) -> NonNull<Span> {
        // SAFETY: each number up to that of the last granule is one of a descriptor.
        unsafe { self.spans.add(number as usize) }
    }

    /// First granule of a span that is in use.
    #[inline]
    pub(crate) fn head_of(&self, span: NonNull<Span>) -> Granule {
        // SAFETY: the caller's word.
        let base = unsafe { span.as_ref() }.base();
        Granule(((base - self.first.addr()) >> SPAN_GRANULE_SHIFT) as u32)
    }

    /// Descriptor of the span that holds `granule`; that of no span if it is in none.
    #[inline]
    pub(crate) fn descriptor(&self, granule: Granule) -> NonNull<Span> {
        debug_assert!(granule.index() < self.granules);
        // SAFETY: there is a number for each granule.
        let number = unsafe { self.numbers.add(granule.index()).as_ref() }.load(Relaxed);
        self.numbered(number)
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
        unsafe {
            NonNull::new_unchecked(
                &raw mut (*remote.byte_sub(offset_of!(Annex, remote)).cast::<Annex>()).span,
            )
        }
    }

    /// Whether this is one of the heap's descriptors.
    pub(crate) fn has_descriptor(&self, span: NonNull<Span>) -> bool {
        let distance = span.addr().get().wrapping_sub(self.spans.addr().get());
        distance < (self.granules + 1) * self.stride as usize * size_of::<Span>()
    }

    /// Address of the first object of a span.
    #[inline]
    pub(crate) fn base_of(&self, span: NonNull<Span>) -> *mut u8 {
        // SAFETY: the caller's word.
        self.pointer_to(unsafe { span.as_ref() }.base())
    }

    /// A pointer to an address in the heap.
    #[inline]
    pub(crate) fn pointer_to(&self, address: usize) -> *mut u8 {
        self.first.with_addr(address)
    }

    /// Whether the granule has the number of this span, or of none.
    pub(super) fn is_numbered(&self, granule: Granule, span: Option<&Span>) -> bool {
        // SAFETY: there is a number for each granule.
        let number = unsafe { self.numbers.add(granule.index()).as_ref() }.load(Relaxed);
        number == span.map_or(0, |span| self.number(NonNull::from(span)))
    }

    fn set_numbers(&self, head: Granule, order: Order, number: u32) {
        for granule in head.index()..head.index() + order.granules() as usize {
            // SAFETY: there is a number for each granule.
            unsafe { self.numbers.add(granule).as_ref() }.store(number, Relaxed);
        }
    }

    /// Makes the block of `order` at `head` a span of the class, with the descriptor that has this number and no
    /// span yet.
    pub(super) fn add(
        &self,
        number: u32,
        head: Granule,
        id: ClassId,
        order: Order,
    ) -> NonNull<Span> {
        let span = self.numbered(number);
        // SAFETY: the block lies in the heap, so that its address is not null.
        let base =
            unsafe { NonNull::new_unchecked(self.first.add(head.index() << SPAN_GRANULE_SHIFT)) };
        // SAFETY: whatever bytes are there are a valid descriptor but for its state, which is written first.
        unsafe { Span::set_up(span, base, id, order) };
        if let Some(annex) = self.annex(span) {
            // Whoever released an object of the span before that was no longer live may have left a bit.
            annex.remote.words.iter().for_each(|word| word.store(0, Relaxed));
        }
        self.set_numbers(head, order, number);
        span
    }

    /// Forgets a span, and says where it starts and which number has no span now.
    pub(super) fn remove(&self, span: NonNull<Span>) -> (Granule, u32) {
        let head = self.head_of(span);
        // SAFETY: it is in use.
        self.set_numbers(head, unsafe { span.as_ref() }.order(), 0);
        (head, self.number(span))
    }
}
