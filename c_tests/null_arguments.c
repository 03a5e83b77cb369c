/* A NULL where there must be something is an invalid argument, never a crash. */
#include "check.h"

static _Alignas(64) unsigned char region[16 * 1024];

static bool visit(const hl_block_info *block, void *context) {
    (void)block, (void)context;
    return true;
}

/* The call returns the status. */
#define CHECK_INVALID(call) \
    do { \
        CHECK_STATUS((call), HL_ERR_INVALID_ARGUMENT); \
        CHECK_STATUS(hl_last_error(), HL_ERR_INVALID_ARGUMENT); \
    } while (0)

/* The call was to return blocks. */
#define CHECK_NO_BLOCK(call) CHECK_FAILS(call, HL_ERR_INVALID_ARGUMENT, EINVAL)

/* The call returns neither a status nor a pointer; another call has failed for another reason before. */
#define CHECK_NOTHING(call) \
    do { \
        CHECK(hl_pool_new_in(region, 0) == NULL); \
        CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_TOO_SMALL); \
        CHECK(!(call)); \
        CHECK_STATUS(hl_last_error(), HL_ERR_INVALID_ARGUMENT); \
    } while (0)

static void without_a_pool(void) {
    hl_pool_statistics statistics = {.struct_size = sizeof statistics};
    hl_heap_statistics heap = {.struct_size = sizeof heap};
    void *blocks[2] = {NULL, NULL};
    char text[8];
    CHECK_INVALID(hl_pool_reset(NULL));
    CHECK_INVALID(hl_add_heap(NULL, region, sizeof region));
    CHECK_INVALID(hl_add_system_heap(NULL, 0));
    CHECK_INVALID(hl_drain_heap(NULL, region));
    CHECK_INVALID(hl_remove_heap(NULL, region));
    CHECK_NO_BLOCK(hl_alloc(NULL, 1));
    CHECK_NO_BLOCK(hl_alloc_zeroed(NULL, 1, 1));
    CHECK_NO_BLOCK(hl_alloc_aligned(NULL, 16, 1));
    CHECK_NO_BLOCK(hl_resize(NULL, region, 1));
    CHECK_INVALID(hl_release(NULL, region));
    CHECK_INVALID(hl_release_sized(NULL, region, 1));
    CHECK_NOTHING(hl_usable_size(NULL, region));
    CHECK_NOTHING(hl_usable_size(NULL, NULL));
    CHECK_NOTHING(hl_owns(NULL, region));
    CHECK_NO_BLOCK(hl_alloc_many(NULL, 1, 2, blocks));
    CHECK_EQUAL(hl_release_many(NULL, blocks, 2), 0);
    CHECK_STATUS(hl_last_error(), HL_ERR_INVALID_ARGUMENT);
    CHECK_INVALID(hl_pool_set_limit(NULL, 1));
    CHECK_INVALID(hl_pool_set_low_memory_callback(NULL, 1, NULL, NULL));
    CHECK_INVALID(hl_pool_set_grow_callback(NULL, NULL, NULL));
    CHECK_INVALID(hl_pool_stats(NULL, &statistics));
    CHECK_INVALID(hl_heap_stats(NULL, region, &heap));
    CHECK_INVALID(hl_pool_walk(NULL, visit, NULL));
    CHECK_INVALID(hl_pool_check(NULL));
    CHECK_INVALID(hl_pool_map(NULL, region, text, sizeof text));
}

static void with_a_pool(hl_pool *pool) {
    hl_pool_statistics statistics = {.struct_size = 0};
    hl_heap_statistics heap = {.struct_size = 0};
    char text[8];
    CHECK_NO_BLOCK(hl_alloc_many(pool, 1, 2, NULL));
    CHECK_EQUAL(hl_release_many(pool, NULL, 2), 0);
    CHECK_STATUS(hl_last_error(), HL_ERR_INVALID_ARGUMENT);
    CHECK_INVALID(hl_pool_stats(pool, NULL));
    CHECK_INVALID(hl_pool_stats(pool, &statistics));
    CHECK_INVALID(hl_heap_stats(pool, region, NULL));
    CHECK_INVALID(hl_heap_stats(pool, region, &heap));
    CHECK_INVALID(hl_pool_walk(pool, NULL, NULL));
    CHECK_INVALID(hl_pool_map(pool, region, NULL, sizeof text));
    CHECK_INVALID(hl_pool_map(pool, region, text, 0));
}

/* NULL is legal where C programmers expect it to be. */
static void where_nothing_is_something(hl_pool *pool) {
    errno = 0;
    CHECK_STATUS(hl_release(pool, NULL), HL_OK);
    CHECK_STATUS(hl_release_sized(pool, NULL, 7), HL_OK);
    CHECK_EQUAL(hl_usable_size(pool, NULL), 0);
    CHECK(!hl_owns(pool, NULL));
    CHECK_EQUAL(hl_alloc_many(pool, 1, 0, NULL), 0);
    CHECK_EQUAL(hl_release_many(pool, NULL, 0), 0);
    CHECK_STATUS(hl_pool_set_low_memory_callback(pool, 0, NULL, NULL), HL_OK);
    CHECK_STATUS(hl_pool_set_grow_callback(pool, NULL, NULL), HL_OK);
    hl_set_misuse_handler(NULL, NULL);
    CHECK_EQUAL(errno, 0);
    CHECK_EQUAL(pool_stats(pool).misuses, 0);

    void *block = hl_resize(pool, NULL, 100);
    CHECK(block != NULL && hl_usable_size(pool, block) >= 100);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    hl_pool_statistics before = pool_stats(pool);
    without_a_pool();
    with_a_pool(pool);
    CHECK_UNCHANGED(pool, before);
    where_nothing_is_something(pool);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
