//! What a default pool needs of the system whose blocks wear an armour: a secret; if it is hardened, closed pages, blocks
//! that can't be touched, and what was handed out before.

use super::{MemoryPool, default_pool, reserve};
use crate::armour::{Key, PAGE, Quarantine, Region, first_nonzero};
use crate::error::Origin;
use crate::os;
use crate::pool::{Armoury, Backing, BlockState, Guards, MAX_RESERVATION, Rack, Roll};
use crate::slab::SPAN_GRANULE_SHIFT;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

static GUARDS: Guards = Guards { close: os::close, open: os::commit, purge: os::purge };

/// That of a hardened pool without early blocks. With guards, if all its heaps are from the system.
pub(crate) fn armoury(guards: bool) -> Armoury {
    let [first, second] = os::entropy();
    Armoury {
        key: Key { first, second },
        roll: None,
        guards: (guards && os::page_size() == PAGE).then_some(&GUARDS),
        quarantine: UnsafeCell::new(Quarantine::new()),
        rack: UnsafeCell::new(Rack::new()),
        early: &[],
        closed: AtomicUsize::new(0),
        stranded: AtomicUsize::new(0),
        misses: AtomicUsize::new(0),
    }
}

/// The default pool's.
struct Slot(UnsafeCell<MaybeUninit<Armoury>>);

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
    // Where data is limited a closed page is room for others, and may not open again.
    let guards = os::data_limit().is_none();
    // SAFETY: the caller's promise.
    unsafe { equip_default_pool(Armoury { early: &EARLY, ..armoury(guards) }) };
    true
}

/// Which blocks of the default pool wear an armour, if it is spot-checked.
static ROLL: Roll = Roll::new();

/// Has those blocks of the default pool wear an armour that are allocated with one.
///
/// # Safety
/// The process has a single thread, which is in no method of the pool, and neither this nor
/// [`harden_default_pool`] is called besides.
pub(crate) unsafe fn spot_check_default_pool() {
    /// Bytes of released blocks that wait: next to nothing, since that much more memory is in use.
    const MOST_WAITING: usize = 32 << 10;
    let quarantine = UnsafeCell::new(Quarantine::of(MOST_WAITING));
    // SAFETY: the caller's promise.
    unsafe { equip_default_pool(Armoury { roll: Some(&ROLL), quarantine, ..armoury(false) }) };
}

/// # Safety
/// The process has a single thread, which is in no method of the pool, and this is called once.
unsafe fn equip_default_pool(armoury: Armoury) {
    // SAFETY: the caller's promise; the slot is written here alone.
    unsafe {
        let slot = &mut *SLOT.0.get();
        default_pool().equip(NonNull::from(slot.write(armoury)));
    }
}

/// Of blocks without a byte: their memory is never committed, so that whoever touches one ends. One pool for those of
/// `malloc`, and one for those of `operator new`, by which arrays are allocated, too.
static UNTOUCHABLE: [MemoryPool; 2] = [const { MemoryPool::with_source(add_untouchable_heap) }; 2];

/// No higher than the lowest address of their heaps, and no lower than the first behind all. Relaxed: whoever knows a block of theirs knows these.
static LOWEST_UNTOUCHABLE: AtomicUsize = AtomicUsize::new(usize::MAX);
static END_OF_UNTOUCHABLE: AtomicUsize = AtomicUsize::new(0);

static UNTOUCHABLE_BACKING: Backing =
    Backing { commit: |_, _| true, purge: |_, _| true, ..super::BACKING };

/// The pools of blocks that can't be touched, of which every address is another one.
pub(crate) fn untouchable_pools() -> &'static [MemoryPool; 2] {
    &UNTOUCHABLE
}

/// The one of them for what has this origin.
pub(crate) fn untouchable_pool(origin: Origin) -> &'static MemoryPool {
    &UNTOUCHABLE[usize::from(origin != Origin::Malloc)]
}

/// The one of them that holds `address`, and the origin of its blocks.
pub(crate) fn untouchable_at(address: *const u8) -> Option<(&'static MemoryPool, Origin)> {
    // Each of them has a lock, and nearly no address is theirs.
    let bounds = LOWEST_UNTOUCHABLE.load(Relaxed)..END_OF_UNTOUCHABLE.load(Relaxed);
    if !bounds.contains(&address.addr()) {
        return None;
    }
    UNTOUCHABLE.iter().zip([Origin::Malloc, Origin::New]).find(|(pool, _)| pool.owns(address))
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
            let start = reservation.memory.addr().get();
            // First: other threads allocate from the heap as soon as it is there.
            LOWEST_UNTOUCHABLE.fetch_min(start, Relaxed);
            END_OF_UNTOUCHABLE.fetch_max(start + size, Relaxed);
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
