/* A walk meets every block once, in the order of addresses, and its visitor may use the pool. */
#include "check.h"

enum { SIZE = 1024 * 1024, BLOCKS = 600, LARGEST_BLOCK = 8192 };

/* The second heap lies before the first one that is added. */
static _Alignas(64) unsigned char regions[2][SIZE];

static struct {
    unsigned char *block;
    bool met;
} held[BLOCKS];

struct walk {
    hl_pool *pool;
    const unsigned char *end_of_last;
    size_t live_blocks, live_bytes, free_bytes, visits;
};

static bool note(const hl_block_info *block, void *context) {
    struct walk *walk = context;
    const unsigned char *address = block->address;
    CHECK_EQUAL(block->struct_size, sizeof *block);
    CHECK(block->size > 0);
    CHECK(address >= walk->end_of_last);
    CHECK(lies_in(address, block->size, regions, sizeof regions));
    walk->end_of_last = address + block->size;
    walk->visits++;
    if (block->state == HL_BLOCK_FREE) {
        walk->free_bytes += block->size;
        return true;
    }
    CHECK_EQUAL(block->state, HL_BLOCK_LIVE);
    CHECK_EQUAL(hl_usable_size(walk->pool, address), block->size);
    walk->live_blocks++;
    walk->live_bytes += block->size;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (held[i].block == address) {
            CHECK(!held[i].met);
            held[i].met = true;
        }
    }
    return true;
}

static struct walk walk(hl_pool *pool) {
    struct walk walk = {.pool = pool};
    for (size_t i = 0; i < BLOCKS; i++) {
        held[i].met = false;
    }
    CHECK_STATUS(hl_pool_walk(pool, note, &walk), HL_OK);
    return walk;
}

static void hold_blocks_of_all_kinds(hl_pool *pool) {
    uint64_t random = 11;
    for (size_t i = 0; i < BLOCKS; i++) {
        held[i].block = hl_alloc(pool, random_below(&random, i % 4 == 0 ? LARGEST_BLOCK : 300));
        CHECK(held[i].block != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i += 3) {
        CHECK_STATUS(hl_release(pool, held[i].block), HL_OK);
        held[i].block = NULL;
    }
}

static void a_walk_is_what_the_program_holds(hl_pool *pool) {
    struct walk empty = walk(pool);
    CHECK_EQUAL(empty.live_blocks, 0);
    CHECK_EQUAL(empty.free_bytes, pool_stats(pool).capacity_bytes);

    hold_blocks_of_all_kinds(pool);
    struct walk full = walk(pool);
    hl_pool_statistics statistics = pool_stats(pool);
    CHECK_EQUAL(full.live_blocks, statistics.live_blocks);
    CHECK_EQUAL(full.live_bytes, statistics.live_bytes);
    CHECK(full.free_bytes >= statistics.free_bytes);
    CHECK(full.free_bytes + full.live_bytes <= statistics.capacity_bytes);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(held[i].met == (held[i].block != NULL));
    }
}

static bool stop_at_the_third(const hl_block_info *block, void *context) {
    (void)block;
    struct walk *walk = context;
    return ++walk->visits < 3;
}

static void the_visitor_ends_the_walk(hl_pool *pool) {
    struct walk walk = {.visits = 0};
    CHECK_STATUS(hl_pool_walk(pool, stop_at_the_third, &walk), HL_OK);
    CHECK_EQUAL(walk.visits, 3);
}

static bool use_the_pool(const hl_block_info *block, void *context) {
    struct walk *walk = context;
    if (block->state == HL_BLOCK_LIVE) {
        void *other = hl_alloc(walk->pool, 100);
        CHECK(other != NULL);
        CHECK_STATUS(hl_release(walk->pool, other), HL_OK);
        CHECK_STATUS(hl_release(walk->pool, block->address), HL_OK);
        walk->live_blocks++;
    }
    return true;
}

static void the_visitor_may_release_every_block(hl_pool *pool) {
    struct walk walk = {.pool = pool};
    size_t live_blocks = pool_stats(pool).live_blocks;
    CHECK(live_blocks > 0);
    CHECK_STATUS(hl_pool_walk(pool, use_the_pool, &walk), HL_OK);
    CHECK_EQUAL(walk.live_blocks, live_blocks);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void check_map(hl_pool *pool, const void *heap, size_t length) {
    char text[256 + 1];
    memset(text, '?', sizeof text);
    CHECK(length + 1 < sizeof text);
    CHECK_STATUS(hl_pool_map(pool, heap, text, length + 1), HL_OK);
    CHECK_EQUAL(strlen(text), length);
    CHECK_EQUAL(text[length + 1], '?');
    /* Each character tells its share's use to a tenth. */
    size_t tenths = 0;
    for (size_t i = 0; i < length; i++) {
        CHECK(strchr(".123456789#", text[i]) != NULL);
        tenths += text[i] == '#' ? 10 : text[i] == '.' ? 0 : (size_t)(text[i] - '0');
    }
    hl_heap_statistics statistics = heap_stats(pool, heap);
    size_t used = statistics.used_bytes * 10 * length / statistics.capacity_bytes;
    CHECK(tenths <= used + length && used <= tenths + length);
    if (statistics.used_bytes == 0) {
        CHECK_EQUAL(strspn(text, "."), length);
    }
    if (statistics.free_bytes == 0) {
        CHECK_EQUAL(strspn(text, "#"), length);
    }
}

static void the_map_shows_how_full_a_heap_is(hl_pool *pool) {
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    enum { SHORTEST = 0, LONGEST = 255 };
    for (size_t length = SHORTEST; length <= LONGEST; length += 5) {
        check_map(pool, regions[1] + length, length);
    }
    hold_blocks_of_all_kinds(pool);
    check_map(pool, regions[0], 64);
    check_map(pool, regions[1], 64);
    /* All that is left, from large to small. */
    for (size_t size = SIZE; size > 0; size /= 2) {
        while (hl_alloc(pool, size) != NULL) {
        }
    }
    for (size_t length = SHORTEST; length <= LONGEST; length += 5) {
        check_map(pool, regions[0], length);
    }
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    struct walk nothing = walk(pool);
    CHECK_EQUAL(nothing.visits, 0);
    CHECK_STATUS(hl_add_heap(pool, regions[1], SIZE), HL_OK);
    CHECK_STATUS(hl_add_heap(pool, regions[0], SIZE), HL_OK);
    a_walk_is_what_the_program_holds(pool);
    the_visitor_ends_the_walk(pool);
    the_visitor_may_release_every_block(pool);
    the_map_shows_how_full_a_heap_is(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
