/* A reset releases every block at once and keeps the heaps: the pool is as good as new. */
#include "check.h"

enum { SIZE = 512 * 1024, MOST = SIZE / 16 };

static _Alignas(64) unsigned char regions[2][SIZE];
static void *blocks[MOST];

static size_t fill(hl_pool *pool, size_t size) {
    size_t count = 0;
    while ((blocks[count] = hl_alloc(pool, size)) != NULL) {
        count++;
        CHECK(count < MOST);
    }
    return count;
}

static void check_fresh(hl_pool *pool, hl_pool_statistics fresh) {
    hl_pool_statistics now = pool_stats(pool);
    CHECK_EQUAL(now.heaps, fresh.heaps);
    CHECK_EQUAL(now.capacity_bytes, fresh.capacity_bytes);
    CHECK_EQUAL(now.live_blocks, 0);
    CHECK_EQUAL(now.live_bytes, 0);
    CHECK_EQUAL(now.used_bytes, 0);
    CHECK_EQUAL(now.free_bytes, fresh.free_bytes);
    CHECK_EQUAL(now.largest_free_block, fresh.largest_free_block);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void every_block_is_released(hl_pool *pool) {
    hl_pool_statistics fresh = pool_stats(pool);
    for (size_t size = 20; size < 100000; size *= 4) {
        size_t count = fill(pool, size);
        CHECK(count > 0);
        CHECK_STATUS(hl_pool_reset(pool), HL_OK);
        check_fresh(pool, fresh);
        for (size_t i = 0; i < count; i += count / 100 + 1) {
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_ERR_ALREADY_RELEASED);
            CHECK(hl_owns(pool, blocks[i]));
        }
        CHECK_EQUAL(fill(pool, size), count);
        CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    }
}

static void a_reset_pool_is_usable_at_once(hl_pool *pool) {
    hl_pool_statistics fresh = pool_stats(pool);
    uint64_t random = 7;
    for (size_t round = 0; round < rounds(500); round++) {
        size_t count = 0;
        for (size_t i = 0; i < 200; i++) {
            size_t size = random_size(&random, 12);
            blocks[count] = hl_alloc(pool, size);
            CHECK(blocks[count] != NULL && lies_in(blocks[count], size, regions, sizeof regions));
            memset(blocks[count], 0xFF, size);
            if (i % 3 == 0) {
                CHECK_STATUS(hl_release(pool, blocks[random_below(&random, count + 1)]), HL_OK);
                CHECK_STATUS(hl_pool_reset(pool), HL_OK);
                count = 0;
            } else {
                count++;
            }
        }
        CHECK_STATUS(hl_pool_reset(pool), HL_OK);
        check_fresh(pool, fresh);
    }
}

int main(void) {
    for (uint32_t flags = 0; flags <= HL_POOL_SINGLE_THREADED; flags++) {
        hl_config config = {.struct_size = sizeof config, .flags = flags};
        hl_pool *pool = hl_pool_new_with(&config);
        CHECK_STATUS(hl_pool_reset(pool), HL_OK);
        CHECK_STATUS(hl_add_heap(pool, regions[0], SIZE), HL_OK);
        CHECK_STATUS(hl_add_heap(pool, regions[1], SIZE), HL_OK);
        every_block_is_released(pool);
        a_reset_pool_is_usable_at_once(pool);
        CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    }
    hl_pool *pool = hl_pool_new_in(regions[0], SIZE);
    every_block_is_released(pool);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
