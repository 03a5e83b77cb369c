/* A pool can take its memory from the system, up to a size; the default pool does so by itself. */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static void the_size_is_the_most_it_takes(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_system_heap(pool, 4 * MIB), HL_OK);
    CHECK_EQUAL(pool_stats(pool).heaps, 1);
    size_t count = 0;
    void *block;
    while ((block = hl_alloc(pool, 16 * KIB)) != NULL) {
        write_pattern(block, 16 * KIB, count++);
    }
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK(count * 16 * KIB > 3 * MIB && count * 16 * KIB <= 4 * MIB);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void fresh_memory_is_usable_at_every_size(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_system_heap(pool, 0), HL_OK);
    void *blocks[32];
    size_t sizes[32];
    size_t count = 0;
    const size_t largest = fewer_rounds() ? 1 * MIB : 16 * MIB;
    for (size_t size = 1; size <= largest; size = size * 2 + 1) {
        blocks[count] = hl_alloc_zeroed(pool, 1, size);
        CHECK(blocks[count] != NULL && holds_only(blocks[count], size, 0));
        write_pattern(blocks[count], size, count);
        sizes[count++] = size;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(holds_pattern(blocks[i], sizes[i], i));
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    /* Used memory is no longer zero by itself. */
    for (size_t i = 0; i < count; i++) {
        void *block = hl_alloc_zeroed(pool, sizes[i], 1);
        CHECK(block != NULL && holds_only(block, sizes[i], 0));
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void it_is_a_heap_like_any_other(void) {
    static _Alignas(64) unsigned char region[64 * KIB];
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    CHECK_STATUS(hl_add_system_heap(pool, 8 * MIB), HL_OK);
    CHECK_EQUAL(pool_stats(pool).heaps, 2);
    void *block = hl_alloc(pool, 1 * MIB);
    CHECK(block != NULL && !lies_in(block, 1, region, sizeof region));
    CHECK(heap_stats(pool, block).memory != region);
    CHECK_STATUS(hl_remove_heap(pool, block), HL_ERR_HEAP_IN_USE);
    CHECK_STATUS(hl_release(pool, (char *)block + 1), HL_ERR_INTERIOR_POINTER);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_release(pool, block), HL_ERR_ALREADY_RELEASED);
    CHECK_STATUS(hl_remove_heap(pool, block), HL_OK);
    CHECK(!hl_owns(pool, block));
    CHECK_FAILS(hl_alloc(pool, 1 * MIB), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK(hl_alloc(pool, 1 * KIB) != NULL);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* The address space comes back, or this would soon run out of it. */
static void a_deleted_pool_gives_it_back(void) {
    const size_t heaps = fewer_rounds() ? 3 : 300;
    for (size_t round = 0; round < heaps; round++) {
        hl_pool *pool = hl_pool_new();
        CHECK_STATUS(hl_add_system_heap(pool, 0), HL_OK);
        void *block = hl_alloc(pool, 100 * KIB);
        CHECK(block != NULL);
        write_pattern(block, 100 * KIB, round);
        CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    }
}

static void the_default_pool_needs_no_heap(void) {
    hl_pool *pool = hl_default_pool();
    CHECK(pool != NULL && pool == hl_default_pool());
    void *block = hl_alloc(pool, 1000);
    CHECK(block != NULL && hl_owns(pool, block));
    write_pattern(block, 1000, 1);
    hl_pool_statistics before = pool_stats(pool);
    CHECK(hl_pool_delete(pool) != HL_OK);
    CHECK(hl_pool_reset(pool) != HL_OK);
    CHECK_UNCHANGED(pool, before);
    CHECK(holds_pattern(block, 1000, 1));
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

int main(void) {
    the_size_is_the_most_it_takes();
    fresh_memory_is_usable_at_every_size();
    it_is_a_heap_like_any_other();
    a_deleted_pool_gives_it_back();
    the_default_pool_needs_no_heap();
    return 0;
}
