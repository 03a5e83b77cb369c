// False sharing (after cache-scratch and cache-thrash of Berger et al., "Hoard", 2000): threads write to
// small blocks of their own, each a thousand times. The first blocks come from one thread, so they may lie
// in one cache line.

#include "workload.h"

enum { WRITES = 1000, SIZE = 8, MOST = 1024 };

static void *given[MOST];

static void *scratch(void *argument) {
    Worker *worker = argument;
    volatile char *block = given[worker->number];
    for (size_t i = 0; i < worker->work; i++) {
        for (int j = 0; j < WRITES; j++) block[j % SIZE]++;
        free((void *)block);
        block = checked(malloc(SIZE));
        memset((void *)block, 0, SIZE);
    }
    free((void *)block);
    return NULL;
}

static void run(unsigned threads, size_t work) {
    if (threads > MOST) exit(2);
    for (unsigned i = 0; i < threads; i++) given[i] = checked(calloc(1, SIZE));
    on_threads(threads, work, scratch);
}
