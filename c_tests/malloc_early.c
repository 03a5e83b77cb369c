/*
 * Memory is wanted before main and after it, and by threads that have almost ended: constructors,
 * exit handlers and the destructors of thread-specific data allocate and release like everybody else.
 */
#include "malloc_check.h"

#include <pthread.h>

enum { COUNT = 300, SIZE = 3000 };

static void *early[COUNT], *from_main[COUNT], *from_thread[COUNT];
static pthread_key_t first_key, second_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int destructions;

static void fill(void *blocks[COUNT], uintptr_t seed) {
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = calloc(1, i * SIZE / COUNT);
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], i * SIZE / COUNT, seed + i);
    }
}

static void empty(void *blocks[COUNT], uintptr_t seed) {
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(holds_pattern(blocks[i], i * SIZE / COUNT, seed + i));
        free(blocks[i]);
    }
}

/* As early as a program can. */
static void before_constructors(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    fill(early, 1);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **, char **) =
    before_constructors;

__attribute__((constructor)) static void constructor(void) {
    empty(early, 1);
    fill(early, 2);
    CHECK(setenv("MALLOC_EARLY", "set by a constructor", 1) == 0);
}

/* After main, and after the exit handlers. */
__attribute__((destructor)) static void destructor(void) {
    empty(from_main, 3);
    fill(from_main, 4);
    empty(from_main, 4);
}

static void exit_handler(void) {
    empty(early, 2);
    fill(early, 5);
    empty(early, 5);
}

/* Runs again as long as it sets the key, and may find that others have run before it. */
static void thread_destructor(void *value) {
    size_t *turns = value;
    void *blocks[COUNT];
    fill(blocks, *turns);
    empty(blocks, *turns);
    destructions++;
    if (--*turns > 0) {
        CHECK_EQUAL(pthread_setspecific(destructions % 2 == 0 ? first_key : second_key, turns), 0);
    } else {
        free(turns);
    }
}

static void create_keys(void) {
    CHECK_EQUAL(pthread_key_create(&first_key, thread_destructor), 0);
    /* Keys beyond the first 32 need memory of their own in every thread. */
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(pthread_key_create(&second_key, NULL), 0);
    }
    CHECK_EQUAL(pthread_key_create(&second_key, thread_destructor), 0);
}

/* Its first allocation of all is the value of a key: nothing is set up yet. */
static void *thread(void *leave) {
    pthread_once(&once, create_keys);
    size_t *turns = malloc(sizeof *turns);
    *turns = 4;
    CHECK_EQUAL(pthread_setspecific(second_key, turns), 0);
    if (leave != NULL) {
        fill(from_thread, 6);
        pthread_exit(NULL);
    }
    return NULL;
}

/* Releases what was not its own, and nothing else, and ends. */
static void *thread_that_only_releases(void *unused) {
    empty(from_thread, 6);
    return unused;
}

static void *thread_that_is_cancelled(void *unused) {
    pthread_cleanup_push(free, malloc(100));
    for (;;) {
        free(malloc(1000));
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return unused;
}

static void run(void *(*function)(void *), void *argument, bool cancel) {
    pthread_t id;
    CHECK_EQUAL(pthread_create(&id, NULL, function, argument), 0);
    CHECK(!cancel || pthread_cancel(id) == 0);
    CHECK_EQUAL(pthread_join(id, NULL), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(atexit(exit_handler), 0);
    fill(from_main, 3);
    for (int i = 0; i < 50; i++) {
        destructions = 0;
        run(thread, NULL, false);
        CHECK_EQUAL(destructions, 4);
        run(thread, &once, false);
        run(thread_that_only_releases, NULL, false);
        run(thread_that_is_cancelled, NULL, true);
    }
    CHECK(strcmp(getenv("MALLOC_EARLY"), "set by a constructor") == 0);
    exit(0);
}
