/*
 * Threads are cancelled while they allocate: malloc and its family are no cancellation points, so that nothing
 * that a thread has allocated gets lost on the way to it, and no lock remains taken. Nor is free when it
 * has something to report, which HEAPMASTER_ON_MISUSE=report lets it do.
 */
#include "default_pool.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

enum { THREADS = 400, AT_ONCE = 8, STEPS = 300, HELD = 16 };

typedef struct {
    pthread_t thread;
    sem_t cancelled;
    void *held[HELD];
    int steps;
} worker;

static void release_all(void *argument) {
    worker *self = argument;
    for (int i = 0; i < HELD; i++) {
        free(self->held[i]);
        self->held[i] = NULL;
    }
}

static void step(worker *self, uint64_t *random) {
    void **slot = &self->held[random_below(random, HELD)];
    size_t size = random_size(random, 22) + 1;
    void *block = NULL;
    switch (random_below(random, 6)) {
    case 0:
        *slot = realloc(*slot, size);
        break;
    case 1:
        CHECK_EQUAL(posix_memalign(&block, 4096, size), 0);
        free(*slot);
        *slot = block;
        break;
    case 2:
        free(*slot);
        *slot = calloc(1, size);
        break;
    case 3:
        malloc_trim(0);
        mallinfo2();
        malloc_usable_size(*slot);
        break;
    default:
        free(*slot);
        *slot = malloc(size);
    }
    self->steps++;
}

/* Is cancelled before its last steps at the latest, and reaches a point where that can have an effect only
   after them. */
static void *allocate(void *argument) {
    worker *self = argument;
    uint64_t random = (uintptr_t)pthread_self();
    pthread_cleanup_push(release_all, self);
    while (self->steps < STEPS / 2) {
        step(self, &random);
    }
    /* Not sem_wait, which is such a point. */
    while (sem_trywait(&self->cancelled) != 0) {
        step(self, &random);
    }
    int last = self->steps + STEPS / 2;
    while (self->steps < last) {
        step(self, &random);
    }
    void *volatile no_block = self;
    free(no_block);
    self->steps = -1;
    pthread_testcancel();
    CHECK(!"cancelled");
    pthread_cleanup_pop(1);
    return NULL;
}

int main(void) {
    check_that_malloc_is_ours();
    static worker workers[AT_ONCE];
    size_t live = 0;
    for (int round = 0; round < THREADS / AT_ONCE; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            workers[i].steps = 0;
            CHECK_EQUAL(sem_init(&workers[i].cancelled, 0, 0), 0);
            CHECK_EQUAL(pthread_create(&workers[i].thread, NULL, allocate, &workers[i]), 0);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            CHECK_EQUAL(pthread_cancel(workers[i].thread), 0);
            CHECK_EQUAL(sem_post(&workers[i].cancelled), 0);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            void *result;
            CHECK_EQUAL(pthread_join(workers[i].thread, &result), 0);
            CHECK(result == PTHREAD_CANCELED);
            CHECK_EQUAL(workers[i].steps, -1);
        }
        /* The first cancellation loads the unwinder, and the first threads have stacks that are kept. */
        if (round == 1) {
            live = default_pool_stats().live_blocks;
        }
        CHECK(round <= 1 || default_pool_stats().live_blocks == live);
    }
    check_default_pool();
    return 0;
}
