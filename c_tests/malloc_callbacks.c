/*
 * A callback of the pool behind malloc is called with no lock held, whatever the program was allocating: it may
 * allocate, and fork.
 */
#include "malloc_check.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

/* No more callbacks than AT_ONCE run at a time. */
enum { LIMIT = 16 << 20, BLOCKS = 40000, AT_ONCE = 4 };

/* Volatile: to the compiler malloc calls nothing of this file. */
static volatile int calls;

static void on_low_memory(void *pool, size_t free_bytes, void *context) {
    (void)pool, (void)free_bytes, (void)context;
    calls++;
    void *block = malloc(100);
    CHECK(block != NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free(block);
        free(malloc(200));
        _exit(0);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    free(block);
}

static void *(*default_pool)(void);
static int (*set_limit)(void *, size_t);
static int (*set_callback)(void *, size_t, void (*)(void *, size_t, void *), void *);
static sem_t entered, leaving;

static void wait_in_callback(void *pool, size_t free_bytes, void *context) {
    (void)pool, (void)free_bytes, (void)context;
    CHECK_EQUAL(sem_post(&entered), 0);
    CHECK_EQUAL(sem_wait(&leaving), 0);
}

static void *exceed_the_limit(void *unused) {
    CHECK(malloc(2 * LIMIT) == NULL);
    return unused;
}

static void count(void *pool, size_t free_bytes, void *context) {
    (void)pool, (void)free_bytes, (void)context;
    calls++;
}

/* In the child nobody is in a callback, so that the next one runs. */
static void callbacks_that_wait_in_the_parent_are_no_matter_in_the_child(void) {
    CHECK_EQUAL(sem_init(&entered, 0, 0), 0);
    CHECK_EQUAL(sem_init(&leaving, 0, 0), 0);
    pthread_t threads[AT_ONCE];
    CHECK_EQUAL(set_callback(default_pool(), 1, wait_in_callback, NULL), 0);
    for (int i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, exceed_the_limit, NULL), 0);
        CHECK_EQUAL(sem_wait(&entered), 0);
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(set_callback(default_pool(), 1, count, NULL), 0);
        int before = calls;
        exceed_the_limit(NULL);
        CHECK_EQUAL(calls, before + 1);
        _exit(0);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    for (int i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(sem_post(&leaving), 0);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    CHECK_EQUAL(set_callback(default_pool(), 0, NULL, NULL), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    look_up_global("hl_default_pool", &default_pool);
    look_up_global("hl_pool_set_limit", &set_limit);
    look_up_global("hl_pool_set_low_memory_callback", &set_callback);
    static void *blocks[BLOCKS];
    /* At whatever call: each threshold is passed by another one. */
    for (size_t threshold = LIMIT; threshold > LIMIT / 4; threshold -= LIMIT / 64) {
        int before = calls;
        CHECK_EQUAL(set_limit(default_pool(), LIMIT), 0);
        CHECK_EQUAL(set_callback(default_pool(), threshold, on_low_memory, NULL), 0);
        for (size_t i = 0; i < BLOCKS && calls == before; i++) {
            blocks[i] = malloc(16 + i * 48 % 1000);
            CHECK(blocks[i] != NULL);
        }
        CHECK(calls > before);
        CHECK_EQUAL(set_callback(default_pool(), 0, NULL, NULL), 0);
        for (size_t i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    callbacks_that_wait_in_the_parent_are_no_matter_in_the_child();
    return 0;
}
