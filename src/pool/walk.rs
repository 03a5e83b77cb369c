//! A walk over the blocks of a pool, and a map of a heap.

use super::MemoryPool;
use super::heap::Heap;
use super::inner::Inner;
use crate::buddy::{Extent, Granule, Kind};
use crate::error::Error;
use crate::slab::remote::{Inbox, unmarked};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Acquire;
use spin::RelaxStrategy;

/// Whether a block is handed out.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Nobody has it.
    Free = 0,
    /// Allocated, and not released.
    Live = 1,
}

/// A block, as a walk shows it: a live block, a free object of a span, or a free block of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Its first byte.
    pub address: *mut u8,
    /// Its bytes.
    pub size: usize,
    /// Whether it is handed out.
    pub state: BlockState,
}

// SAFETY: the address tells where a block is, and lets nobody use it.
unsafe impl Send for BlockInfo {}
// SAFETY: as above.
unsafe impl Sync for BlockInfo {}

/// Blocks looked up under one hold of the lock: few enough for the stack and for others' patience.
const BATCH: usize = 32;

impl Heap {
    /// The first block that starts at `address` or above.
    fn block_from(&self, address: usize) -> Option<BlockInfo> {
        let mut granule = self.granule_at_or_first(address)?;
        loop {
            let extent = self.extent_covering(granule)?;
            if let Some(block) = self.block_of(extent, address) {
                return Some(block);
            }
            granule = extent.head.plus(extent.granules);
        }
    }

    /// The first block of an extent that starts at `address` or above.
    fn block_of(&self, extent: Extent, address: usize) -> Option<BlockInfo> {
        let start = self.address_of(extent.head);
        if let (Kind::Span, Some(slab)) = (extent.kind, self.slab()) {
            let span = slab.span_of(extent)?;
            let size = span.object_size();
            let index = address.saturating_sub(start.addr().get()).div_ceil(size);
            if index >= span.capacity() {
                return None;
            }
            let state = if slab.is_free(span, index) { BlockState::Free } else { BlockState::Live };
            // SAFETY: the object lies in the span.
            let address = unsafe { start.add(index * size) }.as_ptr();
            return Some(BlockInfo { address, size, state });
        }
        let state = match extent.kind {
            Kind::Free | Kind::Stashed => BlockState::Free,
            Kind::Run | Kind::Span => BlockState::Live,
        };
        let size = extent.granules as usize * self.granule();
        let block = BlockInfo { address: start.as_ptr(), size, state };
        (start.addr().get() >= address).then_some(block)
    }

    /// See [`Inner::owner_of_free`].
    fn owner_of_free(&self, address: usize) -> Option<*mut Inbox> {
        let extent = self.extent_covering(self.granule_at(address)?)?;
        match extent.kind {
            Kind::Free => Some(null_mut()),
            Kind::Run | Kind::Stashed => None,
            Kind::Span => Some(unmarked(self.slab()?.span_of(extent)?.owner().load(Acquire)).0),
        }
    }

    /// Used bytes of the granules `[start, end)`.
    fn used_between(&self, start: u32, end: u32) -> usize {
        let mut used = 0;
        let mut at = start;
        while at < end {
            let Some(extent) = self.extent_covering(Granule(at)) else { break };
            let extent_end = extent.head.0 + extent.granules;
            if extent.kind != Kind::Free {
                used += (extent_end.min(end) - at) as usize * self.granule();
            }
            at = extent_end;
        }
        used
    }

    fn draw(&self, text: &mut [u8]) {
        let (granules, cells) = (self.end_granule() as usize, text.len());
        for (cell, character) in text.iter_mut().enumerate() {
            // A heap with fewer granules than cells shows each of them in several.
            let start = cell * granules / cells;
            let end = ((cell + 1) * granules / cells).max(start + 1).min(granules);
            let share = (end - start) * self.granule();
            let used = self.used_between(start as u32, end as u32);
            *character = match used * 10 / share.max(1) {
                _ if used == 0 => b'.',
                10.. => b'#',
                tenths => b'0' + tenths.max(1) as u8,
            };
        }
    }
}

impl<R: RelaxStrategy> Inner<R> {
    /// Who alone can allocate the free block that starts at `address`: the owner of its span, or the pool, which is null;
    /// `None` if it is in a stash.
    pub(super) fn owner_of_free(&self, address: usize) -> Option<*mut Inbox> {
        self.heaps.get(self.find(address)?).owner_of_free(address)
    }

    pub(super) fn block_from(&self, address: usize) -> Option<BlockInfo> {
        let mut address = address;
        loop {
            let heap = self.heaps.get(self.heaps.holding_or_above(address)?);
            if let Some(block) = heap.block_from(address) {
                return Some(block);
            }
            address = heap.start().checked_add(heap.size())?;
        }
    }
}

/// A look inside.
///
/// ```
/// use heapmaster::{BlockState, Pool};
///
/// let mut memory = Box::new_uninit_slice(64 * 1024);
/// let heap = memory.as_ptr().cast();
/// let pool = Pool::new();
/// pool.add_heap(&mut memory)?;
/// let block = pool.block(30_000)?;
///
/// let mut live = Vec::new();
/// pool.walk(|found| {
///     live.extend((found.state == BlockState::Live).then_some(found.address.cast_const()));
///     true
/// });
/// assert_eq!(live, [block.as_ptr()]);
///
/// let mut map = [0; 32];
/// pool.map(heap, &mut map)?;
/// let used = map.iter().filter(|&&character| character == b'#').count();
/// assert!((13..=17).contains(&used));
/// # Ok::<(), heapmaster::Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// Calls `visit` for the blocks of all heaps in the order of their addresses, until it answers false.
    ///
    /// No lock is held meanwhile, so `visit` may use the pool. Blocks that are allocated or released
    /// during the walk, by it or by other threads, may be shown as they were just before. Cost: a step a block.
    pub fn walk(&self, mut visit: impl FnMut(&BlockInfo) -> bool) {
        let mut next = Some(0);
        while let Some(mut address) = next {
            let mut batch = [None; BATCH];
            let inner = self.lock();
            for slot in &mut batch {
                let Some(block) = inner.block_from(address) else { break };
                address = block.address.addr() + block.size;
                *slot = Some(self.as_known(block));
            }
            drop(inner);
            for block in batch.iter().flatten() {
                if !visit(block) {
                    return;
                }
            }
            next = batch[BATCH - 1].map(|_| address);
        }
    }

    /// Draws the heap whose region holds `address`, one ASCII character of `text` for each equal share of
    /// it: `.` free, `1` to `9` tenths in use (rounded down, but for the first), `#` all in use. Cost: a step a
    /// character, and a run, span and free block.
    ///
    /// # Errors
    /// `HeapUnknown`.
    pub fn map(&self, address: *const u8, text: &mut [u8]) -> Result<(), Error> {
        let inner = self.lock();
        let heap = inner.heap_holding(address.addr())?;
        inner.heaps.get(heap).draw(text);
        Ok(())
    }
}
