/* Every block is 16-byte aligned, and aligned to any power of two that the heap can hold. */
#include "check.h"

enum { SIZE = 4 * 1024 * 1024, UNASKED = 16 };

static _Alignas(64) unsigned char region[SIZE + 64];

static bool is_aligned(const void *block, size_t alignment) {
    return (uintptr_t)block % alignment == 0;
}

static void without_being_asked(hl_pool *pool) {
    for (size_t size = 0; size < 20000; size += size < 600 ? 1 : 97) {
        void *block = hl_alloc(pool, size);
        void *zeroed = hl_alloc_zeroed(pool, size, 1);
        CHECK(is_aligned(block, UNASKED) && is_aligned(zeroed, UNASKED));
        void *grown = hl_resize(pool, block, size * 2 + 1);
        CHECK(grown != NULL && is_aligned(grown, UNASKED));
        CHECK_STATUS(hl_release(pool, grown), HL_OK);
        CHECK_STATUS(hl_release(pool, zeroed), HL_OK);
    }
}

/* Every alignment with every magnitude of size, all alive at once as far as the heap goes. */
static void as_asked(hl_pool *pool, const void *base) {
    enum { MOST = 4096 };
    static struct {
        unsigned char *block;
        size_t size;
    } held[MOST];
    size_t count = 0;
    for (size_t alignment = 1; alignment <= SIZE / 4; alignment *= 2) {
        size_t served = 0;
        for (size_t size = 0; size <= 100000; size = size * 2 + 1) {
            unsigned char *block = hl_alloc_aligned(pool, alignment, size);
            if (block == NULL) {
                CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
                continue;
            }
            CHECK(is_aligned(block, alignment) && is_aligned(block, UNASKED));
            CHECK(lies_in(block, size, base, SIZE));
            CHECK(hl_usable_size(pool, block) >= size);
            write_pattern(block, size, count);
            held[count].block = block;
            held[count++].size = size;
            served++;
            CHECK(count < MOST);
        }
        CHECK(served > 0);
        if (alignment >= 4096) {
            /* Blocks of so large an alignment lie far apart: make room for the next ones. */
            for (size_t i = count - served; i < count; i++) {
                CHECK(holds_pattern(held[i].block, held[i].size, i));
                CHECK_STATUS(hl_release(pool, held[i].block), HL_OK);
            }
            count -= served;
        }
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    for (size_t i = 0; i < count; i++) {
        CHECK(holds_pattern(held[i].block, held[i].size, i));
        CHECK_STATUS(hl_release(pool, held[i].block), HL_OK);
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
}

/* A large alignment is no waste of the memory in front of the block. */
static void an_aligned_block_takes_no_more_than_its_size(hl_pool *pool) {
    size_t used = pool_stats(pool).used_bytes;
    void *block = hl_alloc_aligned(pool, 256 * 1024, 64 * 1024);
    CHECK(block != NULL);
    CHECK(pool_stats(pool).used_bytes - used <= 2 * 64 * 1024);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

int main(void) {
    /* The heap's own base is aligned to no more than 2^shift. */
    for (size_t shift = 0; shift <= 6; shift++) {
        unsigned char *base = region + ((size_t)1 << shift) % 64;
        hl_pool *pool = hl_pool_new();
        CHECK_STATUS(hl_add_heap(pool, base, SIZE), HL_OK);
        without_being_asked(pool);
        as_asked(pool, base);
        an_aligned_block_takes_no_more_than_its_size(pool);
        CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    }
    return 0;
}
