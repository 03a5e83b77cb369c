// What a process and a thread need at the least: each of `threads` threads allocates a block of 64 bytes and
// waits. Prints the KiB of RSS before the first is started and when all wait.

#include "workload.h"

static pthread_barrier_t all_wait, all_end;

static void *wait(void *argument) {
    char *block = block_of(64);
    pthread_barrier_wait(&all_wait);
    pthread_barrier_wait(&all_end);
    release(block, 64);
    return argument;
}

static void run(unsigned threads, size_t work) {
    (void)work;
    char *block = block_of(10);
    long before = resident_kib();
    pthread_t *all = checked(malloc(threads * sizeof *all));
    pthread_barrier_init(&all_wait, NULL, threads + 1);
    pthread_barrier_init(&all_end, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, wait, NULL)) exit(1);
    pthread_barrier_wait(&all_wait);
    long during = resident_kib();
    pthread_barrier_wait(&all_end);
    for (unsigned i = 0; i < threads; i++) pthread_join(all[i], NULL);
    printf("%ld %ld\n", before, during);
    free(all);
    release(block, 10);
}
