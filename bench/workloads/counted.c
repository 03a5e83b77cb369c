// Work whose instructions are counted, those of the function `measured` alone.
//
//     counted WORK COUNT LIVE THREADS [alone]
//
// WORK is pair-N, malloc and free of N bytes, or mix, random ones of 1024 blocks of 8 to 8192 bytes replaced.
// LIVE MiB of blocks of the same sizes are allocated before, and so many other threads have a block each and
// wait. With `alone` functions of one instruction each take the place of malloc and free: what the others
// take beyond that is theirs.

#define main unused_main
#include "workload.h"
#undef main

enum { BLOCKS = 1024 };

static void run(unsigned threads, size_t work) {
    (void)threads;
    (void)work;
}

void *no_malloc(size_t);
void no_free(void *);
__asm__("no_malloc:\nno_free:\nret\n");

static void *(*the_malloc)(size_t) = malloc;
static void (*the_free)(void *) = free;

static void *blocks[BLOCKS];
static Random rng;

static size_t some_size(size_t fixed) { return fixed ? fixed : log_uniform(&rng, 3, 13); }

__attribute__((noinline)) void measured(size_t fixed, size_t count) {
    void *(*volatile const allocate)(size_t) = the_malloc;
    void (*volatile const deallocate)(void *) = the_free;
    if (fixed) {
        for (size_t i = 0; i < count; i++) deallocate(allocate(fixed));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        void **place = &blocks[below(&rng, BLOCKS)];
        deallocate(*place);
        *place = allocate(some_size(0));
    }
}

static pthread_barrier_t ready;

static void *wait(void *argument) {
    block_of(64);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    return argument;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    size_t fixed = strncmp(argv[1], "pair-", 5) ? 0 : (size_t)atoll(argv[1] + 5);
    size_t count = (size_t)atoll(argv[2]), live = (size_t)atoll(argv[3]) << 20;
    unsigned threads = (unsigned)atoi(argv[4]);
    rng = seeded(1);
    if (argc > 5) {
        the_malloc = no_malloc;
        the_free = no_free;
    }
    for (size_t bytes = 0; bytes < live;) {
        size_t size = some_size(fixed);
        the_malloc(size);
        bytes += size;
    }
    for (size_t i = 0; !fixed && i < BLOCKS; i++) blocks[i] = the_malloc(some_size(0));
    if (threads > 0) {
        pthread_barrier_init(&ready, NULL, threads + 1);
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        for (unsigned i = 0; i < threads; i++) {
            pthread_t thread;
            if (pthread_create(&thread, &small, wait, NULL)) return 3;
        }
        pthread_barrier_wait(&ready);
    }
    measured(fixed, count);
    exit(0);
}
