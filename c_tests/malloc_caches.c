/*
 * What threads leave behind: blocks that others release while their thread runs or after it has ended go
 * back to where they came from, so that neither comings and goings nor handing over take more and more.
 */
#include "malloc_check.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

enum { BLOCKS = 4000, ROUNDS = 200, GENERATIONS = 2000, LEFT = 50, AT_ONCE = 200 };

static void *handed[BLOCKS];
static sem_t produced, consumed;

static size_t size_of(size_t index) {
    return 16 + index * 7 % 3000;
}

static void *producing(void *unused) {
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            handed[i] = malloc(size_of(i));
            CHECK(handed[i] != NULL);
            write_pattern(handed[i], 16, i);
        }
        CHECK_EQUAL(sem_post(&produced), 0);
        CHECK_EQUAL(sem_wait(&consumed), 0);
    }
    return NULL;
}

/* Every block is released by a thread that did not allocate it. */
static void all_frees_remote(void) {
    pthread_t producer;
    CHECK_EQUAL(sem_init(&produced, 0, 0), 0);
    CHECK_EQUAL(sem_init(&consumed, 0, 0), 0);
    CHECK_EQUAL(pthread_create(&producer, NULL, producing, NULL), 0);
    size_t settled = 0;
    for (int round = 0; round < ROUNDS; round++) {
        CHECK_EQUAL(sem_wait(&produced), 0);
        size_t used = mallinfo2().arena;
        if (round == ROUNDS / 10) {
            settled = used;
        }
        CHECK(settled == 0 || used <= settled + settled / 10);
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(holds_pattern(handed[i], 16, i));
            free(handed[i]);
        }
        CHECK_EQUAL(sem_post(&consumed), 0);
    }
    CHECK_EQUAL(pthread_join(producer, NULL), 0);
}

static void *leaving(void *first) {
    void **blocks = first;
    for (size_t i = 0; i < LEFT; i++) {
        free(malloc(size_of(i)));
        blocks[i] = malloc(size_of(i));
        CHECK(blocks[i] != NULL);
    }
    return NULL;
}

/* The blocks of a thread are released after its end. */
static void threads_come_and_go(void) {
    size_t settled = 0;
    for (int generation = 0; generation < GENERATIONS; generation++) {
        void *blocks[LEFT];
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, leaving, blocks), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
        for (size_t i = 0; i < LEFT; i++) {
            free(blocks[i]);
        }
        size_t used = mallinfo2().arena;
        if (generation == GENERATIONS / 10) {
            settled = used;
        }
        CHECK(settled == 0 || used <= settled + settled / 10);
    }
}

/* Many threads at once, all gone before anything is released: others use what they have left. */
static void all_have_gone(void) {
    static void *blocks[AT_ONCE][LEFT];
    pthread_t threads[AT_ONCE];
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, leaving, blocks[i]), 0);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    size_t full = mallinfo2().arena;
    for (size_t i = 0; i < AT_ONCE; i++) {
        for (size_t j = 0; j < LEFT; j++) {
            free(blocks[i][j]);
        }
    }
    CHECK(mallinfo2().uordblks <= before + 4096 + waiting());
    CHECK(mallinfo2().arena < full / 2);
}

int main(void) {
    check_that_malloc_is_ours();
    all_frees_remote();
    threads_come_and_go();
    all_have_gone();
    return 0;
}
