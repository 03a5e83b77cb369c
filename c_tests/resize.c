/* A resized block keeps its contents, in place or moved; a resize that fails changes nothing. */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB, SIZE = 1280 * KIB };

static unsigned char memory[4 * MIB];

/* Its heap has room for one block of a MiB, and not for two: blocks are aligned to their size. */
static hl_pool *new_pool(void) {
    unsigned char *block = align_up(memory + 64 * KIB, MIB);
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, block - 64 * KIB, SIZE), HL_OK);
    return pool;
}

static void contents_survive_every_step(void) {
    hl_pool *pool = new_pool();
    size_t size = 0;
    unsigned char *block = hl_alloc(pool, 0);
    for (size_t next = 1; next < 300 * KIB; next += next / 7 + 1) {
        write_pattern(block, size, next);
        block = hl_resize(pool, block, next);
        CHECK(block != NULL && hl_usable_size(pool, block) >= next);
        CHECK(holds_pattern(block, size, next));
        size = next;
    }
    while (size > 0) {
        write_pattern(block, size, size);
        size_t next = size - size / 7 - 1;
        block = hl_resize(pool, block, next);
        CHECK(block != NULL && holds_pattern(block, next, size));
        size = next;
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, 1);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* The heap has room for the grown block only where the block lies already. */
static void a_block_grows_where_it_lies(void) {
    hl_pool *pool = new_pool();
    hl_pool_statistics fresh = pool_stats(pool);
    size_t largest = fresh.largest_free_block;
    CHECK(largest > fresh.capacity_bytes / 2);
    unsigned char *block = hl_alloc(pool, largest / 2 + 1);
    CHECK(block != NULL);
    write_pattern(block, largest / 2 + 1, 1);
    CHECK(hl_resize(pool, block, largest) == block);
    CHECK(hl_usable_size(pool, block) >= largest);
    CHECK(holds_pattern(block, largest / 2 + 1, 1));
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_EQUAL(pool_stats(pool).largest_free_block, largest);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void a_block_that_cannot_grow_moves(void) {
    hl_pool *pool = new_pool();
    enum { BLOCKS = 8, BEFORE = 32 * KIB, AFTER = 100 * KIB };
    unsigned char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = hl_alloc(pool, BEFORE);
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], BEFORE, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        unsigned char *old = blocks[i];
        blocks[i] = hl_resize(pool, old, AFTER);
        CHECK(blocks[i] != NULL && holds_pattern(blocks[i], BEFORE, i));
        write_pattern(blocks[i], AFTER, i);
        if (blocks[i] != old) {
            CHECK(hl_usable_size(pool, old) == 0);
            CHECK(hl_last_error() == HL_ERR_ALREADY_RELEASED ||
                  hl_last_error() == HL_ERR_INTERIOR_POINTER);
        }
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(holds_pattern(blocks[i], AFTER, i));
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void a_shrunk_block_gives_its_tail_back(void) {
    hl_pool *pool = new_pool();
    size_t largest = pool_stats(pool).largest_free_block;
    unsigned char *block = hl_alloc(pool, largest);
    write_pattern(block, largest, 1);
    size_t used = pool_stats(pool).used_bytes;
    block = hl_resize(pool, block, largest / 8);
    CHECK(block != NULL && holds_pattern(block, largest / 8, 1));
    CHECK(used - pool_stats(pool).used_bytes >= largest / 4 * 3);
    void *second = hl_alloc(pool, largest / 2);
    CHECK(second != NULL);
    CHECK_STATUS(hl_release(pool, second), HL_OK);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* In a full heap there is nowhere to move to, and none is needed. */
static void shrinking_never_fails(void) {
    hl_pool *pool = new_pool();
    enum { MOST = SIZE / 500 };
    static struct {
        unsigned char *block;
        size_t size;
    } held[MOST];
    size_t count = 0;
    for (size_t size = 150 * KIB; size > 600;) {
        unsigned char *block = hl_alloc(pool, size);
        if (block == NULL) {
            size -= size / 3;
            continue;
        }
        CHECK(count < MOST);
        write_pattern(block, size, count);
        held[count].block = block;
        held[count++].size = size;
    }
    while (hl_alloc(pool, 1) != NULL) {
    }
    for (size_t i = 0; i < count; i++) {
        size_t less = held[i].size / 3;
        held[i].block = hl_resize(pool, held[i].block, less);
        CHECK(held[i].block != NULL);
        CHECK(holds_pattern(held[i].block, less, i));
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void a_failed_resize_keeps_the_block(void) {
    hl_pool *pool = new_pool();
    static const struct {
        size_t size;
        hl_status status;
    } bad[] = {
        {2 * SIZE, HL_ERR_OUT_OF_MEMORY},
        {SIZE_MAX, HL_ERR_SIZE_OVERFLOW},
        {SIZE_MAX - 15, HL_ERR_SIZE_OVERFLOW},
    };
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        void *block = hl_alloc(pool, size);
        size_t usable = hl_usable_size(pool, block);
        write_pattern(block, usable, size);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            CHECK_FAILS(hl_resize(pool, block, bad[i].size), bad[i].status, ENOMEM);
            CHECK_EQUAL(hl_usable_size(pool, block), usable);
            CHECK(holds_pattern(block, usable, size));
        }
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void size_zero_is_no_release(void) {
    hl_pool *pool = new_pool();
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        void *block = hl_resize(pool, hl_alloc(pool, size), 0);
        CHECK(block != NULL);
        CHECK_EQUAL(pool_stats(pool).live_blocks, 1);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void many_blocks_resized_at_random(void) {
    enum { BLOCKS = 64 };
    hl_pool *pool = new_pool();
    uint64_t random = 1;
    void *blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS] = {0};
    for (size_t round = 0; round < rounds(60000); round++) {
        size_t i = random_below(&random, BLOCKS);
        size_t size = random_size(&random, 16);
        void *block = hl_resize(pool, blocks[i], size);
        if (block == NULL) {
            CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
            block = blocks[i];
            size = sizes[i];
        }
        CHECK(holds_pattern(block, size < sizes[i] ? size : sizes[i], i));
        write_pattern(block, size, i);
        blocks[i] = block;
        sizes[i] = size;
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(holds_pattern(blocks[i], sizes[i], i));
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

int main(void) {
    contents_survive_every_step();
    a_block_grows_where_it_lies();
    a_block_that_cannot_grow_moves();
    a_shrunk_block_gives_its_tail_back();
    shrinking_never_fails();
    a_failed_resize_keeps_the_block();
    size_zero_is_no_release();
    many_blocks_resized_at_random();
    return 0;
}
