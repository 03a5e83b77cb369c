//! A span's descriptor: which of its objects are free.
//!
//! The descriptor lies outside the span, so no object holds anything that the allocator trusts, and an
//! object that is released twice, or was never handed out, shows at once: its bit says so.
//!
//! Invariants of a span in use:
//! - S1: bit `i` of `free` is set if and only if object `i` exists and is free.
//! - S2: `free_count` is the number of set bits.
//! - S3: bit `w` of `words` is set if and only if `free[w]` is not zero.

use super::class::{ClassId, MAX_OBJECTS, SPAN_GRANULE_SHIFT, locate};
use crate::buddy::{Granule, Order};
use core::ptr::NonNull;

const WORD: usize = u64::BITS as usize;
const WORDS: usize = MAX_OBJECTS / WORD;

/// Descriptor of the span whose first granule has the same index; one cache line.
#[repr(C, align(64))]
pub(crate) struct Span {
    free: [u64; WORDS],
    /// Address of the first object.
    base: *mut u8,
    size: u32,
    magic: u32,
    free_count: u16,
    capacity: u16,
    words: u8,
    class: ClassId,
    order: u8,
}

const _: () = assert!(size_of::<Span>() == 64);
const _: () = assert!(WORDS <= u8::BITS as usize);

/// Why an address can't be released to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first byte of a live object.
    Live,
    /// Inside a live object, which starts at the given address.
    Interior(usize),
    /// In a free object, which starts at the given address.
    Free(usize),
    /// Behind the last object.
    Padding,
}

/// A span that has no objects: where an allocation ends that finds no span of its class.
pub(super) static NO_SPAN: SharedSpan = SharedSpan(Span {
    free: [0; WORDS],
    base: core::ptr::null_mut(),
    size: 0,
    magic: 0,
    free_count: 0,
    capacity: 0,
    words: 0,
    class: ClassId::SMALLEST,
    order: 0,
});

pub(super) struct SharedSpan(Span);

// SAFETY: it has no free object, so that nobody ever writes to it.
unsafe impl Sync for SharedSpan {}

impl SharedSpan {
    pub(super) fn get(&'static self) -> NonNull<Span> {
        NonNull::from(&self.0)
    }
}

impl Span {
    /// A span of `order` at `base`, all objects free.
    pub(super) fn new(base: NonNull<u8>, id: ClassId, order: Order) -> Span {
        let class = id.class();
        let capacity = class.objects_in(order.0);
        let mut span = Span {
            free: [0; WORDS],
            base: base.as_ptr(),
            size: class.size,
            magic: class.magic,
            free_count: capacity as u16,
            capacity: capacity as u16,
            words: 0,
            class: id,
            order: order.0,
        };
        span.free_all();
        span
    }

    /// Makes every object free, and says how many were live.
    pub(super) fn free_all(&mut self) -> usize {
        let live = self.live();
        self.free_count = self.capacity;
        self.words = 0;
        for (index, word) in self.free.iter_mut().enumerate() {
            let objects = (self.capacity as usize).saturating_sub(index * WORD).min(WORD);
            *word = if objects == 0 { 0 } else { !0 >> (WORD - objects) };
            self.words |= u8::from(objects != 0) << index;
        }
        live
    }

    /// Takes the free object with the lowest address.
    #[inline]
    pub(super) fn alloc(&mut self) -> Option<NonNull<u8>> {
        if self.words == 0 {
            return None;
        }
        // The mask changes nothing, and spares the bounds check.
        let word = self.words.trailing_zeros() as usize & (WORDS - 1);
        let bits = self.free[word];
        let rest = bits & (bits.wrapping_sub(1));
        self.free[word] = rest;
        if rest == 0 {
            self.words &= self.words - 1;
        }
        self.free_count -= 1;
        let index = word * WORD + bits.trailing_zeros() as usize;
        // SAFETY: object `index` exists (S1), so its address lies inside the span and is not null.
        Some(unsafe { NonNull::new_unchecked(self.base.add(index * self.size as usize)) })
    }

    /// Makes the live object that starts at `address` free; `None`, and no change, if none does.
    /// Says how many objects are free then.
    #[inline]
    pub(super) fn release(&mut self, address: usize) -> Option<usize> {
        let (index, starts) = locate(self.magic, (address - self.base.addr()) as u32);
        if !starts || index >= self.capacity as usize {
            return None;
        }
        let word = (index / WORD) & (WORDS - 1);
        let bit = 1 << (index % WORD);
        let old = self.free[word];
        if old & bit != 0 {
            return None;
        }
        self.free[word] = old | bit;
        self.words |= 1 << word;
        self.free_count += 1;
        Some(self.free_count as usize)
    }

    /// What lies at `address`, which is inside the span.
    pub(crate) fn place(&self, address: usize) -> Place {
        let (index, starts) = locate(self.magic, (address - self.base.addr()) as u32);
        let object = self.base.addr() + index * self.size as usize;
        if index >= self.capacity as usize {
            Place::Padding
        } else if self.is_free(index) {
            Place::Free(object)
        } else if starts {
            Place::Live
        } else {
            Place::Interior(object)
        }
    }

    /// Whether object `index` is free.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        self.free[index / WORD] >> (index % WORD) & 1 != 0
    }

    /// Bytes of an object.
    #[inline]
    pub(crate) fn object_size(&self) -> usize {
        self.size as usize
    }

    /// Number of objects, live and free.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Number of live objects.
    pub(crate) fn live(&self) -> usize {
        (self.capacity - self.free_count) as usize
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.words != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free_count == self.capacity
    }

    #[inline]
    pub(super) fn class(&self) -> ClassId {
        self.class
    }

    /// Which of S1 to S3, or of the span's constants, does not hold for a span of `order`.
    pub(super) fn broken(&self, order: Order) -> Option<&'static str> {
        let class = self.class.class();
        let capacity = self.capacity as usize;
        let set = self.free.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        let beyond = (capacity..MAX_OBJECTS).any(|index| self.is_free(index));
        let words = (0..WORDS).all(|word| (self.words >> word & 1 != 0) == (self.free[word] != 0));
        if self.order != order.0 || capacity != class.objects_in(order.0) || self.size != class.size
        {
            Some("S1: a span has the objects of its class")
        } else if beyond {
            Some("S1: only objects that exist are free")
        } else if set != self.free_count as usize {
            Some("S2: free_count counts the free objects")
        } else if !words {
            Some("S3: words summarises the free objects")
        } else {
            None
        }
    }

    /// Index of the span's first granule in a heap whose first granule is at `heap`.
    #[inline]
    pub(super) fn head(&self, heap: NonNull<u8>) -> Granule {
        let offset = self.base.addr() - heap.addr().get();
        Granule((offset >> SPAN_GRANULE_SHIFT) as u32)
    }
}
