/*
 * A program may add memory of its own to the pool behind malloc. Where the other heaps serve no more, all
 * that it allocates comes from there.
 */
#include "malloc_check.h"

/* Large blocks are never alone on a page, outside all heaps, as small ones may be in the hardened mode. */
enum { LARGE = 64 << 10, BYTES = 16 << 20, BLOCKS = 20000, ROUNDS = 3 };

static char region[BYTES];
static void *blocks[BLOCKS];

static size_t size_of(size_t index) {
    return 16 + index * 7 % 500;
}

int main(void) {
    check_that_malloc_is_ours();
    void *(*default_pool)(void);
    int (*add_heap)(void *, void *, size_t), (*drain_heap)(void *, void *), (*check_pool)(void *);
    look_up_global("hl_default_pool", &default_pool);
    look_up_global("hl_add_heap", &add_heap);
    look_up_global("hl_drain_heap", &drain_heap);
    look_up_global("hl_pool_check", &check_pool);
    void *pool = default_pool();
    void *before = malloc(LARGE);
    CHECK_EQUAL(add_heap(pool, region, BYTES), 0);
    CHECK_EQUAL(drain_heap(pool, before), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = malloc(size_of(i));
            CHECK(blocks[i] != NULL);
            write_pattern(blocks[i], size_of(i), i);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(holds_pattern(blocks[i], size_of(i), i));
            free(blocks[i]);
        }
        CHECK_EQUAL(check_pool(pool), 0);
    }
    size_t offset = (size_t)((char *)malloc(LARGE) - region);
    CHECK(offset < BYTES);
    free(before);
    return 0;
}
