//! What a hardened default pool needs of the system: a secret, closed pages, blocks that can't be touched, and
//! what was handed out before it was hardened.

use super::{MemoryPool, default_pool, reserve};
use crate::armour::{Key, PAGE, Quarantine, Region, first_nonzero};
use crate::os;
use crate::pool::{Backing, BlockState, Guards, Hardened, MAX_RESERVATION};
use crate::slab::SPAN_GRANULE_SHIFT;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

static GUARDS: Guards = Guards { close: os::close, open: os::commit, purge: os::purge };

/// What a pool is hardened with, but for early blocks. Guards, if all its heaps are from the system.
pub(crate) fn hardened(guards: bool) -> Hardened {
    let [first, second] = os::entropy();
    Hardened {
        key: Key { first, second },
        guards: (guards && os::page_size() == PAGE).then_some(&GUARDS),
        quarantine: UnsafeCell::new(Quarantine::new()),
        early: &[],
        closed: AtomicUsize::new(0),
        stranded: AtomicUsize::new(0),
    }
}

/// The default pool's.
struct Slot(UnsafeCell<MaybeUninit<Hardened>>);

// SAFETY: it is written once, before there is a second thread.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(MaybeUninit::uninit()));

/// Where the blocks start that are live when the default pool is hardened: the dynamic linker's.
static EARLY: [AtomicUsize; 512] = [const { AtomicUsize::new(0) }; 512];

/// Hardens the default pool. False, with nothing changed, if too many blocks of it are live.
///
/// # Safety
/// The process has a single thread, which is in no method of the pool, and this is called once.
pub(crate) unsafe fn harden_default_pool() -> bool {
    let pool = default_pool();
    pool.trim();
    let mut early = 0;
    pool.walk(|block| {
        if block.state == BlockState::Live {
            if let Some(place) = EARLY.get(early) {
                place.store(block.address.addr(), Relaxed);
            }
            early += 1;
        } else if let Some(start) = NonNull::new(block.address) {
            // SAFETY: nobody has the block, and there is no other thread.
            unsafe {
                if first_nonzero(Region { start, len: block.size }).is_some() {
                    start.write_bytes(0, block.size);
                }
            }
        }
        true
    });
    if early > EARLY.len() {
        return false;
    }
    // SAFETY: the caller's promise; the slot is written here alone, and nobody hardens the pool twice.
    unsafe {
        let slot = &mut *SLOT.0.get();
        pool.harden(NonNull::from(slot.write(Hardened { early: &EARLY, ..hardened(true) })));
    }
    true
}

/// Of blocks without a byte: their memory is never committed, so that whoever touches one ends.
static UNTOUCHABLE: MemoryPool = MemoryPool::with_source(add_untouchable_heap);

static UNTOUCHABLE_BACKING: Backing =
    Backing { commit: |_, _| true, purge: |_, _| true, decays: |_| false, release: super::release };

/// The pool of blocks that can't be touched, of which every address is another one.
pub(crate) fn untouchable_pool() -> &'static MemoryPool {
    &UNTOUCHABLE
}

fn add_untouchable_heap(pool: &MemoryPool, _size: usize, alignment: usize) -> bool {
    /// Some million blocks; when they are used up, the pool asks again.
    const MOST: usize = 64 << 20;
    let fair = os::memory_limit().map_or(MOST, |limit| MOST.min(limit / 64));
    // Twice the alignment has an aligned block, wherever it lies.
    let least = alignment.saturating_mul(2).max(1 << SPAN_GRANULE_SHIFT);
    let mut size = fair.max(least);
    while (least..=MAX_RESERVATION).contains(&size) {
        if let Ok(reservation) = reserve(size) {
            // SAFETY: it has just been reserved, is nobody else's, and is given back with the heap.
            if unsafe { pool.add_reservation(reservation, &UNTOUCHABLE_BACKING) }.is_ok() {
                return true;
            }
            // SAFETY: no heap was made of it.
            unsafe { super::release(reservation) };
        }
        size /= 2;
    }
    false
}
