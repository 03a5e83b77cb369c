// A server (after Larson and Krishnan, "Memory Allocation for Long-Running Server Applications", 1998): a
// thread replaces random ones of 5000 blocks of 8 to 1000 bytes, the sizes of mimalloc-bench, for a while,
// then leaves them to a new thread and ends.

#include "workload.h"

enum { BLOCKS = 5000, GENERATIONS = 20 };

typedef struct {
    Random random;
    size_t replacements;
    char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
} Session;

static void *serve(void *argument) {
    Session *session = argument;
    for (size_t i = 0; i < session->replacements; i++) {
        size_t slot = below(&session->random, BLOCKS);
        release(session->blocks[slot], session->sizes[slot]);
        session->sizes[slot] = 8 + below(&session->random, 993);
        session->blocks[slot] = block_of(session->sizes[slot]);
    }
    return NULL;
}

static void *sessions(void *argument) {
    Worker *worker = argument;
    Session *session = checked(malloc(sizeof *session));
    session->random = seeded(worker->number);
    session->replacements = worker->work / GENERATIONS;
    for (size_t i = 0; i < BLOCKS; i++) {
        session->sizes[i] = 8 + below(&session->random, 993);
        session->blocks[i] = block_of(session->sizes[i]);
    }
    for (int generation = 0; generation < GENERATIONS; generation++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, session)) exit(1);
        pthread_join(thread, NULL);
    }
    for (size_t i = 0; i < BLOCKS; i++) release(session->blocks[i], session->sizes[i]);
    free(session);
    return NULL;
}

static void run(unsigned threads, size_t work) { on_threads(threads, work, sessions); }
