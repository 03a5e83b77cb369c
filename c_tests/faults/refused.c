/*
 * What a program sees whose malloc is refused something by the system, once or from some moment on (see
 * refuse.c): a null pointer with ENOMEM at the most, and when it was once, a single one. Blocks stay
 * what they are, all of them can be released, and no address space is lost.
 */
#include "default_pool.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

enum { KIB = 1024, MIB = 1024 * KIB, SLOTS = 100, THREADS = 4, ROUNDS = 2, LARGE = 32 * MIB };

/* Of a large block as many bytes bear the pattern. */
enum { WRITTEN = 8 * KIB };

/* Microseconds in which what is free goes back by itself, where threads get to run; and what is waited for. */
enum { DECAY = 850000, LONGEST_DECAY = 3 * DECAY, LOOK = 10000 };

typedef struct {
    unsigned char *block;
    size_t size;
} slot;

static size_t written(size_t size) {
    return size < WRITTEN ? size : WRITTEN;
}

static void *allocate(uint64_t *random, size_t size) {
    void *block = NULL;
    switch (random_below(random, 4)) {
    case 0:
        return calloc(1, size);
    case 1:
        return aligned_alloc(4096, size);
    case 2:
        errno = posix_memalign(&block, 64, size);
        return block;
    default:
        return malloc(size);
    }
}

/* Allocates and resizes in all ways; how often that was refused. */
static size_t fill(slot slots[SLOTS], uint64_t seed) {
    uint64_t random = seed;
    size_t failures = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        size_t size = random_size(&random, 20);
        errno = UNTOUCHED;
        slots[i].block = allocate(&random, size);
        slots[i].size = size;
        if (slots[i].block == NULL) {
            CHECK_EQUAL(errno, ENOMEM);
            failures++;
            continue;
        }
        write_pattern(slots[i].block, written(size), seed + i);
        if (random_below(&random, 3) == 0) {
            size_t larger = size * 2 + 100;
            errno = UNTOUCHED;
            unsigned char *moved = realloc(slots[i].block, larger);
            if (moved == NULL) {
                CHECK_EQUAL(errno, ENOMEM);
                failures++;
            } else {
                slots[i].block = moved;
            }
        }
    }
    return failures;
}

/* Every block is what it was when it was filled, by whatever thread. */
static void empty(slot slots[SLOTS], uint64_t seed) {
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL) {
            CHECK(holds_pattern(slots[i].block, written(slots[i].size), seed + i));
            errno = UNTOUCHED;
            free(slots[i].block);
            CHECK_EQUAL(errno, UNTOUCHED);
            slots[i].block = NULL;
        }
    }
}

static slot slots_of[THREADS][SLOTS];
static size_t failures_of[THREADS];
static pthread_t threads[THREADS];
static bool is_started[THREADS];
static bool is_over;
static sem_t go[THREADS], done;

static void *fill_when_told(void *argument) {
    uintptr_t number = (uintptr_t)argument;
    for (;;) {
        CHECK_EQUAL(sem_wait(&go[number]), 0);
        if (is_over) {
            return NULL;
        }
        failures_of[number] += fill(slots_of[number], number + 100);
        CHECK_EQUAL(sem_post(&done), 0);
    }
}

static void end_threads(void) {
    is_over = true;
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(!is_started[i] || sem_post(&go[i]) == 0);
        CHECK(!is_started[i] || pthread_join(threads[i], NULL) == 0);
    }
}

/* How many there are; the others were refused. */
static int start_threads(void) {
    int started = 0;
    CHECK_EQUAL(sem_init(&done, 0, 0), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(sem_init(&go[i], 0, 0), 0);
        is_started[i] = pthread_create(&threads[i], NULL, fill_when_told, (void *)i) == 0;
        started += is_started[i];
    }
    return started;
}

/* Each allocates its own blocks, all at once; another one releases them. */
static void fill_in_threads(void) {
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(!is_started[i] || sem_post(&go[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(!is_started[i] || sem_wait(&done) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        empty(slots_of[i], i + 100);
    }
}

/* Allocates until several requests in a row have failed; how many blocks that came to. Whatever a request that
   can't be served takes for a while, it gives back. */
static size_t exhaust(void) {
    static void *blocks[1024];
    size_t count = 0, space = 0;
    for (int failures = 0; failures < 5;) {
        CHECK(count < sizeof blocks / sizeof *blocks);
        errno = UNTOUCHED;
        blocks[count] = malloc(LARGE);
        if (blocks[count] != NULL) {
            count++;
            failures = 0;
            continue;
        }
        CHECK_EQUAL(errno, ENOMEM);
        CHECK(failures == 0 || address_space() <= space);
        space = address_space();
        failures++;
    }
    for (size_t i = 0; i < count; i++) {
        free(blocks[i]);
    }
    return count;
}

/* Waits until the thread that gives pages back has been there, and has nothing left to do. */
static void wait_for_decay(int own_threads) {
    usleep(DECAY);
    int waited = DECAY;
    while (threads_of_this_process() > own_threads && waited < LONGEST_DECAY) {
        usleep(LOOK);
        waited += LOOK;
    }
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    bool is_refused_once = strcmp(argv[argc - 1], "once") == 0;
    bool decays = strcmp(argv[1], "decay") == 0;
    int started = start_threads();
    static slot slots[SLOTS];
    size_t live = default_pool_stats().live_blocks;
    size_t failures = THREADS - (size_t)started;
    size_t first_count = 0, count = 0;

    for (int round = 0; round < (decays ? 1 : ROUNDS); round++) {
        failures += fill(slots, 1);
        fill_in_threads();
        if (!decays) {
            count = exhaust();
            first_count = round == 0 ? count : first_count;
        }
        empty(slots, 1);
        if (decays) {
            wait_for_decay(1 + started);
        } else {
            malloc_trim(0);
        }
    }
    end_threads();
    for (int i = 0; i < THREADS; i++) {
        failures += failures_of[i];
    }
    if (is_refused_once) {
        CHECK(failures <= 1);
        /* Not quite the same: where the threads' blocks come to lie is a matter of chance. */
        CHECK(count >= first_count - first_count / 4);
    }
    CHECK_EQUAL(default_pool_stats().live_blocks, live);
    check_default_pool();
    return 0;
}
