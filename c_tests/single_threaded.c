/* A pool made for one thread does all that a pool does. */
#include "check.h"

enum { SIZE = 1024 * 1024, BLOCKS = 500 };

static _Alignas(64) unsigned char region[SIZE];

static hl_pool *new_pool(void) {
    hl_config config = {.struct_size = sizeof config, .flags = HL_POOL_SINGLE_THREADED};
    hl_pool *pool = hl_pool_new_with(&config);
    CHECK(pool != NULL);
    CHECK_STATUS(hl_add_heap(pool, region, SIZE), HL_OK);
    return pool;
}

static void it_serves_resizes_and_releases(hl_pool *pool) {
    void *blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS] = {0};
    uint64_t random = 5;
    for (size_t round = 0; round < rounds(200000); round++) {
        size_t i = random_below(&random, BLOCKS);
        CHECK(holds_pattern(blocks[i], sizes[i], i));
        size_t size = random_size(&random, 13);
        if (round % 5 == 0 && blocks[i] != NULL) {
            void *block = hl_resize(pool, blocks[i], size);
            if (block == NULL) {
                continue;
            }
            CHECK(holds_pattern(block, size < sizes[i] ? size : sizes[i], i));
            blocks[i] = block;
        } else if (blocks[i] != NULL) {
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = NULL;
            size = 0;
        } else {
            blocks[i] = hl_alloc(pool, size);
            size = blocks[i] == NULL ? 0 : size;
        }
        sizes[i] = size;
        write_pattern(blocks[i], size, i);
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
}

static void it_refuses_misuse(hl_pool *pool) {
    for (size_t size = 0; size < 100000; size = size * 3 / 2 + 1) {
        unsigned char *block = hl_alloc(pool, size);
        CHECK(block != NULL);
        hl_pool_statistics before = pool_stats(pool);
        CHECK_STATUS(hl_release(pool, block + 1), HL_ERR_INTERIOR_POINTER);
        CHECK_STATUS(hl_release(pool, &before), HL_ERR_NOT_IN_POOL);
        CHECK_UNCHANGED(pool, before);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        CHECK_STATUS(hl_release(pool, block), HL_ERR_ALREADY_RELEASED);
    }
}

static bool release_it(const hl_block_info *block, void *context) {
    if (block->state == HL_BLOCK_LIVE) {
        CHECK_STATUS(hl_release(context, block->address), HL_OK);
    }
    return true;
}

static void it_can_be_walked(hl_pool *pool) {
    for (size_t size = 0; size < 20000; size = size * 2 + 1) {
        CHECK(hl_alloc(pool, size) != NULL);
    }
    CHECK_STATUS(hl_pool_walk(pool, release_it, pool), HL_OK);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
}

static void its_heap_can_be_removed(hl_pool *pool) {
    void *block = hl_alloc(pool, 10);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_ERR_HEAP_IN_USE);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_OK);
    CHECK_FAILS(hl_alloc(pool, 10), HL_ERR_OUT_OF_MEMORY, ENOMEM);
}

int main(void) {
    hl_pool *pool = new_pool();
    it_serves_resizes_and_releases(pool);
    it_refuses_misuse(pool);
    it_can_be_walked(pool);
    its_heap_can_be_removed(pool);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
