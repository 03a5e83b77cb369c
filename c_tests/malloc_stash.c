/*
 * Blocks above 8 KiB that a thread has released are at hand for it again, and are released all the same: they are
 * not live, a second release is refused, and they go back when memory is wanted or their thread ends.
 */
#include "malloc_check.h"

#include <heapmaster.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

/* Below what is guarded in the hardened mode. */
enum { SIZE = 100000, BLOCK = 128 << 10, THREADS = 8, ROUNDS = 20000, MOST = 250000 };

static hl_pool *pool;
static hl_status (*stats_of)(hl_pool *, hl_pool_statistics *);
static hl_status (*release)(hl_pool *, void *);
static hl_status (*check_pool)(hl_pool *);
static hl_status (*set_limit)(hl_pool *, size_t);
static hl_status (*add_heap)(hl_pool *, void *, size_t);
static hl_status (*drain_heap)(hl_pool *, const void *);

static hl_pool_statistics stats(void) {
    hl_pool_statistics stats = {.struct_size = sizeof stats};
    CHECK_EQUAL(stats_of(pool, &stats), HL_OK);
    return stats;
}

static void a_released_block_is_at_hand_and_not_live(void) {
    hl_pool_statistics before = stats();
    char *block = memset(malloc(SIZE), 1, SIZE);
    free(block);
    CHECK_EQUAL(stats().live_blocks, before.live_blocks);
    CHECK_EQUAL(stats().live_bytes, before.live_bytes);
    CHECK_EQUAL(stats().allocations, before.allocations + 1);
    CHECK_EQUAL(release(pool, block), HL_ERR_ALREADY_RELEASED);
    CHECK_EQUAL(release(pool, block + BLOCK / 2), HL_ERR_ALREADY_RELEASED);

    char *again = calloc(1, SIZE);
    CHECK(again == block);
    CHECK_EQUAL(malloc_usable_size(again), BLOCK);
    CHECK(realloc(again, BLOCK) == again && realloc(again, BLOCK / 2 + 1) == again);
    CHECK(again[0] == 0 && again[SIZE / 2] == 0 && again[SIZE - 1] == 0);
    CHECK_EQUAL(stats().live_blocks, before.live_blocks + 1);
    CHECK_EQUAL(stats().allocations, before.allocations + 2);
    CHECK_EQUAL(release(pool, again + 4096), HL_ERR_INTERIOR_POINTER);
    CHECK_EQUAL(check_pool(pool), HL_OK);
    free(again);
    CHECK_EQUAL(check_pool(pool), HL_OK);
}

static void trimming_gives_all_back(void) {
    malloc_trim(0);
    size_t before = stats().used_bytes;
    free(malloc(SIZE));
    CHECK(stats().used_bytes >= before + BLOCK);
    CHECK(malloc_trim(0) == 1);
    CHECK_EQUAL(stats().used_bytes, before);
}

static void *releasing(void *block) {
    free(block);
    free(malloc(SIZE));
    return NULL;
}

static void what_a_thread_leaves_is_given_back(void) {
    malloc_trim(0);
    size_t before = stats().used_bytes;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, releasing, malloc(SIZE)), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
    }
    CHECK(stats().used_bytes <= before + 4 * BLOCK);
}

static atomic_bool over;

static void *trimming(void *unused) {
    while (!atomic_load(&over)) {
        malloc_trim(0);
    }
    return unused;
}

/* Two blocks in turn, so that each is released when the other has just been taken out. */
static void *alternating(void *unused) {
    char *held = malloc(SIZE);
    for (int i = 0; i < 20 * ROUNDS; i++) {
        char *other = malloc(SIZE);
        free(held);
        held = other;
    }
    free(held);
    return unused;
}

