/* Threads share a pool: blocks pass from one to another, heaps come and go, and nothing is lost. */
#define _XOPEN_SOURCE 700 /* barriers */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { KIB = 1024, MIB = 1024 * KIB, THREADS = 4, SLOTS = 256, EXTRA_HEAPS = 6 };

static _Alignas(64) unsigned char region[16 * MIB];
static _Alignas(64) unsigned char extra[EXTRA_HEAPS][256 * KIB];

static hl_pool *pool;

/* A block says itself how large it is and with which seed it was written. */
struct block {
    size_t size;
    uintptr_t seed;
    unsigned char bytes[];
};

static struct block *_Atomic slots[SLOTS];
static atomic_bool finished;

static void run_threads(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, body, (void *)(i + 1)) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static struct block *new_block(uint64_t *random) {
    size_t size = random_size(random, random_below(random, 64) == 0 ? 16 : 9);
    struct block *block = hl_alloc(pool, sizeof *block + size);
    if (block == NULL) {
        CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
        return NULL;
    }
    block->size = size;
    block->seed = (uintptr_t)*random;
    write_pattern(block->bytes, size, block->seed);
    return block;
}

static void check_block(const struct block *block) {
    CHECK(hl_usable_size(pool, block) >= sizeof *block + block->size);
    CHECK(holds_pattern(block->bytes, block->size, block->seed));
}

static void resize_block(struct block **block, uint64_t *random) {
    size_t size = random_size(random, 11);
    struct block *resized = hl_resize(pool, *block, sizeof *resized + size);
    if (resized == NULL) {
        return;
    }
    size_t kept = size < resized->size ? size : resized->size;
    CHECK(holds_pattern(resized->bytes, kept, resized->seed));
    resized->size = size;
    write_pattern(resized->bytes, size, resized->seed);
    *block = resized;
}

/* Each block that a thread puts into a slot, another one is likely to find there. */
static void *exchange_blocks(void *number) {
    uint64_t random = (uintptr_t)number;
    for (size_t round = 0; round < rounds(150000); round++) {
        struct block *block = new_block(&random);
        if (block != NULL && random_below(&random, 8) == 0) {
            resize_block(&block, &random);
        }
        block = atomic_exchange(&slots[random_below(&random, SLOTS)], block);
        if (block != NULL) {
            check_block(block);
            CHECK_STATUS(hl_release(pool, block), HL_OK);
        }
    }
    return NULL;
}

static void release_slots(void) {
    for (size_t i = 0; i < SLOTS; i++) {
        struct block *block = atomic_exchange(&slots[i], NULL);
        if (block != NULL) {
            check_block(block);
            CHECK_STATUS(hl_release(pool, block), HL_OK);
        }
    }
}

/* All is well, and a thread that is gone has taken nothing along. */
static void check_empty(size_t largest) {
    hl_pool_statistics statistics = pool_stats(pool);
    CHECK_EQUAL(statistics.live_blocks, 0);
    CHECK_EQUAL(statistics.live_bytes, 0);
    CHECK_EQUAL(statistics.allocations, statistics.releases);
    CHECK_EQUAL(statistics.misuses, 0);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    void *block = hl_alloc(pool, largest);
    CHECK(block != NULL);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
}

static void blocks_pass_between_threads(void) {
    size_t largest = pool_stats(pool).largest_free_block;
    for (size_t generation = 0; generation < 3; generation++) {
        run_threads(exchange_blocks);
        release_slots();
        check_empty(largest);
    }
}

static void produce(void) {
    uint64_t random = 17;
    for (size_t round = 0; round < rounds(100000); round++) {
        struct block *block = new_block(&random);
        struct block *empty = NULL;
        while (!atomic_compare_exchange_weak(&slots[round % SLOTS], &empty, block)) {
            empty = NULL;
            sched_yield();
        }
    }
    atomic_store(&finished, true);
}

static void consume(void) {
    while (!atomic_load(&finished)) {
        release_slots();
        sched_yield();
    }
}

/* One thread allocates, the others only release. */
static void *produce_or_consume(void *number) {
    if ((uintptr_t)number == 1) {
        produce();
    } else {
        consume();
    }
    return NULL;
}

static void one_produces_and_the_others_consume(void) {
    size_t largest = pool_stats(pool).largest_free_block;
    atomic_store(&finished, false);
    run_threads(produce_or_consume);
    release_slots();
    check_empty(largest);
}

/* A heap is added, used by whoever gets to it, drained, and removed when nobody holds a block of it. */
static void *exchange_blocks_or_heaps(void *number) {
    if ((uintptr_t)number != 1) {
        exchange_blocks(number);
        atomic_store(&finished, true);
        return NULL;
    }
    bool added[EXTRA_HEAPS] = {false};
    for (size_t i = 0; !atomic_load(&finished); i = (i + 1) % EXTRA_HEAPS) {
        unsigned char *heap = extra[i];
        if (!added[i]) {
            CHECK_STATUS(hl_add_heap(pool, heap, sizeof extra[i]), HL_OK);
            added[i] = true;
        } else if (hl_remove_heap(pool, heap) == HL_OK) {
            memset(heap, 0xA5, sizeof extra[i]);
            CHECK(!hl_owns(pool, heap));
            added[i] = false;
        } else {
            CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_IN_USE);
            CHECK_STATUS(hl_drain_heap(pool, heap), HL_OK);
        }
        hl_pool_statistics statistics = pool_stats(pool);
        CHECK(statistics.heaps >= 1 && statistics.heaps <= 1 + EXTRA_HEAPS);
        CHECK_EQUAL(statistics.capacity_bytes, statistics.used_bytes + statistics.free_bytes);
    }
    return NULL;
}

static void heaps_come_and_go_meanwhile(void) {
    size_t largest = pool_stats(pool).largest_free_block;
    atomic_store(&finished, false);
    run_threads(exchange_blocks_or_heaps);
    release_slots();
    for (size_t i = 0; i < EXTRA_HEAPS; i++) {
        if (hl_owns(pool, extra[i])) {
            CHECK_STATUS(hl_remove_heap(pool, extra[i]), HL_OK);
        }
    }
    check_empty(largest);
}

/* What a living thread keeps ready for itself is no block, and holds no heap back. */
static pthread_barrier_t barrier;

static void *allocate_release_and_stay(void *unused) {
    (void)unused;
    void *blocks[100];
    for (size_t size = 16; size < 4096; size *= 2) {
        CHECK_EQUAL(hl_alloc_many(pool, size, 10, blocks), 10);
        CHECK_EQUAL(hl_release_many(pool, blocks, 10), 10);
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    CHECK(hl_alloc(pool, 16) == NULL);
    return NULL;
}

static void an_idle_thread_holds_no_heap(void) {
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, allocate_release_and_stay, NULL) == 0);
    pthread_barrier_wait(&barrier);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_OK);
    memset(region, 0xA5, sizeof region);
    pthread_barrier_wait(&barrier);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_barrier_destroy(&barrier) == 0);
}

int main(void) {
    pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    blocks_pass_between_threads();
    one_produces_and_the_others_consume();
    heaps_come_and_go_meanwhile();
    an_idle_thread_holds_no_heap();
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
