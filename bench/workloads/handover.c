// A mix of sizes with handover (as in mstress and xmalloc of mimalloc-bench): each thread replaces random
// blocks of its own, and every eighth time exchanges one with a place that all threads share.

#include "workload.h"

enum { BLOCKS = 2000, SHARED = 1024, BETWEEN = 8 };

typedef struct {
    size_t size;
    char rest[];
} Block;

static _Atomic(Block *) shared[SHARED];

static Block *new_block(Random *random) {
    size_t size = log_uniform(random, 4, 12);
    Block *block = (Block *)block_of(sizeof(Block) + size);
    block->size = size;
    return block;
}

static void drop(Block *block) {
    if (!block) return;
    if (block->rest[block->size - 1] != (char)(sizeof(Block) + block->size)) abort();
    free(block);
}

static void *mix(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    Block *own[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) own[i] = new_block(&random);
    for (size_t i = 0; i < worker->work; i++) {
        size_t slot = below(&random, BLOCKS);
        if (i % BETWEEN == 0) {
            _Atomic(Block *) *place = &shared[below(&random, SHARED)];
            own[slot] = atomic_exchange_explicit(place, own[slot], memory_order_acq_rel);
        }
        drop(own[slot]);
        own[slot] = new_block(&random);
    }
    for (size_t i = 0; i < BLOCKS; i++) drop(own[i]);
    return NULL;
}

static void run(unsigned threads, size_t work) {
    on_threads(threads, work, mix);
    for (size_t i = 0; i < SHARED; i++) drop(shared[i]);
}
