/* A pool with a limit never uses more than that, whatever its heaps could hold. */
#include "check.h"

enum { KIB = 1024, SIZE = 1024 * KIB, LIMIT = 300 * KIB, MOST = SIZE / 16 };

static _Alignas(64) unsigned char region[SIZE];
static void *blocks[MOST];

static void use_ends_at_the_limit(hl_pool *pool) {
    for (size_t size = 16; size < LIMIT; size = size * 3) {
        size_t count = 0;
        while ((blocks[count] = hl_alloc(pool, size)) != NULL) {
            CHECK(pool_stats(pool).used_bytes <= LIMIT);
            count++;
        }
        CHECK_EQUAL(errno, ENOMEM);
        CHECK_STATUS(hl_last_error(), HL_ERR_LIMIT_REACHED);
        CHECK_FAILS(hl_alloc_zeroed(pool, 1, size), HL_ERR_LIMIT_REACHED, ENOMEM);
        CHECK_FAILS(hl_alloc_aligned(pool, 64, size), HL_ERR_LIMIT_REACHED, ENOMEM);
        CHECK_FAILS(hl_alloc_many(pool, size, 1, blocks + count), HL_ERR_LIMIT_REACHED, ENOMEM);
        CHECK_FAILS(hl_resize(pool, blocks[0], LIMIT), HL_ERR_LIMIT_REACHED, ENOMEM);
        /* All of it can be had: by another small block unless its span is too much, by a run exactly. */
        hl_pool_statistics statistics = pool_stats(pool);
        CHECK(size > LIMIT / 8 || statistics.live_bytes > LIMIT * 3 / 4);
        if (heap_stats(pool, region).spans == 0) {
            CHECK(statistics.used_bytes + hl_usable_size(pool, blocks[0]) > LIMIT);
        }
        CHECK_EQUAL(hl_release_many(pool, blocks, count), count);
    }
    CHECK(pool_stats(pool).peak_used_bytes <= LIMIT);
}

static void a_lower_limit_takes_nothing_away(hl_pool *pool) {
    void *block = hl_alloc(pool, LIMIT / 2);
    CHECK(block != NULL);
    write_pattern(block, LIMIT / 2, 1);
    CHECK_STATUS(hl_pool_set_limit(pool, LIMIT / 4), HL_OK);
    CHECK_EQUAL(pool_stats(pool).limit, LIMIT / 4);
    CHECK_FAILS(hl_alloc(pool, 1000), HL_ERR_LIMIT_REACHED, ENOMEM);
    CHECK(holds_pattern(block, LIMIT / 2, 1));
    block = hl_resize(pool, block, LIMIT / 8);
    CHECK(block != NULL && holds_pattern(block, LIMIT / 8, 1));
    void *second = hl_alloc(pool, 1000);
    CHECK(second != NULL);
    CHECK_STATUS(hl_release(pool, second), HL_OK);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

static void no_limit_is_the_heaps_own(hl_pool *pool) {
    CHECK_STATUS(hl_pool_set_limit(pool, 0), HL_OK);
    void *block = hl_alloc(pool, 2 * LIMIT);
    CHECK(block != NULL);
    CHECK(pool_stats(pool).used_bytes > LIMIT);
    CHECK_FAILS(hl_alloc(pool, SIZE), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

static bool must_not_grow(hl_pool *pool, size_t needed, void *context) {
    (void)pool, (void)needed, (void)context;
    CHECK(!"the limit forbids it, and no heap would help");
    return false;
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, SIZE), HL_OK);
    CHECK_STATUS(hl_pool_set_limit(pool, LIMIT), HL_OK);
    CHECK_EQUAL(pool_stats(pool).limit, LIMIT);
    CHECK_STATUS(hl_pool_set_grow_callback(pool, must_not_grow, NULL), HL_OK);
    use_ends_at_the_limit(pool);
    a_lower_limit_takes_nothing_away(pool);
    CHECK_STATUS(hl_pool_set_grow_callback(pool, NULL, NULL), HL_OK);
    no_limit_is_the_heaps_own(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
