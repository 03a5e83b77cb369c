/* Many blocks at once are as good as one by one; a batch does what it can and says how much that was. */
#include "check.h"

enum { SIZE = 1024 * 1024, BLOCKS = 1000 };

static _Alignas(64) unsigned char region[SIZE];
static void *blocks[BLOCKS];

static void a_batch_is_so_many_blocks(hl_pool *pool) {
    for (size_t size = 0; size <= 640; size += 1 + size / 5) {
        uint64_t allocations = pool_stats(pool).allocations;
        uint64_t releases = pool_stats(pool).releases;
        CHECK_EQUAL(hl_alloc_many(pool, size, BLOCKS, blocks), BLOCKS);
        CHECK_EQUAL(pool_stats(pool).live_blocks, BLOCKS);
        CHECK_EQUAL(pool_stats(pool).allocations, allocations + BLOCKS);
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(lies_in(blocks[i], size, region, SIZE));
            CHECK((uintptr_t)blocks[i] % 16 == 0);
            CHECK(hl_usable_size(pool, blocks[i]) >= size);
            write_pattern(blocks[i], size, i);
        }
        CHECK_STATUS(hl_pool_check(pool), HL_OK);
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(holds_pattern(blocks[i], size, i));
        }
        CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(blocks[i] == NULL);
        }
        CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
        CHECK_EQUAL(pool_stats(pool).releases, releases + BLOCKS);
    }
}

static void a_batch_too_large_is_served_in_part(hl_pool *pool) {
    enum { LARGE = 10000 };
    void *const untouched = region;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = untouched;
    }
    errno = 0;
    size_t count = hl_alloc_many(pool, LARGE, BLOCKS, blocks);
    CHECK(count > SIZE / LARGE / 2 && count <= SIZE / LARGE);
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK_EQUAL(pool_stats(pool).live_blocks, count);
    for (size_t i = 0; i < count; i++) {
        write_pattern(blocks[i], LARGE, i);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(holds_pattern(blocks[i], LARGE, i));
    }
    CHECK_EQUAL(hl_release_many(pool, blocks, count), count);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
}

/* Good ones, holes and mistakes mixed: the good are released, the mistakes stay where they are. */
static void a_batch_with_mistakes_releases_the_rest(hl_pool *pool) {
    static unsigned char in_no_pool[16];
    CHECK_EQUAL(hl_alloc_many(pool, 100, BLOCKS, blocks), BLOCKS);
    size_t mistakes = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        switch (i % 10) {
        case 2:
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            mistakes++;
            break;
        case 5:
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = in_no_pool;
            mistakes++;
            break;
        case 7:
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = NULL;
            break;
        case 8:
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = blocks[i - 8]; /* twice in one batch */
            mistakes++;
            break;
        }
    }
    uint64_t misuses = pool_stats(pool).misuses;
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS - mistakes);
    CHECK_EQUAL(pool_stats(pool).misuses, misuses + mistakes);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        bool is_mistake = i % 10 == 2 || i % 10 == 5 || i % 10 == 8;
        CHECK((blocks[i] != NULL) == is_mistake);
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void batches_and_single_blocks_mix(hl_pool *pool) {
    CHECK_EQUAL(hl_alloc_many(pool, 48, BLOCKS / 2, blocks), BLOCKS / 2);
    for (size_t i = BLOCKS / 2; i < BLOCKS; i++) {
        blocks[i] = hl_alloc(pool, i);
    }
    for (size_t i = 0; i < BLOCKS; i += 2) {
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
        blocks[i] = NULL;
    }
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, SIZE), HL_OK);
    a_batch_is_so_many_blocks(pool);
    a_batch_too_large_is_served_in_part(pool);
    a_batch_with_mistakes_releases_the_rest(pool);
    batches_and_single_blocks_mix(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