static void what_is_taken_out_meanwhile_is_not_lost(void) {
    malloc_trim(0);
    size_t before = stats().used_bytes;
    pthread_t trimmer, user;
    CHECK_EQUAL(pthread_create(&trimmer, NULL, trimming, NULL), 0);
    CHECK_EQUAL(pthread_create(&user, NULL, alternating, NULL), 0);
    CHECK_EQUAL(pthread_join(user, NULL), 0);
    atomic_store(&over, true);
    CHECK_EQUAL(pthread_join(trimmer, NULL), 0);
    malloc_trim(0);
    CHECK(stats().used_bytes < before + BLOCK);
}

static void released_memory_helps_at_the_limit(void) {
    malloc_trim(0);
    hl_pool_statistics now = stats();
    CHECK_EQUAL(set_limit(pool, now.used_bytes + 4 * BLOCK), HL_OK);
    char *blocks[4];
    size_t count = 0;
    while (count < 4 && (blocks[count] = malloc(SIZE)) != NULL) {
        count++;
    }
    CHECK(count >= 3);
    while (count > 0) {
        free(blocks[--count]);
    }
    char *large = malloc(BLOCK);
    CHECK(large != NULL);
    free(malloc(SIZE));
    large = realloc(large, 3 * BLOCK);
    CHECK(large != NULL);
    free(large);
    CHECK_EQUAL(set_limit(pool, 0), HL_OK);
}

/* However strongly it is aligned. */
static void a_small_block_gets_no_large_run(void) {
    free(malloc(2 * BLOCK));
    void *block = aligned_alloc(2 * BLOCK, 9000);
    CHECK((uintptr_t)block % (2 * BLOCK) == 0);
    CHECK(malloc_usable_size(block) < BLOCK);
    free(block);
}

static void a_draining_heap_serves_nothing_more(void) {
    static char region[16 << 20];
    char *block = malloc(SIZE);
    CHECK_EQUAL(add_heap(pool, region, sizeof region), HL_OK);
    CHECK_EQUAL(drain_heap(pool, block), HL_OK);
    free(block);
    char *other = malloc(SIZE);
    CHECK(other >= region && other < region + sizeof region);
    free(other);
}

static _Atomic(char *) shared[THREADS];

/* Each block has one user at a time, whoever releases it. */
static void *exchanging(void *seed) {
    uint64_t random = (uintptr_t)seed + 1;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t size = 9000 + (size_t)((random >> 33) % MOST);
        char *block = malloc(size);
        CHECK(block != NULL);
        write_pattern(block, 9000, (uintptr_t)block);
        block = atomic_exchange(&shared[(random >> 20) % THREADS], block);
        CHECK(block == NULL || holds_pattern(block, 9000, (uintptr_t)block));
        free(block);
        if (i % 1000 == 0) {
            malloc_trim(0);
            CHECK_EQUAL(check_pool(pool), HL_OK);
        }
    }
    return NULL;
}

static void threads_exchange_blocks(void) {
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, exchanging, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        free(shared[i]);
    }
    CHECK_EQUAL(check_pool(pool), HL_OK);
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    hl_pool *(*default_pool)(void);
    look_up_global("hl_default_pool", &default_pool);
    look_up_global("hl_pool_stats", &stats_of);
    look_up_global("hl_release", &release);
    look_up_global("hl_pool_check", &check_pool);
    look_up_global("hl_pool_set_limit", &set_limit);
    look_up_global("hl_add_heap", &add_heap);
    look_up_global("hl_drain_heap", &drain_heap);
    pool = default_pool();
    /* In the hardened mode released blocks wait in quarantine first. */
    bool exchange = argc == 2 && strcmp(argv[1], "exchange") == 0;
    if (!exchange) {
        a_released_block_is_at_hand_and_not_live();
        trimming_gives_all_back();
        what_a_thread_leaves_is_given_back();
        what_is_taken_out_meanwhile_is_not_lost();
        released_memory_helps_at_the_limit();
        a_small_block_gets_no_large_run();
    }
    threads_exchange_blocks();
    if (!exchange) {
        a_draining_heap_serves_nothing_more();
    }
    return 0;
}
