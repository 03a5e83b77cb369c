// Work whose instructions are counted, those of the function `measured` alone.
//
//     counted WORK COUNT LIVE THREADS [alone]
//
// WORK is pair-N, malloc and free of N bytes; sized-N, operator new and the sized delete; or mix, random ones of
// 1024 blocks of 8 to 8192 bytes replaced. LIVE MiB of blocks of the same sizes are allocated before, and so many
// other threads have a block each and wait. With `alone` functions of one instruction each take the place of malloc
// and free: what the others take beyond that is theirs.

#define _GNU_SOURCE
#include <dlfcn.h>

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
void no_sized_delete(void *, size_t);
__asm__("no_malloc:\nno_free:\nno_sized_delete:\nret\n");

static void *(*the_malloc)(size_t) = malloc;
static void (*the_free)(void *) = free;
static void (*the_sized_delete)(void *, size_t);

static void *blocks[BLOCKS];
static Random rng;

static size_t some_size(size_t fixed) { return fixed ? fixed : log_uniform(&rng, 3, 13); }

__attribute__((noinline)) void measured(size_t fixed, size_t count) {
    void *(*volatile const allocate)(size_t) = the_malloc;
    void (*volatile const deallocate)(void *) = the_free;
    void (*volatile const deallocate_sized)(void *, size_t) = the_sized_delete;
    if (the_sized_delete) {
        for (size_t i = 0; i < count; i++) deallocate_sized(allocate(fixed), fixed);
        return;
    }
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

// A symbol of the library that is preloaded; of a function, which C does not convert an object's address to.
#define GET(function, name) (*(void **)(&(function)) = checked(dlsym(RTLD_DEFAULT, name)))

static pthread_barrier_t ready;

static void *wait(void *argument) {
    block_of(64);
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&ready);
    return argument;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    const char *dash = strchr(argv[1], '-');
    size_t fixed = dash ? (size_t)atoll(dash + 1) : 0;
    bool is_sized = !strncmp(argv[1], "sized-", 6), is_alone = argc > 5;
    size_t count = (size_t)atoll(argv[2]), live = (size_t)atoll(argv[3]) << 20;
    unsigned threads = (unsigned)atoi(argv[4]);
    rng = seeded(1);
    if (is_alone) {
        the_malloc = no_malloc;
        the_free = no_free;
        if (is_sized) the_sized_delete = no_sized_delete;
    } else if (is_sized) {
        GET(the_malloc, "_Znwm");
        GET(the_sized_delete, "_ZdlPvm");
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
