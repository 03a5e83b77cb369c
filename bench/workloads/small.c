// Small objects: each thread keeps 10,000 blocks of 16 to 256 bytes and replaces random ones.

#include "workload.h"

enum { BLOCKS = 10000 };

static void *replace(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    struct {
        char *block;
        size_t size;
    } held[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        held[i].size = 16 + below(&random, 241);
        held[i].block = block_of(held[i].size);
    }
    for (size_t i = 0; i < worker->work; i++) {
        size_t slot = below(&random, BLOCKS);
        release(held[slot].block, held[slot].size);
        held[slot].size = 16 + below(&random, 241);
        held[slot].block = block_of(held[slot].size);
    }
    for (size_t i = 0; i < BLOCKS; i++) release(held[i].block, held[i].size);
    return NULL;
}

static void run(unsigned threads, size_t work) { on_threads(threads, work, replace); }
