/*
 * Children fork children, each of which has a thread beside it that allocates. Whoever they descend from, they
 * find its blocks, release them, and have a pool that is sound.
 */
#include "default_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { DEPTH = 5, CHILDREN = 3, BLOCKS = 200 };

static atomic_bool is_over;

static void *allocate(void *unused) {
    uint64_t random = 1;
    while (!atomic_load(&is_over)) {
        free(malloc(random_size(&random, 18)));
        sched_yield();
    }
    return unused;
}

/* A generation: the blocks are those of the parent, and then its own. */
static void live(void *blocks[BLOCKS], int depth) {
    alarm(60);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(holds_pattern(blocks[i], i * 20, (uintptr_t)(i + (size_t)depth)));
        free(blocks[i]);
        blocks[i] = malloc(i * 20);
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], i * 20, (uintptr_t)(i + (size_t)depth + 1));
    }
    check_default_pool();
    if (depth == DEPTH) {
        return;
    }
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, allocate, NULL), 0);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            live(blocks, depth + 1);
            _exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        CHECK_EQUAL(waitpid(children[i], &status, 0), children[i]);
        CHECK_EQUAL(status, 0);
    }
    atomic_store(&is_over, true);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    check_default_pool();
}

int main(void) {
    check_that_malloc_is_ours();
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(i * 20);
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], i * 20, i);
    }
    live(blocks, 0);
    return 0;
}
