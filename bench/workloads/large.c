// Large blocks: each thread holds eight, of 64 KiB to 64 MiB, writes to some pages of each, and replaces
// random ones.

#include "workload.h"

enum { BLOCKS = 8, PAGE = 4096, WRITTEN = 64 };

static char *large_block(size_t size) {
    char *block = checked(malloc(size));
    // A program that needs so much writes to it; to all of it would measure the system's zeroing alone.
    size_t pages = size / PAGE < WRITTEN ? size / PAGE : WRITTEN;
    for (size_t i = 0; i < pages; i++) block[i * PAGE] = 1;
    block[size - 1] = 1;
    return block;
}

static void *replace(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    char *blocks[BLOCKS] = {NULL};
    for (size_t i = 0; i < worker->work; i++) {
        size_t slot = below(&random, BLOCKS);
        free(blocks[slot]);
        blocks[slot] = large_block(log_uniform(&random, 16, 26));
    }
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
    return NULL;
}

static void run(unsigned threads, size_t work) { on_threads(threads, work, replace); }
