/* Pools are made empty, made in memory of the caller's, and deleted without a trace. */
#include "check.h"

enum { SIZE = 64 * 1024 };

static _Alignas(64) unsigned char region[SIZE];

static void a_new_pool_is_empty(void) {
    hl_pool *pool = hl_pool_new();
    CHECK(pool != NULL);
    hl_pool_statistics statistics = pool_stats(pool);
    CHECK_EQUAL(statistics.heaps, 0);
    CHECK_EQUAL(statistics.capacity_bytes, 0);
    CHECK_EQUAL(statistics.live_blocks, 0);
    CHECK_EQUAL(statistics.limit, 0);
    CHECK_FAILS(hl_alloc(pool, 1), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK(!hl_owns(pool, region));
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void pools_are_apart(void) {
    hl_pool *full = hl_pool_new();
    hl_pool *empty = hl_pool_new();
    CHECK(full != empty);
    CHECK_STATUS(hl_add_heap(full, region, SIZE), HL_OK);
    CHECK(hl_alloc(full, 100) != NULL);
    CHECK_FAILS(hl_alloc(empty, 100), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_STATUS(hl_pool_delete(empty), HL_OK);
    CHECK(hl_alloc(full, 100) != NULL);
    CHECK_STATUS(hl_pool_delete(full), HL_OK);
}

static void a_configuration_is_checked_and_obeyed(void) {
    hl_config config = {.struct_size = sizeof config, .limit = 16 * 1024};
    hl_pool *pool = hl_pool_new_with(&config);
    CHECK(pool != NULL);
    CHECK_EQUAL(pool_stats(pool).limit, 16 * 1024);
    CHECK_STATUS(hl_add_heap(pool, region, SIZE), HL_OK);
    CHECK_FAILS(hl_alloc(pool, 20 * 1024), HL_ERR_LIMIT_REACHED, ENOMEM);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);

    pool = hl_pool_new_with(NULL);
    CHECK(pool != NULL && pool_stats(pool).limit == 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);

    config.struct_size = 0;
    CHECK_FAILS(hl_pool_new_with(&config), HL_ERR_INVALID_ARGUMENT, EINVAL);
    config.struct_size = sizeof config;
    config.flags = 1u << 31;
    CHECK_FAILS(hl_pool_new_with(&config), HL_ERR_INVALID_ARGUMENT, EINVAL);
}

/* The handle and the heap share the memory, at any odd place in it. */
static void a_pool_lives_in_callers_memory(void) {
    for (size_t shift = 0; shift < 32; shift++) {
        unsigned char *memory = region + shift;
        size_t size = SIZE - 2 * shift;
        hl_pool *pool = hl_pool_new_in(memory, size);
        CHECK(pool != NULL);
        CHECK(lies_in(pool, 1, memory, size));
        CHECK_EQUAL(pool_stats(pool).heaps, 1);
        unsigned char *block = hl_alloc(pool, SIZE / 4);
        CHECK(block != NULL && lies_in(block, SIZE / 4, memory, size));
        CHECK((unsigned char *)pool < block || (unsigned char *)pool >= block + SIZE / 4);
        memset(block, 0xFF, SIZE / 4);
        CHECK_STATUS(hl_pool_check(pool), HL_OK);
        CHECK_STATUS(hl_release(pool, block), HL_OK);
        CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    }
    CHECK(hl_pool_new_in(NULL, SIZE) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_NULL);
    CHECK(hl_pool_new_in(region, 100) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_TOO_SMALL);
    CHECK(hl_pool_new_in(region, SIZE_MAX) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_WRAPS);
}

static bool note_first(const hl_block_info *block, void *context) {
    *(unsigned char **)context = block->address;
    return false;
}

/* All of the memory is the pool's, the handle's bytes and those before it among it; what is refused names all of it. */
static void memory_with_a_handle_is_nobody_elses(void) {
    char expected[128];
    hl_pool *pool = hl_pool_new_in(region + 1, SIZE / 2);
    hl_pool *other = hl_pool_new();
    CHECK(pool != NULL);
    unsigned char *first = NULL;
    CHECK_STATUS(hl_pool_walk(pool, note_first, &first), HL_OK);
    /* Over the handle, and over the metadata. */
    for (unsigned char *memory = region + 1; memory < first; memory += 37) {
        CHECK_STATUS(hl_add_heap(other, memory, 8192), HL_ERR_HEAP_OVERLAPS);
        CHECK_STATUS(hl_add_heap(pool, memory, 8192), HL_ERR_HEAP_OVERLAPS);
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_FAILS(hl_pool_new_in(region, SIZE), HL_ERR_HEAP_OVERLAPS, EINVAL);
    snprintf(expected, sizeof expected,
             "heap overlaps: %d bytes at %p share memory with the heap of %d bytes at %p", (int)SIZE,
             (void *)region, SIZE / 2, (void *)(region + 1));
    CHECK(strcmp(hl_last_error_message(), expected) == 0);

    /* What is no heap's was never handed out. */
    CHECK_STATUS(hl_release(other, pool), HL_ERR_NOT_IN_POOL);
    CHECK_STATUS(hl_release(other, first), HL_ERR_OTHER_POOL);

    /* A handle would be written to another pool's block otherwise. */
    CHECK_FAILS(hl_pool_new_in(region + 1 + SIZE / 2 - 64, 8192), HL_ERR_HEAP_OVERLAPS, EINVAL);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    hl_pool *inner = hl_pool_new_in(hl_alloc(pool, 8192), 8192);
    CHECK(inner != NULL && hl_alloc(inner, 100) != NULL);
    CHECK_STATUS(hl_pool_delete(inner), HL_OK);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(other), HL_OK);
}

/* Live blocks die with their pool, and their memory is the caller's again. */
static void a_deleted_pool_leaves_its_memory(void) {
    for (size_t round = 0; round < rounds(1000); round++) {
        hl_pool *pool = round % 2 == 0 ? hl_pool_new() : hl_pool_new_in(region, SIZE / 2);
        CHECK(pool != NULL);
        unsigned char *memory = round % 2 == 0 ? region : region + SIZE / 2;
        CHECK_STATUS(hl_add_heap(pool, memory, SIZE / 2), HL_OK);
        for (size_t size = 1; size < 4096; size *= 3) {
            CHECK(hl_alloc(pool, size) != NULL);
        }
        CHECK_STATUS(hl_pool_delete(pool), HL_OK);
        memset(region, 0xA5, SIZE);
    }
    CHECK_STATUS(hl_pool_delete(NULL), HL_OK);
}

int main(void) {
    a_new_pool_is_empty();
    pools_are_apart();
    a_configuration_is_checked_and_obeyed();
    a_pool_lives_in_callers_memory();
    memory_with_a_handle_is_nobody_elses();
    a_deleted_pool_leaves_its_memory();
    return 0;
}
