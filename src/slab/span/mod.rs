//! A span's descriptor: which of its objects are free.
//!
//! The descriptor lies outside the span, so no object holds anything that the allocator trusts, and an
//! object that is released twice, or was never handed out, shows at once: its bit says so.
//!
//! A span is used by its *owner*: the cache of a thread, without a lock, or else the pool, under its lock.
//! Others read what is atomic here, and may be late in doing so, which matters to wrong pointers alone: what
//! describes the span does not change while one of its objects is live.
//!
//! Invariants of a span in use:
//! - S1: bit `i` of `free` is clear if and only if object `i` exists and is live.
//! - S2: as long as nothing else is said, the countdown is as many below what it started at as objects were
//!   released by the owner since `settle`. For a span with room that is not current, it is the number of live
//!   objects; for a full one it is 1, or what a cache waits for ([`Span::waking`]) less the releases; for a
//!   current one it is [`CURRENT`](countdown) less the releases. So when a release brings it to 0 the owner has
//!   something to do, and only then.

mod countdown;
mod others;

pub(crate) use others::{Collected, Place};

use super::class::{ClassId, MAX_OBJECTS, locate, span_bytes};
use super::remote::{self, Inbox};
use crate::buddy::Order;
#[cfg(target_arch = "x86_64")]
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64};

pub(super) const WORD: usize = u64::BITS as usize;
pub(super) const WORDS: usize = MAX_OBJECTS / WORD;

/// What a span is to its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Objects of its class are allocated from it.
    Current,
    /// It has a free object.
    Room,
    /// It had no free object when the owner last looked. One of the pool's has none, one of a cache's fewer than
    /// it waits for.
    Full,
    /// The descriptor is that of no span.
    Unused,
}

/// Descriptor of a span: one cache line, since what a thread frees at random is in as many spans as it has.
#[repr(C)]
pub(crate) struct Span {
    /// First, where the multiplication needs no offset.
    magic: AtomicU64,
    /// The cache that owns it, null for the pool; see `remote` for the lowest bit.
    owner: AtomicPtr<Inbox>,
    /// Lower half of the first object's address. Of a span that is not in use, anything.
    base: AtomicU32,
    /// Index of the last object.
    last: AtomicU8,
    class: AtomicU8,
    order: AtomicU8,
    /// See [`Remote`](super::remote::Remote).
    filled: AtomicU8,
    free: [AtomicU64; WORDS],
    /// The countdown in the lower half, and what it started at in the upper. One word, because statistics read both
    /// while the owner changes them.
    counts: AtomicU32,
    /// A [`State`]. Others read it as well: see [`Span::is_deserted`].
    state: AtomicU8,
    /// The next 16 bits of the first object's address, which are all: see `SpanMap`.
    base_high: AtomicU16,
}

const _: () = assert!(size_of::<Span>() == 64 && MAX_OBJECTS - 1 <= u8::MAX as usize);

/// Bytes that the descriptors of a heap are aligned to, where spans have no owners.
pub(super) const ALIGNMENT: usize = 64;

