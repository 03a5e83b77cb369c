// What the workloads share: random numbers, threads, blocks that are written to.
//
// A workload is one file with a function `run`. It is called with the number of threads and the amount of
// work, which is fixed, so that CPU time compares; it returns when all of it is done.

#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void *checked(void *block) {
    if (!block) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return block;
}

// xorshift64* (Vigna, 2016).
typedef struct {
    uint64_t state;
} Random;

static inline Random seeded(uint64_t seed) {
    Random random = {(seed + 1) * UINT64_C(0x9E3779B97F4A7C15)};
    return random;
}

static inline uint64_t next(Random *random) {
    uint64_t x = random->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

// Below `limit`.
static inline size_t below(Random *random, size_t limit) {
    return (size_t)(((next(random) >> 32) * limit) >> 32);
}

// From 2^low to 2^high, each power of two as likely as the others.
static inline size_t log_uniform(Random *random, unsigned low, unsigned high) {
    size_t power = (size_t)1 << (low + below(random, high - low));
    return power + below(random, power);
}

// A block that a program would have written to: its first and last byte are.
static inline char *block_of(size_t size) {
    char *block = checked(malloc(size));
    block[0] = (char)size;
    block[size - 1] = (char)size;
    return block;
}

// Releases a block of `block_of`, after a look at what was written.
static inline void release(char *block, size_t size) {
    if (block[0] != (char)size || block[size - 1] != (char)size) {
        fputs("a block has changed\n", stderr);
        abort();
    }
    free(block);
}

// Memory of this process. The stream has no buffer of its own.
static inline long resident_kib(void) {
    char text[128];
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) exit(1);
    setvbuf(file, text, _IOFBF, sizeof text);
    long pages[2];
    if (fscanf(file, "%ld %ld", &pages[0], &pages[1]) != 2) exit(1);
    fclose(file);
    return pages[1] * (sysconf(_SC_PAGESIZE) / 1024);
}

typedef struct {
    unsigned number;
    size_t work;
    void *(*body)(void *);
    pthread_t thread;
} Worker;

static inline void start(Worker *worker) {
    if (pthread_create(&worker->thread, NULL, worker->body, worker)) {
        fputs("no thread\n", stderr);
        exit(1);
    }
}

// The body, on this thread if there is only one, or on so many threads at once.
static inline void on_threads(unsigned threads, size_t work, void *(*body)(void *)) {
    enum { MOST = 1024 };
    static Worker workers[MOST];
    if (threads > MOST) exit(2);
    for (unsigned i = 0; i < threads; i++) workers[i] = (Worker){i, work / threads, body, 0};
    for (unsigned i = 1; i < threads; i++) start(&workers[i]);
    body(&workers[0]);
    for (unsigned i = 1; i < threads; i++) pthread_join(workers[i].thread, NULL);
}

static void run(unsigned threads, size_t work);

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s THREADS WORK\n", argv[0]);
        return 2;
    }
    run((unsigned)atoi(argv[1]), (size_t)atoll(argv[2]));
    return 0;
}

#endif
