/*
 * A hardened pool shows what was written beside a block or after its release, knows the exact size of
 * each, and is in all else a pool like any other; for many threads or for one.
 */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB, WAITING = 128 };

static _Alignas(64) unsigned char region[8 * MIB];

/* What the handler was told last, and how often it was called. */
static struct {
    size_t calls;
    hl_misuse last;
} reported;

static void report(const hl_misuse *misuse, void *context) {
    CHECK(context == &reported);
    reported.calls++;
    reported.last = *misuse;
}

static void check_reported(hl_status status, const void *pointer) {
    CHECK_EQUAL(reported.calls, 1);
    CHECK_STATUS(reported.last.status, status);
    CHECK(reported.last.pointer == pointer);
    reported.calls = 0;
}

static hl_pool *new_pool(uint32_t flags) {
    hl_config config = {.struct_size = sizeof config, .flags = HL_POOL_HARDENED | flags};
    hl_pool *pool = hl_pool_new_with(&config);
    CHECK(pool != NULL);
    /* What the memory holds doesn't matter. */
    memset(region, 0xA5, sizeof region);
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    return pool;
}

static size_t next_size(size_t size) {
    return size + (size < 200 ? 1 : size / 3) * (fewer_rounds() ? 7 : 1);
}

/* A write of one byte makes each call refuse the block, until the byte is as it was. */
static void check_wound(hl_pool *pool, unsigned char *block, unsigned char *byte, hl_status status) {
    *byte ^= 0x5A;
    size_t size = hl_usable_size(pool, block);
    CHECK_STATUS(hl_release(pool, block), status);
    check_reported(status, block);
    CHECK(reported.last.block == block);
    CHECK_EQUAL(reported.last.block_size, size);
    CHECK(hl_resize(pool, block, 10) == NULL);
    check_reported(status, block);
    CHECK_STATUS(hl_release_sized(pool, block, hl_usable_size(pool, block)), status);
    check_reported(status, block);
    CHECK_STATUS(hl_pool_check(pool), status);
    *byte ^= 0x5A;
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void a_write_beside_a_block_is_found(hl_pool *pool) {
    for (size_t size = 0; size < 100000; size = next_size(size)) {
        unsigned char *block = hl_alloc(pool, size);
        CHECK(block != NULL);
        write_pattern(block, size, size);
        check_wound(pool, block, block + size, HL_ERR_OVERRUN);
        check_wound(pool, block, block + size + 7, HL_ERR_OVERRUN);
        /* The header lies there: whether a block is one can't be told any more. */
        block[-1] ^= 1;
        CHECK_STATUS(hl_release(pool, block), HL_ERR_UNDERRUN);
        check_reported(HL_ERR_UNDERRUN, block);
        CHECK(reported.last.block == NULL);
        CHECK_STATUS(hl_pool_check(pool), HL_ERR_UNDERRUN);
        block[-1] ^= 1;
        CHECK(holds_pattern(block, size, size));
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK_EQUAL(reported.calls, 0);
}

/* Before an aligned block lies its header, or canaries. */
static void a_write_before_an_aligned_block_is_found(hl_pool *pool) {
    for (size_t alignment = 64; alignment <= 64 * KIB; alignment *= 4) {
        unsigned char *block = hl_alloc_aligned(pool, alignment, 100);
        CHECK(block != NULL && (uintptr_t)block % alignment == 0);
        CHECK_EQUAL(hl_usable_size(pool, block), 100);
        for (size_t before = 1; before <= 16; before += 5) {
            block[-before] ^= 0x5A;
            CHECK_STATUS(hl_release(pool, block), HL_ERR_UNDERRUN);
            check_reported(HL_ERR_UNDERRUN, block);
            CHECK(reported.last.block == NULL || reported.last.block == block);
            CHECK_STATUS(hl_pool_check(pool), HL_ERR_UNDERRUN);
            block[-before] ^= 0x5A;
            CHECK_STATUS(hl_pool_check(pool), HL_OK);
        }
        check_wound(pool, block, block + 100, HL_ERR_OVERRUN);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
}

/* Also while it waits, and when its memory is free. */
static void a_second_release_is_refused(hl_pool *pool) {
    for (size_t size = 0; size < 100000; size = next_size(size)) {
        void *block = hl_alloc(pool, size);
        void *others[WAITING + 10];
        CHECK_EQUAL(hl_alloc_many(pool, 40, WAITING + 10, others), WAITING + 10);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        for (size_t i = 0; i < WAITING + 10; i++) {
            if (i % 46 == 0) {
                CHECK_STATUS(hl_release(pool, block), HL_ERR_ALREADY_RELEASED);
                check_reported(HL_ERR_ALREADY_RELEASED, block);
            }
            CHECK_STATUS(hl_release(pool, others[i]), HL_OK);
        }
        CHECK_STATUS(hl_release(pool, block), HL_ERR_ALREADY_RELEASED);
        check_reported(HL_ERR_ALREADY_RELEASED, block);
        CHECK_EQUAL(hl_usable_size(pool, block), 0);
        check_reported(HL_ERR_ALREADY_RELEASED, block);
    }
}

static void memory_waits_before_it_is_used_again(hl_pool *pool) {
    void *block = hl_alloc(pool, 1000);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    for (size_t i = 0; i < WAITING - 1; i++) {
        void *other = hl_alloc(pool, 1000);
        CHECK(other != NULL && other != block);
        CHECK_STATUS(hl_release(pool, other), HL_OK);
    }
}

/* Allocates blocks of a size until the handler is told something, and releases them. */
static void allocate_until_reported(hl_pool *pool, size_t size) {
    static void *blocks[20000];
    size_t count = 0;
    while (reported.calls == 0) {
        CHECK(count < sizeof blocks / sizeof *blocks);
        blocks[count] = hl_alloc(pool, size);
        CHECK(blocks[count++] != NULL);
    }
    hl_release_many(pool, blocks, count);
}

/* A check finds it as long as the block waits; the handler is told when its memory is handed out again. */
static void a_write_after_the_release_is_found(hl_pool *pool) {
    for (size_t size = 1; size < 100000; size = next_size(size)) {
        unsigned char *block = hl_alloc(pool, size);
        CHECK(block != NULL);
        memset(block, 1, size);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        CHECK(holds_only(block, size, 0));
        block[size / 2] = 1;
        CHECK_STATUS(hl_pool_check(pool), HL_ERR_WRITTEN_AFTER_RELEASE);
        CHECK_EQUAL(reported.calls, 0);
        for (size_t i = 0; i < WAITING; i++) {
            CHECK_STATUS(hl_release(pool, hl_alloc(pool, 1)), HL_OK);
        }
        allocate_until_reported(pool, size);
        check_reported(HL_ERR_WRITTEN_AFTER_RELEASE, block + size / 2);
        CHECK_STATUS(hl_pool_check(pool), HL_OK);
    }
}

/* What the system had back is not looked at for large blocks. */
static void purged_memory_is_zero_whoever_wrote_to_it_since(hl_pool *pool) {
    enum { SIZE = 32 * MIB };
    CHECK_STATUS(hl_add_system_heap(pool, 4 * (size_t)SIZE), HL_OK);
    unsigned char *block = hl_alloc(pool, SIZE);
    CHECK(block != NULL);
    block[4711] = 1;
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    block[4711] = 1;
    CHECK(hl_alloc_zeroed(pool, 1, SIZE) == block);
    CHECK(holds_only(block, SIZE, 0));
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_remove_heap(pool, block), HL_OK);
}

static void no_size_but_the_right_one_is_accepted(hl_pool *pool) {
    for (size_t size = 1; size < 100000; size = next_size(size)) {
        void *block = hl_alloc(pool, size);
        CHECK_EQUAL(hl_usable_size(pool, block), size);
        const size_t wrong[] = {0, size - 1, size + 1, size * 2, SIZE_MAX};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            CHECK_STATUS(hl_release_sized(pool, block, wrong[i]), HL_ERR_SIZE_MISMATCH);
            check_reported(HL_ERR_SIZE_MISMATCH, block);
        }
        CHECK_STATUS(hl_release_sized(pool, block, size), HL_OK);
    }
}

struct walk {
    hl_pool *pool;
    const void *wanted;
    size_t wanted_size, met, live;
};

static bool look(const hl_block_info *block, void *context) {
    struct walk *walk = context;
    if (block->state == HL_BLOCK_LIVE) {
        walk->live++;
        CHECK_EQUAL(hl_usable_size(walk->pool, block->address), block->size);
    }
    if (block->address == walk->wanted) {
        CHECK_EQUAL(block->state, HL_BLOCK_LIVE);
        CHECK_EQUAL(block->size, walk->wanted_size);
        walk->met++;
    }
    return true;
}

/* Blocks as the program knows them; those that wait are none. */
static void a_walk_shows_the_blocks_of_the_user(hl_pool *pool) {
    for (size_t size = 0; size < 100000; size = size * 3 + 1) {
        void *released = hl_alloc(pool, size);
        struct walk walk = {.pool = pool, .wanted = hl_alloc(pool, size), .wanted_size = size};
        CHECK_STATUS(hl_release(pool, released), HL_OK);
        CHECK_STATUS(hl_pool_walk(pool, look, &walk), HL_OK);
        CHECK_EQUAL(walk.met, 1);
        CHECK_EQUAL(walk.live, 1);
        CHECK_STATUS(hl_release(pool, (void *)walk.wanted), HL_OK);
    }
}

static void resized_blocks_keep_their_bytes_and_their_armour(hl_pool *pool) {
    uint64_t random = 3;
    unsigned char *block = hl_alloc(pool, 0);
    size_t size = 0;
    for (size_t round = 0; round < rounds(3000); round++) {
        size_t next = random_size(&random, 18);
        write_pattern(block, size, round);
        block = hl_resize(pool, block, next);
        CHECK(block != NULL);
        CHECK(holds_pattern(block, next < size ? next : size, round));
        CHECK_EQUAL(hl_usable_size(pool, block), next);
        size = next;
        if (round % 100 == 0) {
            check_wound(pool, block, block + size, HL_ERR_OVERRUN);
        }
    }
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

static void zeroed_blocks_are_zeroed(hl_pool *pool) {
    for (size_t size = 1; size < MIB; size = size * 2 + 1) {
        for (int round = 0; round < 3; round++) {
            unsigned char *block = hl_alloc_zeroed(pool, 1, size);
            CHECK(block != NULL && holds_only(block, size, 0));
            memset(block, 0xFF, size);
            CHECK_STATUS(hl_release(pool, block), HL_OK);
        }
    }
}

static void batches_are_served(hl_pool *pool) {
    enum { BLOCKS = 300 };
    void *blocks[BLOCKS];
    CHECK_EQUAL(hl_alloc_many(pool, 100, BLOCKS, blocks), BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK_EQUAL(hl_usable_size(pool, blocks[i]), 100);
        write_pattern(blocks[i], 100, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(holds_pattern(blocks[i], 100, i));
    }
    void *wounded = blocks[7];
    ((unsigned char *)wounded)[100] ^= 1;
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS - 1);
    check_reported(HL_ERR_OVERRUN, wounded);
    ((unsigned char *)wounded)[100] ^= 1;
    CHECK_STATUS(hl_release(pool, wounded), HL_OK);
}

/* What waits is given up before a request fails, for want of memory or because of the limit. */
static void all_of_the_memory_can_be_had(hl_pool *pool) {
    enum { WAITS = 3 * 1024 * 1024 };
    for (int round = 0; round < 3; round++) {
        void *block = hl_alloc(pool, sizeof region / 2);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        block = hl_alloc(pool, WAITS);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK(pool_stats(pool).used_bytes > WAITS);
    CHECK_STATUS(hl_pool_set_limit(pool, WAITS), HL_OK);
    CHECK_STATUS(hl_release(pool, hl_alloc(pool, WAITS / 2)), HL_OK);
    CHECK_FAILS(hl_alloc(pool, sizeof region / 2), HL_ERR_LIMIT_REACHED, ENOMEM);
    CHECK_STATUS(hl_pool_set_limit(pool, 0), HL_OK);
}

static void a_reset_or_the_removal_of_a_heap_forgets_what_waits(hl_pool *pool) {
    unsigned char *block = hl_alloc(pool, 1000);
    CHECK(hl_alloc(pool, 50) != NULL);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    memset(block, 1, 1000);
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    for (size_t i = 0; i < 1000; i++) {
        block = hl_alloc(pool, 1000);
        CHECK(block != NULL);
    }
    CHECK_EQUAL(reported.calls, 0);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_ERR_HEAP_IN_USE);
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    CHECK_STATUS(hl_release(pool, hl_alloc(pool, 1000)), HL_OK);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_OK);
    CHECK_FAILS(hl_alloc(pool, 10), HL_ERR_OUT_OF_MEMORY, ENOMEM);
}

static void a_hardened_pool(uint32_t flags) {
    hl_pool *pool = new_pool(flags);
    a_write_beside_a_block_is_found(pool);
    a_write_before_an_aligned_block_is_found(pool);
    a_second_release_is_refused(pool);
    memory_waits_before_it_is_used_again(pool);
    a_write_after_the_release_is_found(pool);
    purged_memory_is_zero_whoever_wrote_to_it_since(pool);
    no_size_but_the_right_one_is_accepted(pool);
    a_walk_shows_the_blocks_of_the_user(pool);
    resized_blocks_keep_their_bytes_and_their_armour(pool);
    zeroed_blocks_are_zeroed(pool);
    batches_are_served(pool);
    all_of_the_memory_can_be_had(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    a_reset_or_the_removal_of_a_heap_forgets_what_waits(pool);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

int main(void) {
    hl_set_misuse_handler(report, &reported);
    a_hardened_pool(0);
    a_hardened_pool(HL_POOL_SINGLE_THREADED);
    return 0;
}
