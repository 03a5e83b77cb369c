/*
 * The first calls of a thread come from a coroutine, whose stack is a page, or two in a hardened program, which traces
 * who allocates. Below the stack nothing can be touched.
 */
#include "malloc_check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { GUARD = 64 << 10, MANY = 5000, THREADS_AT_ONCE = 4 };

static size_t stack_bytes = 4 << 10;
static void *block_of_main;

static void small_block(void) { free(malloc(24)); }
static void run_of_pages(void) { free(malloc(100000)); }
static void large_block(void) { free(malloc(3 << 20)); }
static void zeroed_block(void) { free(calloc(1000, 10)); }
static void aligned_block(void) { free(aligned_alloc(4096, 100)); }
static void copied_block(void) { free(realloc(malloc(10), 3000)); }
static void moved_block(void) { free(realloc(malloc(1 << 20), 8 << 20)); }
static void size_of_block(void) {
    void *block = malloc(5);
    CHECK(malloc_usable_size(block) >= 5);
    free(block);
}
static void block_of_another_thread(void) {
    free(block_of_main);
    block_of_main = NULL;
}
static void blocks_of_all_classes(void) {
    static __thread void *blocks[MANY];
    for (size_t i = 0; i < MANY; i++) blocks[i] = malloc(i);
    for (size_t i = 0; i < MANY; i++) free(blocks[i]);
}

static void (*const bodies[])(void) = {
    small_block, run_of_pages, large_block,   zeroed_block,            aligned_block,
    copied_block, moved_block, size_of_block, block_of_another_thread, blocks_of_all_classes,
};

static __thread ucontext_t outside, inside;

static void *call_on_small_stack(void *body) {
    char *memory = mmap(NULL, GUARD + stack_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory + GUARD, stack_bytes, PROT_READ | PROT_WRITE) == 0);
    CHECK(getcontext(&inside) == 0);
    inside.uc_stack.ss_sp = memory + GUARD;
    inside.uc_stack.ss_size = stack_bytes;
    inside.uc_link = &outside;
    makecontext(&inside, *(void (**)(void))body, 0);
    CHECK(swapcontext(&outside, &inside) == 0);
    CHECK(munmap(memory, GUARD + stack_bytes) == 0);
    return NULL;
}

int main(void) {
    const char *hardened = getenv("HEAPMASTER_HARDENED");
    if (hardened != NULL && strcmp(hardened, "yes") == 0) stack_bytes *= 2;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        block_of_main = malloc(40);
        /* More than one, so that they have caches that nobody had before. */
        pthread_t threads[THREADS_AT_ONCE];
        size_t count = bodies[i] == block_of_another_thread ? 1 : THREADS_AT_ONCE;
        for (size_t j = 0; j < count; j++)
            CHECK(pthread_create(&threads[j], NULL, call_on_small_stack, (void *)&bodies[i]) == 0);
        for (size_t j = 0; j < count; j++) CHECK(pthread_join(threads[j], NULL) == 0);
        free(block_of_main);
    }
    return 0;
}
