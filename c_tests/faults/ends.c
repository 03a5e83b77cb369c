/*
 * Ways for a process to end, with threads that allocate to the last moment, and blocks that are released by
 * exit handlers and destructors, after the end of the threads that allocated them. The argument says which.
 */
#include "default_pool.h"

#include <pthread.h>

enum { THREADS = 4, BLOCKS = 400 };

static void *left[THREADS][BLOCKS];
static pthread_t main_thread;

static size_t size_of(size_t index) {
    return index * index / 3 + 1;
}

static void *leave_blocks(void *argument) {
    void **blocks = argument;
    for (size_t i = 0; i < BLOCKS; i++) {
        free(malloc(size_of(i)));
        blocks[i] = malloc(size_of(i));
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], size_of(i), i);
    }
    return NULL;
}

/* Every other one of a thread that has ended. */
static void release_half(size_t first) {
    for (size_t thread = 0; thread < THREADS; thread++) {
        for (size_t i = first; i < BLOCKS; i += 2) {
            CHECK(holds_pattern(left[thread][i], size_of(i), i));
            free(left[thread][i]);
        }
    }
    check_default_pool();
}

static void first_half(void) {
    release_half(0);
}

static void second_half(void) {
    release_half(1);
}

static void both_halves(void) {
    first_half();
    second_half();
}

static bool is_left_to_the_destructor;

/* After main and the exit handlers, while the endless threads go on. */
__attribute__((destructor)) static void destructor(void) {
    if (is_left_to_the_destructor) {
        second_half();
    }
}

static void *allocate_endlessly(void *argument) {
    uint64_t random = (uintptr_t)argument + 1;
    void *held[64] = {0};
    for (;;) {
        void **slot = &held[random_below(&random, 64)];
        free(*slot);
        *slot = malloc(random_size(&random, 18));
        CHECK(*slot != NULL);
    }
    return NULL;
}

static pthread_t started(void *(*function)(void *), void *argument) {
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, function, argument), 0);
    return thread;
}

static void by_exit(void) {
    CHECK_EQUAL(atexit(first_half), 0);
    is_left_to_the_destructor = true;
    exit(0);
}

static void by_quick_exit(void) {
    CHECK_EQUAL(at_quick_exit(both_halves), 0);
    quick_exit(0);
}

static void *exit_from_thread(void *unused) {
    by_exit();
    return unused;
}

static void by_exit_from_thread(void) {
    started(exit_from_thread, NULL);
    pause();
}

/* The main thread goes first. */
static void *survive(void *unused) {
    CHECK_EQUAL(pthread_join(main_thread, NULL), 0);
    by_exit();
    return unused;
}

static void by_last_thread(void) {
    started(survive, NULL);
    free(malloc(100));
    pthread_exit(NULL);
}

static void *execute(void *unused) {
    char *arguments[] = {"ends", "by_exit", NULL};
    execv("/proc/self/exe", arguments);
    CHECK(!"executed");
    return unused;
}

static void by_execve_from_thread(void) {
    started(execute, NULL);
    pause();
}

static const struct {
    const char *name;
    void (*end)(void);
} ends[] = {
#define END(name) {#name, name}
    END(by_exit),
    END(by_quick_exit),
    END(by_exit_from_thread),
    END(by_last_thread),
    END(by_execve_from_thread),
};

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    main_thread = pthread_self();
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(started(leave_blocks, left[i]), NULL), 0);
    }
    for (uintptr_t i = 0; i < THREADS; i++) {
        started(allocate_endlessly, (void *)i);
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (strcmp(ends[i].name, argv[1]) == 0) {
            ends[i].end();
        }
    }
    /* No such name. */
    return 1;
}
