/*
 * The pool keeps nothing that it trusts among the blocks: a program that writes over every byte of
 * them, live or free, and over all that lies between, harms only itself.
 */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB, BLOCKS = 300 };

static _Alignas(64) unsigned char region[4 * MIB];

static bool stop_at_the_first(const hl_block_info *block, void *context) {
    *(void **)context = block->address;
    return false;
}

/* From the first block on; the heap's metadata lies before it. */
static void overwrite(hl_pool *pool, size_t heap_size, size_t round) {
    unsigned char *first = NULL;
    CHECK_STATUS(hl_pool_walk(pool, stop_at_the_first, &first), HL_OK);
    CHECK(first != NULL);
    size_t size = (size_t)(region + heap_size - first);
    CHECK(size > heap_size * 8 / 10);
    switch (round % 4) {
    case 0:
        memset(first, 0x00, size);
        break;
    case 1:
        memset(first, 0xFF, size);
        break;
    case 2: /* what a link in a list of free blocks would look like */
        for (size_t i = 0; i + sizeof(void *) <= size; i += sizeof(void *)) {
            memcpy(first + i, &first, sizeof first);
        }
        break;
    case 3:
        write_pattern(first, size, round);
        break;
    }
}

static void the_books_survive(size_t heap_size) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, heap_size), HL_OK);
    void *blocks[BLOCKS] = {NULL};
    uint64_t random = heap_size;
    unsigned bits = heap_size < 64 * KIB ? 9 : 14;
    for (size_t round = 0; round < 8; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            if (random_below(&random, 2) == 0) {
                CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
                blocks[i] = hl_alloc(pool, random_size(&random, bits));
            }
        }
        hl_pool_statistics before = pool_stats(pool);
        CHECK(before.live_blocks > 0);
        overwrite(pool, heap_size, round);
        CHECK_STATUS(hl_pool_check(pool), HL_OK);
        CHECK_UNCHANGED(pool, before);
    }
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

int main(void) {
    the_books_survive(4 * KIB);
    the_books_survive(40 * KIB);
    the_books_survive(500 * KIB);
    the_books_survive(4 * MIB);
    return 0;
}
