/*
 * Two threads of a busy process fork, over and over, while eight allocate and others hold the locks of stdio,
 * wanting memory meanwhile. Up to sixteen children live at a time: each finds the pool sound, its blocks and
 * streams as they were, allocates, releases, and ends. So does the parent.
 */
#include "default_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8, FORKERS = 2, AT_ONCE = 8, INHERITED = 200 };

static atomic_bool is_over;
static void *inherited[INHERITED];
static size_t forks;

static size_t size_of(size_t index) {
    return index * index / 4 + 1;
}

static void fill(void *blocks[INHERITED]) {
    for (size_t i = 0; i < INHERITED; i++) {
        blocks[i] = malloc(size_of(i));
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], size_of(i), i);
    }
}

static void empty(void *blocks[INHERITED]) {
    for (size_t i = 0; i < INHERITED; i++) {
        CHECK(holds_pattern(blocks[i], size_of(i), i));
        free(blocks[i]);
    }
}

/* Small and large blocks, and those of others: threads leave theirs for each other. */
static void *allocate(void *argument) {
    static _Atomic(void *) handed[64];
    uint64_t random = (uintptr_t)argument + 1;
    while (!atomic_load(&is_over)) {
        for (int i = 0; i < 100; i++) {
            void *block = malloc(random_size(&random, 18));
            CHECK(block != NULL);
            block = realloc(block, random_size(&random, 18) + 1);
            CHECK(block != NULL);
            free(atomic_exchange(&handed[random_below(&random, 64)], block));
        }
        /* Often in the midst of an allocation, but not always on a processor: there are few of those. */
        usleep(50);
    }
    for (int i = 0; i < 64; i++) {
        free(atomic_exchange(&handed[i], NULL));
    }
    return NULL;
}

static ssize_t write_with_memory(void *unused, const char *text, size_t length) {
    (void)unused;
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        free(memset(malloc(size), text[0], 1));
    }
    return (ssize_t)length;
}

static ssize_t read_with_memory(void *unused, char *text, size_t length) {
    (void)unused;
    free(malloc(length * 7));
    memset(text, 'x', length);
    text[length - 1] = '\n';
    return (ssize_t)length;
}

/* Holds the lock of the list of all streams, and of its own, while it allocates. */
static void *flush(void *unused) {
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_with_memory});
    CHECK(stream != NULL);
    while (!atomic_load(&is_over)) {
        fputs("some text", stream);
        CHECK_EQUAL(fflush(NULL), 0);
        /* The lock is not fair. Whoever takes it again at once keeps it. */
        usleep(50);
    }
    CHECK_EQUAL(fclose(stream), 0);
    return unused;
}

/* Opening and closing, too, takes the lock of the list; the line grows while the stream is locked. */
static void *get_lines(void *unused) {
    while (!atomic_load(&is_over)) {
        FILE *stream = fopencookie(NULL, "r", (cookie_io_functions_t){.read = read_with_memory});
        CHECK(stream != NULL);
        char *line = NULL;
        size_t size = 0;
        for (int i = 0; i < 3; i++) {
            CHECK(getline(&line, &size, stream) > 0);
        }
        free(line);
        CHECK_EQUAL(fclose(stream), 0);
        usleep(50);
    }
    return unused;
}

/* printf wants a buffer for so wide a number while it holds the stream's lock. */
static void print_widely(FILE *stream) {
    CHECK(fprintf(stream, "%0*.*f\n", 3000, 2000, 1.5) > 3000);
}

static void *print(void *stream) {
    while (!atomic_load(&is_over)) {
        print_widely(stream);
        usleep(50);
    }
    return NULL;
}

static void be_a_child(FILE *stream, size_t number) {
    /* Longer than this it hangs. */
    alarm(60);
    check_default_pool();
    empty(inherited);
    fill(inherited);
    print_widely(stream);
    CHECK_EQUAL(fflush(NULL), 0);
    empty(inherited);
    check_default_pool();
    /* Every fourth ends the long way, through exit handlers and stdio. */
    if (number % 4 == 0) {
        exit(0);
    }
    _exit(0);
}

static void wait_for_children(pid_t children[AT_ONCE]) {
    for (int i = 0; i < AT_ONCE; i++) {
        int status;
        CHECK_EQUAL(waitpid(children[i], &status, 0), children[i]);
        CHECK_EQUAL(status, 0);
    }
}

static void *fork_and_wait(void *stream) {
    for (size_t number = 0; number < forks / FORKERS; number += AT_ONCE) {
        pid_t children[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            children[i] = fork();
            CHECK(children[i] >= 0);
            if (children[i] == 0) {
                be_a_child(stream, number + i);
            }
        }
        wait_for_children(children);
    }
    return NULL;
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    forks = strtoul(argv[1], NULL, 10);
    FILE *stream = fopen("/dev/null", "w");
    CHECK(stream != NULL);
    fill(inherited);
    pthread_t threads[THREADS + 3], forkers[FORKERS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
    }
    CHECK_EQUAL(pthread_create(&threads[THREADS], NULL, flush, NULL), 0);
    CHECK_EQUAL(pthread_create(&threads[THREADS + 1], NULL, get_lines, NULL), 0);
    CHECK_EQUAL(pthread_create(&threads[THREADS + 2], NULL, print, stream), 0);
    for (int i = 0; i < FORKERS; i++) {
        CHECK_EQUAL(pthread_create(&forkers[i], NULL, fork_and_wait, stream), 0);
    }
    for (int i = 0; i < FORKERS; i++) {
        CHECK_EQUAL(pthread_join(forkers[i], NULL), 0);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < THREADS + 3; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    empty(inherited);
    CHECK_EQUAL(fclose(stream), 0);
    check_default_pool();
    return 0;
}
