// Zeroed memory: each thread keeps 256 blocks of 16 bytes to 256 KiB from calloc, replaces random ones, and
// looks whether they are zero.

#include "workload.h"

enum { BLOCKS = 256 };

static void *replace(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    char *blocks[BLOCKS] = {NULL};
    for (size_t i = 0; i < worker->work; i++) {
        size_t slot = below(&random, BLOCKS);
        free(blocks[slot]);
        // Small ones are the many, as in programs.
        size_t size = below(&random, 16) ? log_uniform(&random, 4, 10) : log_uniform(&random, 10, 18);
        char *block = checked(calloc(1, size));
        if (block[0] || block[size / 2] || block[size - 1]) abort();
        block[0] = block[size / 2] = block[size - 1] = 1;
        blocks[slot] = block;
    }
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
    return NULL;
}

static void run(unsigned threads, size_t work) { on_threads(threads, work, replace); }
