//! Heaps that the library gets from the system, and the pool that lives on them alone.
//!
//! ```text
//! | guard | metadata | guard, at least a page | memory: committed ... reserved ... | guard |
//! ```
//! A heap is one reservation. Its metadata lies before the memory, behind a page that can't be touched, so
//! that no overflow of a block reaches it.

mod decay;
mod hardened;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::os::{self, YieldAfterSpin};
use crate::pool::{self, Backing, MAX_RESERVATION, Reservation, ReservedMetadata};
use core::ptr::NonNull;

pub(crate) use decay::after_fork_in_child;
pub use decay::enable as enable_decay;
pub(crate) use hardened::{
    armoury, harden_default_pool, spot_check_default_pool, untouchable_at, untouchable_pool,
    untouchable_pools,
};

/// [`MemoryPoolWith`](crate::MemoryPoolWith), which has the documentation, with locks that wait by yielding to the
/// system.
///
/// ```
/// use heapmaster::MemoryPool;
///
/// let pool = MemoryPool::new();
/// pool.add_system_heap(1 << 30)?;
/// let block = pool.alloc(1000)?;
/// // SAFETY: the block is not used any more.
/// unsafe { pool.release(block) }?;
/// # Ok::<(), heapmaster::Error>(())
/// ```
pub type MemoryPool = pool::MemoryPool<YieldAfterSpin>;

static BACKING: Backing = Backing {
    commit: os::commit,
    let_write: os::commit,
    purge: os::purge,
    move_pages: os::move_pages,
    renew: os::renew,
    decays: |_| false,
    release,
};

/// The same, for the default pool.
static DECAYING_BACKING: Backing = Backing { decays: decay::notice, ..BACKING };

/// Where memory begins: at a multiple of this, which is a huge page on most systems.
const ALIGNMENT: usize = 2 << 20;

/// The most that is reserved at once, and the least that is worth it.
const MOST: usize = 1 << 40;
const LEAST: usize = 1 << 20;

/// What is reserved where it is not known how much memory the machine has, and at least otherwise.
const FAIR: usize = 16 << 30;

/// The first reservation where the system counts every page of metadata; later ones are twice as large as
/// those before them.
const STRICT_FIRST: usize = 256 << 20;

const _: () = assert!(MOST <= MAX_RESERVATION);

static DEFAULT: MemoryPool = MemoryPool::system();

/// The pool behind `malloc`, [`heap::Chunk`](crate::heap::Chunk) and `hl_default_pool`: it takes a heap from
/// the system when it first needs one.
///
/// ```
/// let block = heapmaster::default_pool().block(100)?;
/// assert_eq!(block.len(), 100);
/// # Ok::<(), heapmaster::Error>(())
/// ```
pub fn default_pool() -> &'static MemoryPool {
    &DEFAULT
}

impl MemoryPool {
    /// A pool that takes heaps from the system as it needs them: address space at first, memory as it grows.
    ///
    /// It needs no other heap, so that it can be the global allocator of a program:
    /// ```
    /// use heapmaster::MemoryPool;
    ///
    /// #[global_allocator]
    /// static GLOBAL: MemoryPool = MemoryPool::system();
    ///
    /// let words: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    /// assert_eq!(words.concat().len(), 2890);
    /// assert!(GLOBAL.stats().live_blocks > 1000);
    /// ```
    pub const fn system() -> MemoryPool {
        MemoryPool::with_source(add_some_system_heap)
    }

    /// Reserves `max_size` bytes of address space, 0 for as many as the system agrees to, and adds them as a
    /// heap. Memory is committed as the heap grows, and given back as it runs empty. Cost: some calls of the system.
    ///
    /// # Errors
    /// `HeapTooSmall` below 1 MiB; `SizeOverflow`, `System` if there is no such address space.
    pub fn add_system_heap(&self, max_size: usize) -> Result<(), Error> {
        if max_size == 0 {
            return self.add_largest(MOST, LEAST);
        }
        if max_size < LEAST {
            return Err(Error::HeapTooSmall { address: 0, size: max_size });
        }
        if max_size > MAX_RESERVATION {
            return Err(Error::SizeOverflow { count: 1, size: max_size });
        }
        self.add_reserved(max_size)
    }