/// An address is not the start of a live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Span {
    /// Stands for granules that are in no span: no address is the start of one of its objects, and no cache
    /// owns it.
    pub(super) const fn none() -> Span {
        Span {
            free: [const { AtomicU64::new(!0) }; WORDS],
            magic: AtomicU64::new(0),
            owner: AtomicPtr::new(null_mut()),
            base: AtomicU32::new(0),
            last: AtomicU8::new(0),
            class: AtomicU8::new(0),
            order: AtomicU8::new(0),
            filled: AtomicU8::new(0),
            counts: AtomicU32::new(0),
            state: AtomicU8::new(State::Unused as u8),
            base_high: AtomicU16::new(0),
        }
    }

    /// Makes `span` the descriptor of the span of `order` at `base`, the pool's, all objects free. That nothing of it is
    /// noted is so already (M4).
    ///
    /// # Safety
    /// There is memory for a descriptor, initialised to anything, which nobody uses but to read what is atomic.
    pub(super) unsafe fn set_up(span: NonNull<Span>, base: NonNull<u8>, id: ClassId, order: Order) {
        // SAFETY: the caller's promise. Every field may have any bits.
        let span = unsafe { span.as_ref() };
        span.free.iter().for_each(|word| word.store(!0, Relaxed));
        span.magic.store(id.class().magic, Relaxed);
        span.owner.store(null_mut(), Relaxed);
        span.base.store(base.addr().get() as u32, Relaxed);
        span.base_high.store((base.addr().get() >> 32) as u16, Relaxed);
        span.last.store((id.class().objects_in(order.0) - 1) as u8, Relaxed);
        span.class.store(id.index() as u8, Relaxed);
        span.order.store(order.0, Relaxed);
        // What exists is free, what doesn't is not live either.
        span.settle_at(State::Room, 0);
    }

    /// Index of the object that holds `address`, which is inside the span or not at all, and whether it starts there.
    #[inline(always)]
    fn locate(&self, address: usize) -> (usize, bool) {
        // What is read is written before the span is anybody's, and not again while it is in use. For who asks about
        // an object that isn't live it may be another span's, but any bits will do.
        let offset = (address as u32).wrapping_sub(self.base.load(Relaxed));
        locate(self.magic.load(Relaxed), offset)
    }

    /// Index of the object that starts at `address`.
    #[inline(always)]
    fn index_of(&self, address: usize) -> Option<usize> {
        let (index, starts) = self.locate(address);
        starts.then_some(index)
    }

    /// Makes the live object that starts at `address`, an address inside the span, free. Says whether the
    /// owner has something to do (S2).
    #[inline(always)]
    pub(crate) fn release(&self, address: usize) -> Result<bool, Refused> {
        self.set_free(address)?;
        Ok(self.count_release())
    }

    /// Sets the bit of the live object that starts at `address`: [`Span::locate`], and a bit tested and set. By hand,
    /// because the compiler would neither calculate with what is in memory nor test and set a bit by one instruction.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn set_free(&self, address: usize) -> Result<(), Refused> {
        // SAFETY: it uses a descriptor that there is a reference to: an offset in a span of a class is that of an
        // object below `MAX_OBJECTS`, because a span has at most one object's bytes behind its last. The word is
        // written by the owner alone, which the caller is, by one store.
        unsafe {
            core::arch::asm!(
                "sub eax, dword ptr [{span} + {base}]",
                "mul qword ptr [{span} + {magic}]",
                "cmp rax, qword ptr [{span} + {magic}]",
                "jae {refused}",
                "mov rax, rdx",
                "shr rax, 6",
                "mov {bits}, qword ptr [{span} + 8 * rax + {free}]",
                "bts {bits}, rdx",
                "jc {refused}",
                "mov qword ptr [{span} + 8 * rax + {free}], {bits}",
                span = in(reg) self,
                base = const offset_of!(Span, base),
                magic = const offset_of!(Span, magic),
                free = const offset_of!(Span, free),
                bits = out(reg) _,
                inlateout("rax") address => _,
                out("rdx") _,
                refused = label { return Err(Refused) },
                options(nostack),
            );
        }
        Ok(())
    }

    /// Sets the bit of the live object that starts at `address`.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn set_free(&self, address: usize) -> Result<(), Refused> {
        let index = self.index_of(address).ok_or(Refused)?;
        // SAFETY: an offset in a span of a class is that of an object below `MAX_OBJECTS`, because a span
        // has at most one object's bytes behind its last.
        set_bit(unsafe { self.free.get_unchecked(index / WORD) }, 1 << (index % WORD))
    }

    /// Makes every object free, and says how many were live.
    pub(super) fn release_all(&self) -> usize {
        let live = self.live();
        self.free.iter().for_each(|word| word.store(!0, Relaxed));
        live
    }

    /// Whether object `index` is free.
    pub(crate) fn is_free(&self, index: usize) -> bool {
        self.free[index / WORD].load(Relaxed) >> (index % WORD) & 1 != 0
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        match self.state.load(Relaxed) {
            byte if byte == State::Current as u8 => State::Current,
            byte if byte == State::Room as u8 => State::Room,
            byte if byte == State::Full as u8 => State::Full,
            _ => State::Unused,
        }
    }

    /// Gives the span, which is posted or not, another owner.
    pub(super) fn set_owner(&self, owner: *mut Inbox) {
        let owes = !owner.is_null() && self.filled.load(Acquire) != 0;
        self.owner.store(if owes { remote::marked(owner) } else { owner }, Release);
    }

    /// Whether this cache owns the span, which is not marked.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, cache: *const Inbox) -> bool {
        // Relaxed: an owner sees its own spans as its own. By hand, because the compiler would not compare with
        // what is atomic in memory.
        // SAFETY: it reads a field of a descriptor that there is a reference to.
        unsafe {
            core::arch::asm!(
                "cmp qword ptr [{span} + {owner}], {cache}",
                "jne {other}",
                span = in(reg) self,
                owner = const offset_of!(Span, owner),
                cache = in(reg) cache,
                other = label { return false },
                options(readonly, nostack),
            );
        }
        true
    }

    /// Whether this cache owns the span, which is not marked.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn is_owned_by(&self, cache: *const Inbox) -> bool {
        // Relaxed: an owner sees its own spans as its own.
        core::ptr::eq(self.owner.load(Relaxed), cache)
    }

    /// The cache that owns the span, null for the pool.
    #[inline(always)]
    pub(crate) fn owner(&self) -> &AtomicPtr<Inbox> {
        &self.owner
    }

    /// Bytes of an object.
    #[inline]
    pub(crate) fn object_size(&self) -> usize {
        self.class().class().size as usize
    }

    /// See [`Remote`](super::remote::Remote).
    pub(super) fn filled(&self) -> &AtomicU8 {
        &self.filled
    }

    /// Address of the first object.
    pub(super) fn base(&self) -> usize {
        let high = self.base_high.load(Relaxed) as u64;
        (high << 32 | self.base.load(Relaxed) as u64) as usize
    }

    /// The number that is kept in the descriptor of no span.
    pub(super) fn link(&self) -> u32 {
        self.base.load(Relaxed)
    }

    /// Keeps a number in the descriptor of no span.
    pub(super) fn set_link(&self, number: u32) {
        self.base.store(number, Relaxed);
    }

    /// Bytes of the span's block.
    pub(crate) fn bytes(&self) -> usize {
        span_bytes(self.order().0)
    }

    /// Number of objects, live and free.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.last.load(Relaxed) as usize + 1
    }

    /// Number of live objects.
    pub(crate) fn live(&self) -> usize {
        self.free.iter().map(|word| word.load(Relaxed).count_zeros() as usize).sum()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.free.iter().all(|word| word.load(Relaxed) == !0)
    }

    /// Whether an object is free.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.first_free_word().is_some()
    }

    /// The first word that has a free object, its number, and its value when none of its objects is free.
    #[inline]
    pub(super) fn first_free_word(&self) -> Option<(usize, &AtomicU64, u64)> {
        let mut left = self.capacity();
        for (number, word) in self.free.iter().enumerate() {
            // Bits that stand for no object, which are always set (S1).
            let none = if left < WORD { !0 << left } else { 0 };
            if word.load(Relaxed) != none {
                return Some((number, word, none));
            }
            if left <= WORD {
                break;
            }
            left -= WORD;
        }
        None
    }

    #[inline]
    pub(crate) fn class(&self) -> ClassId {
        ClassId::at(self.class.load(Relaxed))
    }

    pub(super) fn order(&self) -> Order {
        Order(self.order.load(Relaxed))
    }

    /// Which of the invariants, or of the span's constants, does not hold for a span of `order`,
    /// which the caller keeps from being used meanwhile.
    pub(super) fn broken(&self, order: Order) -> Option<&'static str> {
        let class = self.class().class();
        let capacity = self.capacity();
        let beyond = (capacity..MAX_OBJECTS).any(|index| !self.is_free(index));
        if self.order() != order
            || capacity != class.objects_in(order.0)
            || self.magic.load(Relaxed) != class.magic
        {
            Some("S1: a span has the objects of its class")
        } else if beyond {
            Some("S1: only objects that exist are live")
        } else if !self.countdown_is_right() {
            Some("S2: the countdown is that of the span's state")
        } else {
            None
        }
    }
}

/// Sets a bit of a word that the caller alone writes; refused if it is set.
#[inline(always)]
fn set_bit(word: &AtomicU64, bit: u64) -> Result<(), Refused> {
    let before = word.load(Relaxed);
    if before & bit != 0 {
        return Err(Refused);
    }
    word.store(before | bit, Relaxed);
    Ok(())
}
