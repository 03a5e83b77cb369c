//! Where objects are allocated from: for each class the free objects of one word of its current span.

use super::class::{CLASSES, ClassId, MAX_OBJECT, MIN_OBJECT};
use super::dice::Dice;
use super::map::Annex;
use super::span::{ALIGNMENT, Span, WORD};
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The free objects of one word of a span, ready to be allocated.
#[repr(C)]
pub(crate) struct Slot {
    word: Cell<NonNull<AtomicU64>>,
    /// The word's value when none of its objects is free.
    none: Cell<u64>,
    size: Cell<usize>,
    /// Address of the word's first object.
    base: Cell<*mut u8>,
}

/// The word of the slots that have no span.
static NO_OBJECTS: AtomicU64 = AtomicU64::new(0);

/// A slot for each class.
#[repr(transparent)]
pub(crate) struct Slots([Slot; CLASSES]);

/// The distance from the first slot to that of the class of each size, in bytes; sizes in units of [`MIN_OBJECT`],
/// rounded up.
static DISTANCES: [u16; MAX_OBJECT / MIN_OBJECT + 1] = {
    let mut distances = [0; MAX_OBJECT / MIN_OBJECT + 1];
    let mut unit = 0;
    while unit < distances.len() {
        distances[unit] = (ClassId::holding(unit * MIN_OBJECT).index() * size_of::<Slot>()) as u16;
        unit += 1;
    }
    distances
};

const _: () = assert!(CLASSES * size_of::<Slot>() <= u16::MAX as usize);

/// Those of no slab.
struct Empty(Slots);

// SAFETY: nobody changes what never has a span.
unsafe impl Sync for Empty {}

static EMPTY: Empty = Empty(Slots::new());

impl Slots {
    /// Slots without spans.
    pub(super) const fn new() -> Slots {
        Slots([const { Slot::new() }; CLASSES])
    }

    /// Slots that never have a span.
    pub(crate) const fn none() -> NonNull<Slots> {
        // SAFETY: a static's address is not null.
        unsafe { NonNull::new_unchecked(&raw const EMPTY.0 as *mut Slots) }
    }

    #[inline]
    pub(super) fn of(&self, id: ClassId) -> &Slot {
        &self.0[id.index()]
    }

    /// The slot of the smallest class whose objects hold `size` bytes.
    ///
    /// # Safety
    /// `size` is no more than [`MAX_OBJECT`].
    #[inline(always)]
    pub(crate) unsafe fn holding(&self, size: usize) -> &Slot {
        // SAFETY: the caller's promise.
        unsafe { core::hint::assert_unchecked(size <= MAX_OBJECT) };
        let distance = DISTANCES[size.div_ceil(MIN_OBJECT)] as usize;
        // SAFETY: the distance is that of a slot.
        unsafe { &*self.0.as_ptr().byte_add(distance) }
    }
}

/// The first set bit at or behind one that a random number chooses, from the first again behind the last.
#[inline(always)]
fn at_or_behind(bits: u64, random: u64) -> usize {
    let start = random as u32 % u64::BITS;
    (bits.rotate_right(start).trailing_zeros() + start) as usize % WORD
}

impl Slot {
    /// A slot without a span.
    pub(crate) const fn new() -> Slot {
        // SAFETY: a static's address is not null.
        let word = unsafe { NonNull::new_unchecked(&raw const NO_OBJECTS as *mut AtomicU64) };
        Slot {
            word: Cell::new(word),
            none: Cell::new(0),
            size: Cell::new(0),
            base: Cell::new(null_mut()),
        }
    }

    /// Takes the free object with the lowest address.
    #[inline(always)]
    pub(crate) fn alloc(&self) -> Option<NonNull<u8>> {
        // SAFETY: the word is one of a span in use, or the static.
        let word = unsafe { self.word.get().as_ref() };
        let bits = word.load(Relaxed);
        if bits == self.none.get() {
            return None;
        }
        // SAFETY: `bits` is not 0: it is a superset of `none`, and differs from it.
        let index = unsafe { core::num::NonZero::new_unchecked(bits) }.trailing_zeros() as usize;
        word.store(bits & !(1 << index), Relaxed);
        // The lowest of the bits is none of `none`, which are the highest.
        // SAFETY: the object exists (S1), so its address lies inside the span and is not null.
        Some(unsafe { NonNull::new_unchecked(self.base.get().add(index * self.object_size())) })
    }

    /// Takes any free object of the word: the first at or behind one that the dice choose.
    #[inline]
    pub(crate) fn alloc_at_random(&self, dice: &mut Dice) -> Option<NonNull<u8>> {
        // SAFETY: as in `alloc`.
        let word = unsafe { self.word.get().as_ref() };
        let bits = word.load(Relaxed);
        // What exists and is free: the bits of `none` stand for no object.
        let free = bits ^ self.none.get();
        if free == 0 {
            return None;
        }
        let index = at_or_behind(free, dice.roll());
        word.store(bits & !(1 << index), Relaxed);
        // SAFETY: the object exists (S1), so its address lies inside the span and is not null.
        Some(unsafe { NonNull::new_unchecked(self.base.get().add(index * self.object_size())) })
    }

    /// Bytes of the objects that [`Slot::alloc`] takes.
    #[inline]
    pub(crate) fn object_size(&self) -> usize {
        self.size.get()
    }

    /// The span that the slot allocates from, in a heap whose spans can have owners or not.
    #[inline]
    pub(crate) fn span(&self, has_owners: bool) -> Option<NonNull<Span>> {
        let word = self.word.get();
        if core::ptr::eq(word.as_ptr(), &raw const NO_OBJECTS) {
            return None;
        }
        let start = if has_owners {
            let annex = word.addr().get() & !(align_of::<Annex>() - 1);
            annex + offset_of!(Annex, span)
        } else {
            word.addr().get() & !(ALIGNMENT - 1)
        };
        NonNull::new(word.as_ptr().with_addr(start).cast())
    }

    /// Leaves the span, which the caller has given another state.
    #[inline]
    pub(crate) fn clear(&self) {
        let empty = Slot::new();
        self.word.swap(&empty.word);
        self.none.set(0);
    }

    /// Allocates from this span, whose first object is where `base` says, from now on. False if it has no free object.
    #[inline]
    pub(crate) fn fill(&self, span: &Span, base: impl FnOnce() -> *mut u8) -> bool {
        let Some((number, word, none)) = span.first_free_word() else { return false };
        let size = span.object_size();
        self.word.set(NonNull::from(word));
        self.none.set(none);
        self.size.set(size);
        self.base.set(base().wrapping_add(number * WORD * size));
        true
    }
}
