//! Statistics of a pool and of a heap.

use super::MemoryPool;
use super::heap::Heap;
use super::inner::Inner;
use super::limits::NO_LIMIT;
use super::lock::{Guard, Wait};
use crate::armour::Region;
use crate::buddy::Kind;
use crate::error::Error;
use spin::RelaxStrategy;

/// What a pool has, and has done. All sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Number of heaps.
    pub heaps: usize,
    /// Bytes in blocks of the heaps, used and free: what the heaps have but for metadata and trimmings.
    pub capacity_bytes: usize,
    /// Bytes that the heaps' metadata takes.
    pub metadata_bytes: usize,
    /// Bytes in spans and runs.
    pub used_bytes: usize,
    /// The most `used_bytes` there ever were.
    pub peak_used_bytes: usize,
    /// Bytes in neither.
    pub free_bytes: usize,
    /// Bytes of the largest free block. Neighbouring ones may make up a larger run.
    pub largest_free_block: usize,
    /// Blocks that were allocated and not released.
    pub live_blocks: usize,
    /// Their usable bytes; of a hardened pool, what they take with their armour.
    pub live_bytes: usize,
    /// Blocks ever allocated from the heaps that the pool has now.
    pub allocations: u64,
    /// Blocks ever released to them.
    pub releases: u64,
    /// Allocations and resizes that failed for want of memory.
    pub failures: u64,
    /// Pointers that were refused, for whatever reason, and, of a hardened pool, writes to released blocks that were
    /// found when their memory was used again.
    pub misuses: u64,
    /// The limit of `used_bytes`, if there is one.
    pub limit: Option<usize>,
}

/// What a heap has. All sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// Start of the region that was handed in.
    pub memory: *mut u8,
    /// Its size.
    pub size: usize,
    /// Bytes of a granule.
    pub granule: usize,
    /// Bytes in blocks, used and free.
    pub capacity_bytes: usize,
    /// Bytes that metadata takes.
    pub metadata_bytes: usize,
    /// Bytes in spans and runs.
    pub used_bytes: usize,
    /// Bytes in neither.
    pub free_bytes: usize,
    /// Bytes of the largest free block. Neighbouring ones may make up a larger run.
    pub largest_free_block: usize,
    /// Blocks that were allocated and not released.
    pub live_blocks: usize,
    /// Their usable bytes; of a hardened pool, what they take with their armour.
    pub live_bytes: usize,
    /// Number of spans.
    pub spans: usize,
    /// Whether nothing more is allocated from it.
    pub draining: bool,
}

// SAFETY: the address tells where a region is, and lets nobody use it.
unsafe impl Send for HeapStats {}
// SAFETY: as above.
unsafe impl Sync for HeapStats {}

/// Blocks of a heap: live ones, their bytes, and how many were ever allocated.
#[derive(Clone, Copy)]
pub(super) struct LiveCounts {
    pub(super) blocks: usize,
    pub(super) bytes: usize,
    pub(super) allocations: u64,
}

/// The most that statistics have told since a heap was last removed: while threads use their stashes it may be more than
/// what is counted, and is never more than is true.
pub(super) struct Told {
    allocations: u64,
    releases: u64,
}

impl Told {
    pub(super) const NOTHING: Told = Told { allocations: 0, releases: 0 };
}

impl Heap {
    /// Cost: a step an extent of the heap.
    pub(super) fn live_counts(&self) -> LiveCounts {
        let (blocks, bytes, allocations) = self.run_counts();
        let mut sum = LiveCounts { blocks, bytes, allocations };
        let Some(slab) = self.slab() else { return sum };
        sum.allocations += slab.settled_releases();
        for extent in self.extents() {
            if extent.kind == Kind::Stashed {
                sum.blocks -= 1;
                sum.bytes -= extent.granules as usize * self.granule();
            }
            let Some(span) = slab.span_of(extent) else { continue };
            let (live, released) = slab.counts_of(span);
            sum.blocks += live;
            sum.bytes += live * span.object_size();
            sum.allocations += live as u64 + released;
        }
        sum
    }

