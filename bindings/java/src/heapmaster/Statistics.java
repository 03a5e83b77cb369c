package heapmaster;

/** What a pool has, and has done. Sizes are in bytes. */
public record Statistics(
        long heaps,
        long capacityBytes,
        long metadataBytes,
        long usedBytes,
        long peakUsedBytes,
        long freeBytes,
        long largestFreeBlock,
        long liveBlocks,
        long liveBytes,
        long allocations,
        long releases,
        long failures,
        long misuses,
        long limit) {

    Statistics(Library.PoolStatistics raw) {
        this(
                raw.heaps,
                raw.capacity_bytes,
                raw.metadata_bytes,
                raw.used_bytes,
                raw.peak_used_bytes,
                raw.free_bytes,
                raw.largest_free_block,
                raw.live_blocks,
                raw.live_bytes,
                raw.allocations,
                raw.releases,
                raw.failures,
                raw.misuses,
                raw.limit);
    }
}
