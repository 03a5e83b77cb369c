/*
 * A request that no heap can serve fails cleanly: NULL, status and errno, nothing lost. Before that,
 * the pool asks the program for memory, and takes what it gets.
 */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB, SIZE = 1 * MIB, MOST = 80000 };

static unsigned char region[3 * MIB];
static _Alignas(64) unsigned char more[4][SIZE];
static void *blocks[MOST];

/* Its heap has room for one block of half a MiB, and not for two. */
static hl_pool *new_pool(void) {
    unsigned char *block = align_up(region + 64 * KIB, MIB);
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, block - 64 * KIB, 900 * KIB), HL_OK);
    return pool;
}

static size_t fill(hl_pool *pool, size_t size) {
    size_t count = 0;
    while ((blocks[count] = hl_alloc(pool, size)) != NULL) {
        count++;
        CHECK(count < MOST);
    }
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    return count;
}

static void what_is_released_can_be_had_again(void) {
    hl_pool *pool = new_pool();
    size_t largest = pool_stats(pool).largest_free_block;
    for (size_t size = 16; size < 100000; size = size * 5 / 2) {
        size_t count = fill(pool, size);
        CHECK(count > 0);
        for (size_t round = 0; round < 100; round++) {
            uint64_t failures = pool_stats(pool).failures;
            CHECK_FAILS(hl_alloc(pool, size), HL_ERR_OUT_OF_MEMORY, ENOMEM);
            CHECK_EQUAL(pool_stats(pool).failures, failures + 1);
            size_t i = round * 61 % count;
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
            blocks[i] = hl_alloc(pool, size);
            CHECK(blocks[i] != NULL);
        }
        CHECK_STATUS(hl_pool_check(pool), HL_OK);
        CHECK_EQUAL(hl_release_many(pool, blocks, count), count);
        CHECK_EQUAL(pool_stats(pool).live_blocks, 0);

        /* Whatever the pool keeps ready for small requests, a large one gets the whole heap. */
        void *block = hl_alloc(pool, largest);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        CHECK_EQUAL(fill(pool, size), count);
        CHECK_EQUAL(hl_release_many(pool, blocks, count), count);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* Small blocks hold memory that a large request needs, until the last one of them is gone. */
static void the_largest_request_fails_until_all_is_released(void) {
    hl_pool *pool = new_pool();
    size_t largest = pool_stats(pool).largest_free_block;
    CHECK(largest > pool_stats(pool).capacity_bytes / 2);
    for (size_t size = 1; size <= 4096; size *= 2) {
        size_t count = fill(pool, size);
        for (size_t i = 0; i < count; i++) {
            if (i % (count / 8 + 1) == 0) {
                CHECK_FAILS(hl_alloc(pool, largest), HL_ERR_OUT_OF_MEMORY, ENOMEM);
            }
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
        }
        void *block = hl_alloc(pool, largest);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* What the grow callback of each test has been told, and what it is to do. */
struct growth {
    hl_pool *pool;
    size_t calls;
    size_t least_needed;
    size_t heaps;
    size_t useless_heaps;
};

static bool grow(hl_pool *pool, size_t needed, void *context) {
    struct growth *growth = context;
    CHECK(pool == growth->pool);
    CHECK(needed >= growth->least_needed);
    growth->calls++;
    if (growth->useless_heaps > 0) {
        growth->useless_heaps--;
        unsigned char *memory = more[3] + growth->useless_heaps * 4 * KIB;
        CHECK_STATUS(hl_add_heap(pool, memory, 4 * KIB), HL_OK);
        return true;
    }
    if (growth->heaps == 0) {
        return false;
    }
    growth->heaps--;
    CHECK_STATUS(hl_add_heap(pool, more[growth->heaps], SIZE), HL_OK);
    return true;
}

static void the_pool_grows_when_the_program_lets_it(void) {
    hl_pool *pool = hl_pool_new();
    struct growth growth = {.pool = pool, .least_needed = 10000, .heaps = 2};
    CHECK_STATUS(hl_pool_set_grow_callback(pool, grow, &growth), HL_OK);

    /* From nothing, and again when the first heap is full. */
    size_t count = 0;
    while ((blocks[count] = hl_alloc(pool, 10000)) != NULL) {
        write_pattern(blocks[count], 10000, count);
        count++;
    }
    CHECK_EQUAL(growth.calls, 3);
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK_EQUAL(pool_stats(pool).heaps, 2);
    CHECK(count > SIZE / 10000);
    for (size_t i = 0; i < count; i++) {
        CHECK(holds_pattern(blocks[i], 10000, i));
    }

    /* It keeps asking while it is told that there is more. */
    growth = (struct growth){.pool = pool, .least_needed = 200 * KIB, .useless_heaps = 3};
    growth.heaps = 3; /* more[2] */
    CHECK(hl_alloc(pool, 200 * KIB) != NULL);
    CHECK_EQUAL(growth.calls, 4);
    CHECK_EQUAL(pool_stats(pool).heaps, 6);

    /* A resize and a zeroed or aligned block are requests like any other. */
    growth = (struct growth){.pool = pool, .least_needed = 900 * KIB};
    void *last = blocks[count - 1];
    CHECK_FAILS(hl_resize(pool, last, 900 * KIB), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_FAILS(hl_alloc_zeroed(pool, 900, KIB), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_FAILS(hl_alloc_aligned(pool, 4096, 900 * KIB), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_EQUAL(growth.calls, 3);
    CHECK(holds_pattern(last, 10000, count - 1));

    /* A size that no heap could ever hold is no reason to ask. */
    CHECK_FAILS(hl_alloc(pool, SIZE_MAX), HL_ERR_SIZE_OVERFLOW, ENOMEM);
    CHECK_EQUAL(growth.calls, 3);
    CHECK_STATUS(hl_pool_set_grow_callback(pool, NULL, NULL), HL_OK);
    CHECK_FAILS(hl_alloc(pool, 900 * KIB), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_EQUAL(growth.calls, 3);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* What the low-memory callback of each test has seen, and the block it may give up. */
struct warning {
    size_t calls;
    size_t free_bytes;
    void *reserve;
};

static void warn(hl_pool *pool, size_t free_bytes, void *context) {
    struct warning *warning = context;
    warning->calls++;
    warning->free_bytes = free_bytes;
    /* No lock is held: each of these would wait for ever. */
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    if (warning->reserve != NULL) {
        CHECK_STATUS(hl_release(pool, warning->reserve), HL_OK);
        warning->reserve = NULL;
        void *block = hl_alloc(pool, 16);
        CHECK(block != NULL);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
}

static void the_program_is_warned_once_each_time_memory_runs_low(void) {
    enum { STEP = 32 * KIB, THRESHOLD = 256 * KIB };
    hl_pool *pool = new_pool();
    struct warning warning = {.calls = 0};
    CHECK_STATUS(hl_pool_set_low_memory_callback(pool, THRESHOLD, warn, &warning), HL_OK);
    for (size_t times = 1; times <= 5; times++) {
        size_t count = 0;
        while (pool_stats(pool).free_bytes >= THRESHOLD + STEP) {
            CHECK((blocks[count++] = hl_alloc(pool, STEP)) != NULL);
        }
        CHECK_EQUAL(warning.calls, times - 1);
        for (size_t i = 0; i < 4; i++) {
            CHECK((blocks[count++] = hl_alloc(pool, STEP)) != NULL);
        }
        CHECK_EQUAL(warning.calls, times);
        CHECK(warning.free_bytes < THRESHOLD && warning.free_bytes + STEP >= THRESHOLD);
        CHECK_EQUAL(hl_release_many(pool, blocks, count), count);
    }
    CHECK_STATUS(hl_pool_set_low_memory_callback(pool, 0, NULL, NULL), HL_OK);
    fill(pool, STEP);
    CHECK_EQUAL(warning.calls, 5);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* A program that gives up a reserve when it is asked to gets what it asked for. */
static void a_reserve_given_up_serves_the_request(void) {
    hl_pool *pool = new_pool();
    struct warning warning = {.reserve = hl_alloc(pool, 100 * KIB)};
    CHECK(warning.reserve != NULL);
    fill(pool, 50 * KIB);
    CHECK_STATUS(hl_pool_set_low_memory_callback(pool, 0, warn, &warning), HL_OK);
    CHECK(hl_alloc(pool, 50 * KIB) != NULL);
    CHECK_EQUAL(warning.calls, 1);
    CHECK(warning.reserve == NULL);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

int main(void) {
    what_is_released_can_be_had_again();
    the_largest_request_fails_until_all_is_released();
    the_pool_grows_when_the_program_lets_it();
    the_program_is_warned_once_each_time_memory_runs_low();
    a_reserve_given_up_serves_the_request();
    return 0;
}