    fn stats(&mut self) -> HeapStats {
        let live = self.live_counts();
        HeapStats {
            memory: self.memory(),
            size: self.size(),
            granule: self.granule(),
            capacity_bytes: self.capacity_bytes(),
            metadata_bytes: self.metadata_bytes(),
            used_bytes: self.used_bytes(),
            free_bytes: self.capacity_bytes() - self.used_bytes(),
            largest_free_block: self.largest_free_bytes(),
            live_blocks: live.blocks,
            live_bytes: live.bytes,
            spans: self.slab().map_or(0, |slab| slab.spans_in_use() as usize),
            draining: self.draining,
        }
    }
}

impl<R: RelaxStrategy> Inner<R> {
    fn stats(&mut self) -> PoolStats {
        let mut stats = PoolStats {
            capacity_bytes: self.capacity,
            used_bytes: self.used,
            peak_used_bytes: self.peak_used,
            free_bytes: self.free_bytes(),
            failures: self.failures,
            misuses: self.misuses,
            // First: what is taken out of a stash meanwhile may be live, and not counted here.
            allocations: self.taken_out_of_stashes(),
            limit: (self.limit != NO_LIMIT).then_some(self.limit),
            ..PoolStats::default()
        };
        self.for_each_heap(|pool, heap| {
            let this = pool.heaps.get_mut(heap);
            let live = this.live_counts();
            stats.heaps += 1;
            stats.metadata_bytes += this.metadata_bytes();
            stats.largest_free_block = stats.largest_free_block.max(this.largest_free_bytes());
            stats.live_blocks += live.blocks;
            stats.live_bytes += live.bytes;
            stats.allocations += live.allocations;
        });
        stats.releases = stats.allocations.saturating_sub(stats.live_blocks as u64);
        stats
    }
}

/// Takes released blocks that wait off the live ones; says how many there are.
pub(super) fn take_off(
    (blocks, bytes): (&mut usize, &mut usize),
    waiting: impl Iterator<Item = Region>,
) -> u64 {
    let mut count = 0;
    for waiting in waiting {
        // What owners collect meanwhile may have been counted as released already.
        *blocks = blocks.saturating_sub(1);
        *bytes = bytes.saturating_sub(waiting.len);
        count += 1;
    }
    count
}

/// Statistics.
///
/// ```
/// # let pool = heapmaster::MemoryPool::system();
/// let block = pool.alloc(100)?;
/// let stats = pool.stats();
/// assert_eq!((stats.heaps, stats.live_blocks), (1, 1));
/// assert!(stats.live_bytes >= 100 && stats.used_bytes >= stats.live_bytes);
/// assert_eq!(pool.heap_stats(block.as_ptr())?.live_blocks, 1);
/// # Ok::<(), heapmaster::Error>(())
/// ```
impl<R: RelaxStrategy> MemoryPool<R> {
    /// What the pool has now. Cost: a step a span and run, and a free block.
    pub fn stats(&self) -> PoolStats {
        self.stats_of(self.lock())
    }

    /// The same; `None` if the lock can't be had.
    pub(crate) fn stats_while(&self, wait: Wait<'_>) -> Option<PoolStats> {
        self.inner.lock_while(wait).map(|inner| self.stats_of(inner))
    }

    fn stats_of(&self, mut inner: Guard<'_, Inner<R>, R>) -> PoolStats {
        let mut stats = inner.stats();
        let live = (&mut stats.live_blocks, &mut stats.live_bytes);
        let (waiting, reused) =
            (take_off(live, self.waiting(&inner)), self.taken_from_rack(&inner));
        stats.allocations += reused;
        stats.releases += waiting + reused;
        let Told { allocations, releases } = &mut inner.told;
        *allocations = stats.allocations.max(*allocations);
        *releases = stats.releases.max(*releases);
        PoolStats { allocations: *allocations, releases: *releases, ..stats }
    }

    /// What the heap has now whose region holds `address`. Cost: a step a span and run, and a free block.
    ///
    /// # Errors
    /// `HeapUnknown`.
    pub fn heap_stats(&self, address: *const u8) -> Result<HeapStats, Error> {
        let mut inner = self.lock();
        let heap = inner.heap_holding(address.addr())?;
        let this = inner.heaps.get_mut(heap);
        let (mut stats, range) = (this.stats(), this.start()..this.start() + this.size());
        let waiting = self.waiting(&inner);
        let waiting = waiting.filter(|waiting| range.contains(&waiting.start.addr().get()));
        take_off((&mut stats.live_blocks, &mut stats.live_bytes), waiting);
        Ok(stats)
    }
}
