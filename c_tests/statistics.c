/* The figures of a pool are exact, add up, and are those of its heaps. */
#include "check.h"

enum { KIB = 1024, SIZE = 512 * KIB, HEAPS = 3, BLOCKS = 400 };

static _Alignas(64) unsigned char regions[HEAPS][SIZE];

static void check_sums(hl_pool *pool) {
    hl_pool_statistics all = pool_stats(pool);
    hl_pool_statistics sum = {.struct_size = sizeof sum};
    for (size_t i = 0; i < HEAPS; i++) {
        hl_heap_statistics heap = heap_stats(pool, regions[i]);
        CHECK_EQUAL(heap.capacity_bytes, heap.used_bytes + heap.free_bytes);
        CHECK(heap.capacity_bytes + heap.metadata_bytes <= heap.size);
        CHECK(heap.live_bytes <= heap.used_bytes);
        CHECK(heap.largest_free_block <= heap.free_bytes);
        CHECK(heap.granule > 0 && (heap.granule & (heap.granule - 1)) == 0);
        CHECK_EQUAL(heap.used_bytes % heap.granule, 0);
        sum.capacity_bytes += heap.capacity_bytes;
        sum.metadata_bytes += heap.metadata_bytes;
        sum.used_bytes += heap.used_bytes;
        sum.free_bytes += heap.free_bytes;
        sum.live_blocks += heap.live_blocks;
        sum.live_bytes += heap.live_bytes;
        if (heap.largest_free_block > sum.largest_free_block) {
            sum.largest_free_block = heap.largest_free_block;
        }
    }
    CHECK_EQUAL(all.heaps, HEAPS);
    CHECK_EQUAL(all.capacity_bytes, sum.capacity_bytes);
    CHECK_EQUAL(all.metadata_bytes, sum.metadata_bytes);
    CHECK_EQUAL(all.used_bytes, sum.used_bytes);
    CHECK_EQUAL(all.free_bytes, sum.free_bytes);
    CHECK_EQUAL(all.live_blocks, sum.live_blocks);
    CHECK_EQUAL(all.live_bytes, sum.live_bytes);
    CHECK_EQUAL(all.largest_free_block, sum.largest_free_block);
    CHECK(all.peak_used_bytes >= all.used_bytes);
}

/* The program keeps its own books and compares after every step. */
static void the_books_agree(hl_pool *pool) {
    void *blocks[BLOCKS] = {NULL};
    size_t live_blocks = 0, live_bytes = 0;
    uint64_t random = 3, allocations = 0, releases = 0, failures = 0;
    for (size_t round = 0; round < rounds(20000); round++) {
        size_t i = random_below(&random, BLOCKS);
        if (blocks[i] != NULL) {
            live_bytes -= hl_usable_size(pool, blocks[i]);
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = NULL;
            live_blocks--;
            releases++;
        } else if ((blocks[i] = hl_alloc(pool, random_size(&random, 15))) != NULL) {
            live_bytes += hl_usable_size(pool, blocks[i]);
            live_blocks++;
            allocations++;
        } else {
            failures++;
        }
        hl_pool_statistics statistics = pool_stats(pool);
        CHECK_EQUAL(statistics.live_blocks, live_blocks);
        CHECK_EQUAL(statistics.live_bytes, live_bytes);
        CHECK_EQUAL(statistics.allocations, allocations);
        CHECK_EQUAL(statistics.releases, releases);
        CHECK_EQUAL(statistics.failures, failures);
        CHECK_EQUAL(statistics.misuses, 0);
        if (round % 100 == 0) {
            check_sums(pool);
        }
    }
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_EQUAL(pool_stats(pool).live_bytes, 0);
}

static void the_peak_stays(hl_pool *pool) {
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    void *block = hl_alloc(pool, 200 * KIB);
    void *second = hl_alloc(pool, 250 * KIB);
    size_t peak = pool_stats(pool).peak_used_bytes;
    CHECK(peak >= 450 * KIB);
    CHECK_STATUS(hl_release(pool, second), HL_OK);
    CHECK_EQUAL(pool_stats(pool).peak_used_bytes, peak);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK(pool_stats(pool).used_bytes < peak);
    CHECK_EQUAL(pool_stats(pool).peak_used_bytes, peak);
}

static void the_largest_free_block_can_be_had(hl_pool *pool) {
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    for (size_t i = 0; i < 20; i++) {
        size_t largest = pool_stats(pool).largest_free_block;
        CHECK(largest > 0);
        void *block = hl_alloc(pool, largest);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        CHECK(hl_alloc(pool, 10 * KIB + i * 1000) != NULL);
    }
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
}

/* A program built against an older header, whose struct was shorter, gets no more than it knows. */
static void a_shorter_struct_is_filled_to_its_size(hl_pool *pool) {
    struct {
        hl_pool_statistics statistics;
        unsigned char behind[64];
    } buffer;
    for (size_t size = offsetof(hl_pool_statistics, used_bytes); size <= sizeof(hl_pool_statistics);
         size += sizeof(size_t)) {
        memset(&buffer, 0xA5, sizeof buffer);
        buffer.statistics.struct_size = size;
        CHECK_STATUS(hl_pool_stats(pool, &buffer.statistics), HL_OK);
        CHECK_EQUAL(buffer.statistics.heaps, HEAPS);
        CHECK(holds_only((unsigned char *)&buffer + size, sizeof buffer - size, 0xA5));
    }
    struct {
        hl_heap_statistics statistics;
        unsigned char behind[64];
    } heap;
    const size_t end = offsetof(hl_heap_statistics, spans);
    for (size_t size = offsetof(hl_heap_statistics, granule); size <= end; size += sizeof(size_t)) {
        memset(&heap, 0xA5, sizeof heap);
        heap.statistics.struct_size = size;
        CHECK_STATUS(hl_heap_stats(pool, regions[1], &heap.statistics), HL_OK);
        CHECK_EQUAL(heap.statistics.size, SIZE);
        CHECK(holds_only((unsigned char *)&heap + size, sizeof heap - size, 0xA5));
    }
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    for (size_t i = 0; i < HEAPS; i++) {
        CHECK_STATUS(hl_add_heap(pool, regions[i], SIZE), HL_OK);
    }
    check_sums(pool);
    the_books_agree(pool);
    check_sums(pool);
    the_peak_stays(pool);
    the_largest_free_block_can_be_had(pool);
    a_shorter_struct_is_filled_to_its_size(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
