/* A small heap is well used, and a heap is either refused as too small or of use. */
#include "check.h"

enum { KIB = 1024, MARGIN = 64, MOST = 64 * KIB / 16 };

static _Alignas(4096) unsigned char memory[MARGIN + 64 * KIB + MARGIN];

/* How many blocks of one size a heap of this size serves, each of them its own. */
static size_t served(size_t shift, size_t heap_size, size_t size) {
    static void *blocks[MOST];
    unsigned char *region = memory + MARGIN + shift;
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, heap_size), HL_OK);
    size_t count = 0;
    while ((blocks[count] = hl_alloc(pool, size)) != NULL) {
        CHECK(lies_in(blocks[count], size, region, heap_size));
        write_pattern(blocks[count], size, count);
        count++;
        CHECK(count < MOST);
    }
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    for (size_t i = 0; i < count; i++) {
        CHECK(holds_pattern(blocks[i], size, i));
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return count;
}

static void a_small_heap_serves_many_blocks(void) {
    CHECK(served(0, 4 * KIB, 256) >= 13);
    CHECK(served(0, 4 * KIB, 64) >= 54);
    CHECK(served(0, 64 * KIB, 1 * KIB) >= 58);
    for (size_t shift = 1; shift < MARGIN; shift += 6) {
        CHECK(served(shift, 4 * KIB - shift, 64) >= 50);
        CHECK(served(shift, 64 * KIB - shift, 1 * KIB) >= 56);
    }
}

/* Both kinds of pool, at every size and at several bases, with canaries on both sides. */
static void a_heap_is_too_small_or_usable(void) {
    for (size_t size = 0; size <= 2000; size++) {
        for (size_t shift = 0; shift < 16; shift += 5) {
            unsigned char *region = memory + MARGIN + shift;
            for (int inside = 0; inside < 2; inside++) {
                memset(memory, 0xA5, 4 * KIB);
                hl_pool *pool = inside ? hl_pool_new_in(region, size) : hl_pool_new();
                bool usable = inside ? pool != NULL : hl_add_heap(pool, region, size) == HL_OK;
                if (usable) {
                    unsigned char *block = hl_alloc(pool, 1);
                    CHECK(block != NULL && lies_in(block, 1, region, size));
                    memset(block, 0xFF, hl_usable_size(pool, block));
                    CHECK_STATUS(hl_pool_check(pool), HL_OK);
                    CHECK_STATUS(hl_release(pool, block), HL_OK);
                } else {
                    CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_TOO_SMALL);
                    CHECK(size < 1024);
                    CHECK(holds_only(region, size, 0xA5));
                }
                if (pool != NULL) {
                    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
                }
                CHECK(holds_only(memory, MARGIN + shift, 0xA5));
                CHECK(holds_only(region + size, MARGIN, 0xA5));
            }
        }
    }
}

int main(void) {
    a_small_heap_serves_many_blocks();
    a_heap_is_too_small_or_usable();
    return 0;
}