    /// Adds a heap of `most` bytes, or else of the half, and so on down to `least`.
    fn add_largest(&self, most: usize, least: usize) -> Result<(), Error> {
        let mut size = most;
        loop {
            match self.add_reserved(size) {
                Err(_) if size / 2 >= least => size /= 2,
                result => return result,
            }
        }
    }

    fn add_reserved(&self, size: usize) -> Result<(), Error> {
        let size = size & !(os::page_size() - 1);
        let reservation = reserve(size)?;
        let backing = if core::ptr::eq(self, &DEFAULT) { &DECAYING_BACKING } else { &BACKING };
        // SAFETY: it has just been reserved, is nobody else's, and is given back with the heap.
        let added = unsafe { self.add_reservation(reservation, backing) };
        if added.is_err() {
            // SAFETY: no heap was made of it.
            unsafe { release(reservation) };
        }
        added
    }
}

/// Adds a heap that has room for a block of `size` bytes with that alignment.
fn add_some_system_heap(pool: &MemoryPool, size: usize, alignment: usize) -> bool {
    // Blocks are aligned to their size, so a heap that holds one for certain has twice that.
    let twice =
        size.max(alignment).checked_next_power_of_two().and_then(|size| size.checked_mul(2));
    let Some(least) = twice.filter(|&least| least <= MAX_RESERVATION) else { return false };
    let most = if os::commits_strictly() {
        STRICT_FIRST << pool.stats().heaps.min(12)
    } else {
        // Metadata is a small part of what is reserved, but all of it is what `mlockall` has to lock.
        let memory = os::physical_memory().unwrap_or(0);
        memory.saturating_mul(2).checked_next_power_of_two().unwrap_or(MOST).clamp(FAIR, MOST)
    };
    // What other parts of the program need beside it, stacks and files, is limited too.
    let fair = os::memory_limit().map_or(most, |limit| most.min(limit / 2));
    let least = least.max(LEAST);
    pool.add_largest(fair.max(least), least).is_ok()
}

/// Bytes from the start of a reservation to its metadata, and the least between metadata and memory.
fn guard() -> usize {
    os::page_size()
}

fn reserve(size: usize) -> Result<Reservation, Error> {
    let ReservedMetadata { bytes, written } = ReservedMetadata::of(size);
    let bytes = bytes.next_multiple_of(os::page_size());
    let before = guard() + bytes + guard();
    let total = before + ALIGNMENT + size + guard();
    let start = os::reserve(total)?;
    // SAFETY: all the parts lie in the reservation.
    let (metadata, memory, end) = unsafe {
        let memory = start.add(before);
        let memory = memory.add(memory.align_offset(ALIGNMENT));
        (start.add(guard()), memory, start.add(total))
    };
    let used_end = memory.addr().get() + size + guard();
    // SAFETY: what lies behind the last guard is ours, and nobody needs it.
    unsafe {
        os::release(end.sub(end.addr().get() - used_end), end.addr().get() - used_end);
    }
    let reservation = Reservation { memory, size, metadata };
    // SAFETY: the metadata's pages are ours, and nobody uses them. Most of them would be in a dump as zeroes.
    if unsafe {
        os::leave_out_of_dumps(metadata, bytes);
        os::let_read(metadata, bytes) && os::commit(metadata, written)
    } {
        return Ok(reservation);
    }
    let error = Error::System { call: "mprotect", errno: libc::ENOMEM };
    // SAFETY: it has just been reserved, and nobody uses it.
    unsafe { release(reservation) };
    Err(error)
}

/// Gives a reservation back.
///
/// # Safety
/// It is one of [`reserve`]'s, and nobody uses it.
unsafe fn release(reservation: Reservation) {
    let Reservation { memory, size, metadata } = reservation;
    // SAFETY: the reservation begins a guard before the metadata.
    let start: NonNull<u8> = unsafe { metadata.sub(guard()) };
    let end = memory.addr().get() + size + guard();
    // SAFETY: the caller's promise; it ends a guard behind the memory.
    unsafe { os::release(start, end - start.addr().get()) };
}
