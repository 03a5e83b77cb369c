/*
 * How long the stress tests go on: for HEAPMASTER_TEST_SECONDS seconds, or else for a few generations of
 * threads.
 */
#ifndef STRESS_H
#define STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 8, GENERATIONS = 3 };

/* Whether there is time for one generation more, after so many. */
static inline bool goes_on(size_t generations) {
    static time_t end;
    const char *seconds = getenv("HEAPMASTER_TEST_SECONDS");
    if (seconds == NULL) {
        return generations < GENERATIONS;
    }
    if (end == 0) {
        end = time(NULL) + atol(seconds);
    }
    return time(NULL) < end;
}

/* Each thread of each generation has a number of its own, to draw its random numbers from. */
static atomic_uintptr_t threads_started;

static inline pthread_t start_thread(void *(*body)(void *)) {
    pthread_t thread;
    uintptr_t number = atomic_fetch_add(&threads_started, 1) + 1;
    CHECK_EQUAL(pthread_create(&thread, NULL, body, (void *)(number * 0x9E3779B97F4A7C15u)), 0);
    return thread;
}

/* Lets a generation of threads live, until the last has ended. */
static inline void run_generation(void *(*body)(void *)) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = start_thread(body);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
}

#endif
