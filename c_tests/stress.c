/*
 * Eight threads that come and go do all that can be done to one pool. Blocks are handed over in slots, so
 * that most are resized and released by another thread than allocated them, and each is looked through
 * before. Whenever all threads have ended, the books are sound, and count what there is.
 */
#include "check.h"
#include "stress.h"

enum { KIB = 1024, MIB = 1024 * KIB, SLOTS = 1024, STEPS = 10000, EXTRA_HEAPS = 4, BATCH = 16 };

static _Alignas(64) unsigned char region[24 * MIB];
static _Alignas(64) unsigned char other_region[16 * KIB];
/* Heaps that come and go: with and without size classes, and at odd addresses. */
static _Alignas(64) unsigned char extra[EXTRA_HEAPS][2 * MIB];
static const size_t extra_sizes[EXTRA_HEAPS] = {5 * KIB + 3, 100 * KIB, 700 * KIB, 2 * MIB - 64};

static hl_pool *pool, *other_pool;
static void *in_other_pool;

/* A block says itself how large it is and with which seed it was written. */
struct block {
    size_t size;
    uintptr_t seed;
    unsigned char bytes[];
};

static struct block *_Atomic slots[SLOTS];
static atomic_size_t misuses;
static atomic_bool extra_busy[EXTRA_HEAPS];
static bool extra_added[EXTRA_HEAPS];

static size_t usual_size(uint64_t *random) {
    return random_size(random, random_below(random, 50) == 0 ? 19 : 11);
}

static struct block *written(struct block *block, size_t size, uint64_t *random) {
    if (block == NULL) {
        CHECK(hl_last_error() == HL_ERR_OUT_OF_MEMORY || hl_last_error() == HL_ERR_LIMIT_REACHED);
        return NULL;
    }
    block->size = size;
    block->seed = (uintptr_t)*random;
    write_pattern(block->bytes, size, block->seed);
    return block;
}

static struct block *allocated(uint64_t *random) {
    size_t size = usual_size(random);
    struct block *block;
    switch (random_below(random, 4)) {
    case 0:
        block = hl_alloc_zeroed(pool, 1, sizeof *block + size);
        CHECK(block == NULL || holds_only(block, sizeof *block + size, 0));
        break;
    case 1: {
        size_t alignment = (size_t)1 << random_below(random, 15);
        block = hl_alloc_aligned(pool, alignment, sizeof *block + size);
        CHECK((uintptr_t)block % alignment == 0);
        break;
    }
    default:
        block = hl_alloc(pool, sizeof *block + size);
    }
    return written(block, size, random);
}

static void check_block(const struct block *block) {
    CHECK(hl_usable_size(pool, block) >= sizeof *block + block->size);
    CHECK(holds_pattern(block->bytes, block->size, block->seed));
}

static struct block *resized(struct block *block, uint64_t *random) {
    size_t size = usual_size(random);
    struct block *moved = hl_resize(pool, block, sizeof *moved + size);
    if (moved == NULL) {
        check_block(block);
        return block;
    }
    CHECK(holds_pattern(moved->bytes, size < moved->size ? size : moved->size, moved->seed));
    return written(moved, size, random);
}

static void release(struct block *block, uint64_t *random) {
    if (block == NULL) {
        return;
    }
    check_block(block);
    if (random_below(random, 4) == 0) {
        CHECK_STATUS(hl_release_sized(pool, block, sizeof *block + block->size), HL_OK);
    } else {
        CHECK_STATUS(hl_release(pool, block), HL_OK);
    }
}

static struct block *exchange(struct block *block, uint64_t *random) {
    return atomic_exchange(&slots[random_below(random, SLOTS)], block);
}

static void exchange_batch(uint64_t *random) {
    void *blocks[BATCH];
    size_t size = usual_size(random);
    size_t filled = hl_alloc_many(pool, sizeof(struct block) + size, BATCH, blocks);
    for (size_t i = 0; i < filled; i++) {
        blocks[i] = exchange(written(blocks[i], size, random), random);
        if (blocks[i] != NULL) {
            check_block(blocks[i]);
        }
    }
    CHECK_EQUAL(hl_release_many(pool, blocks, filled), filled);
}

/* Nothing that is no live block is taken for one, whatever else goes on. */
static void misuse(struct block *block, uint64_t *random) {
    unsigned char *inside = (unsigned char *)block + 1 + random_below(random, sizeof *block - 1);
    CHECK_STATUS(hl_release(pool, inside), HL_ERR_INTERIOR_POINTER);
    CHECK_STATUS(hl_release(pool, in_other_pool), HL_ERR_OTHER_POOL);
    CHECK_STATUS(hl_release(pool, &inside), HL_ERR_NOT_IN_POOL);
    CHECK_STATUS(hl_release_sized(pool, block, SIZE_MAX), HL_ERR_SIZE_MISMATCH);
    CHECK(hl_resize(pool, inside, 100) == NULL);
    atomic_fetch_add(&misuses, 5);
}

