// Thread churn: thousands of threads that live for a hundred allocations, so many at once; each leaves a
// block to the one that started it.

#include "workload.h"

enum { BLOCKS = 100 };

static void *brief(void *argument) {
    Random random = seeded((uintptr_t)argument);
    char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        sizes[i] = log_uniform(&random, 4, 11);
        blocks[i] = block_of(sizes[i]);
    }
    for (size_t i = 1; i < BLOCKS; i++) release(blocks[i], sizes[i]);
    return blocks[0];
}

static void run(unsigned threads, size_t work) {
    enum { MOST = 1024 };
    pthread_t at_once[MOST];
    if (threads > MOST) exit(2);
    for (size_t done = 0; done < work; done += threads) {
        for (unsigned i = 0; i < threads; i++)
            if (pthread_create(&at_once[i], NULL, brief, (void *)(uintptr_t)(done + i))) exit(1);
        for (unsigned i = 0; i < threads; i++) {
            void *block;
            pthread_join(at_once[i], &block);
            free(block);
        }
    }
}
