/*
 * Real-time threads that wait for a lock which a thread of lower priority has, on the same processor: unless they sleep,
 * that one never runs. Does nothing where the system grants no real-time threads.
 */
#include "../malloc_check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { ROUNDS = 1000, BLOCKS = 20000, OWN_BLOCKS = 300 };

static atomic_bool over;

static void *allocate(void *unused) {
    static void *blocks[BLOCKS];
    while (!atomic_load(&over)) {
        for (size_t i = 0; i < BLOCKS; i++) {
            blocks[i] = malloc(16 + i % 3000);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
        }
    }
    return unused;
}

static void *allocate_in_real_time(void *unused) {
    struct sched_param priority = {.sched_priority = 50};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
        puts("skipped: the system grants no real-time threads");
        return unused;
    }
    for (int round = 0; round < ROUNDS; round++) {
        void *blocks[OWN_BLOCKS];
        for (size_t i = 0; i < OWN_BLOCKS; i++) {
            blocks[i] = malloc(16 + i * 10);
        }
        for (size_t i = 0; i < OWN_BLOCKS; i++) {
            free(blocks[i]);
        }
        nanosleep(&(struct timespec){0, 300000}, NULL);
    }
    return unused;
}

static void run(int real_time_threads) {
    pthread_t other, in_real_time[2];
    atomic_store(&over, false);
    CHECK_EQUAL(pthread_create(&other, NULL, allocate, NULL), 0);
    for (int i = 0; i < real_time_threads; i++) {
        CHECK_EQUAL(pthread_create(&in_real_time[i], NULL, allocate_in_real_time, NULL), 0);
    }
    for (int i = 0; i < real_time_threads; i++) {
        CHECK_EQUAL(pthread_join(in_real_time[i], NULL), 0);
    }
    atomic_store(&over, true);
    CHECK_EQUAL(pthread_join(other, NULL), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
    /* One may sleep while the other waits. */
    run(1);
    run(2);
    return 0;
}