/* Adds a heap; removes it, if it has run empty, or has it drain. One thread at a time sees to each. */
static void change_heaps(uint64_t *random) {
    size_t i = random_below(random, EXTRA_HEAPS);
    if (atomic_exchange(&extra_busy[i], true)) {
        return;
    }
    unsigned char *heap = extra[i] + i;
    if (!extra_added[i]) {
        CHECK_STATUS(hl_add_heap(pool, heap, extra_sizes[i]), HL_OK);
        extra_added[i] = true;
    } else if (hl_remove_heap(pool, heap) == HL_OK) {
        memset(heap, 0xA5, extra_sizes[i]);
        extra_added[i] = false;
    } else {
        CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_IN_USE);
        CHECK_STATUS(hl_drain_heap(pool, heap), HL_OK);
    }
    atomic_store(&extra_busy[i], false);
}

static bool look_at(const hl_block_info *block, void *random) {
    CHECK(block->address != NULL && block->size > 0);
    /* Any other heap may have been removed since the block was looked up. */
    bool is_in_region = (uintptr_t)block->address - (uintptr_t)region < sizeof region;
    CHECK(hl_owns(pool, block->address) || !is_in_region);
    return random_below(random, 200) != 0;
}

static void look(uint64_t *random) {
    char map[100];
    hl_pool_statistics statistics = pool_stats(pool);
    CHECK_EQUAL(statistics.capacity_bytes, statistics.used_bytes + statistics.free_bytes);
    CHECK_EQUAL(statistics.allocations, statistics.releases + statistics.live_blocks);
    CHECK_STATUS(hl_pool_walk(pool, look_at, random), HL_OK);
    CHECK_STATUS(hl_pool_map(pool, region, map, sizeof map), HL_OK);
}

static void step(uint64_t *random) {
    size_t choice = random_below(random, 4096);
    if (choice < 4) {
        look(random);
    } else if (choice < 8) {
        size_t limit = random_below(random, 2) == 0 ? 0 : random_below(random, 32 * MIB) + 1;
        CHECK_STATUS(hl_pool_set_limit(pool, limit), HL_OK);
    } else if (choice < 64) {
        change_heaps(random);
    } else if (choice < 256) {
        exchange_batch(random);
    } else if (choice < 2300) {
        release(exchange(allocated(random), random), random);
    } else {
        struct block *block = exchange(NULL, random);
        if (block != NULL && choice < 3000) {
            block = resized(block, random);
            release(exchange(block, random), random);
        } else if (block != NULL) {
            if (choice < 3100) {
                misuse(block, random);
            }
            release(block, random);
        }
    }
}

/* Lives for a moment, and leaves what it has allocated to the others. */
static void *mayfly(void *seed) {
    uint64_t random = (uintptr_t)seed;
    for (size_t i = 0; i < 50; i++) {
        step(&random);
    }
    return NULL;
}

static void *live(void *seed) {
    uint64_t random = (uintptr_t)seed;
    for (size_t i = 0; i < rounds(STEPS); i++) {
        step(&random);
        if (random_below(&random, 2000) == 0) {
            CHECK_EQUAL(pthread_join(start_thread(mayfly), NULL), 0);
        }
    }
    return NULL;
}

static void check_all(void) {
    size_t live_blocks = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i] != NULL) {
            check_block(slots[i]);
            live_blocks++;
        }
    }
    hl_pool_statistics statistics = pool_stats(pool);
    CHECK_EQUAL(statistics.live_blocks, live_blocks);
    CHECK_EQUAL(statistics.misuses, misuses);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void release_all(void) {
    uint64_t random = 1;
    for (size_t i = 0; i < SLOTS; i++) {
        release(atomic_exchange(&slots[i], NULL), &random);
    }
    check_all();
    for (size_t i = 0; i < EXTRA_HEAPS; i++) {
        if (extra_added[i]) {
            CHECK_STATUS(hl_remove_heap(pool, extra[i] + i), HL_OK);
            extra_added[i] = false;
        }
    }
    CHECK_EQUAL(pool_stats(pool).live_bytes, 0);
}

int main(void) {
    other_pool = hl_pool_new_in(other_region, sizeof other_region);
    in_other_pool = hl_alloc(other_pool, 100);
    pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    CHECK_STATUS(hl_add_system_heap(pool, 64 * MIB), HL_OK);
    for (size_t generation = 0; goes_on(generation); generation++) {
        run_generation(live);
        check_all();
        if (generation % 4 == 3) {
            release_all();
        }
    }
    CHECK_STATUS(hl_pool_set_limit(pool, 0), HL_OK);
    release_all();
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(other_pool), HL_OK);
    return 0;
}
