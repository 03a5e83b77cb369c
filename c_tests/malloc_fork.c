/*
 * A process with busy threads forks, over and over. Each child, which has one thread of all those,
 * allocates and releases, what it inherited too; the parent goes on. Not one of them hangs: the
 * program is linked to malloc_fork_library.c, whose fork handlers want memory, and has a thread that
 * wants memory while it holds stdio's lock.
 */
#include "malloc_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { THREADS = 8, INHERITED = 500 };

extern int fork_library_calls;

static atomic_bool stop;
static void *inherited[INHERITED];

/* Small and large, kept for a while, so that every path and every lock is in use. */
static void *busy(void *argument) {
    uint64_t random = (uintptr_t)argument + 1;
    void *held[64] = {0};
    while (!atomic_load(&stop)) {
        size_t slot = random_below(&random, 64);
        if (random_below(&random, 3) == 0) {
            held[slot] = realloc(held[slot], random_size(&random, 19) + 1);
        } else {
            free(held[slot]);
            held[slot] = malloc(random_size(&random, 19));
        }
        CHECK(held[slot] != NULL);
        /* Often in the midst of an allocation, but not always on a processor: there are few of those. */
        if (random_below(&random, 100) == 0) {
            usleep(50);
        }
    }
    for (int i = 0; i < 64; i++) {
        free(held[i]);
    }
    return NULL;
}

static ssize_t write_with_memory(void *cookie, const char *text, size_t length) {
    (void)cookie;
    for (size_t size = 1; size < 300000; size = size * 3 + 1) {
        free(memset(malloc(size), text[0], 1));
    }
    return (ssize_t)length;
}

/* fflush(NULL) holds the lock of the list of all streams while one of them asks for memory. */
static void *flusher(void *unused) {
    cookie_io_functions_t functions = {.write = write_with_memory};
    FILE *stream = fopencookie(NULL, "w", functions);
    CHECK(stream != NULL);
    while (!atomic_load(&stop)) {
        fputs("some text", stream);
        CHECK_EQUAL(fflush(NULL), 0);
        /* The lock is not fair. Whoever takes it again at once keeps it. */
        usleep(50);
    }
    CHECK_EQUAL(fclose(stream), 0);
    return unused;
}

static void *first_thread_of_a_child(void *unused) {
    free(malloc(100));
    return unused;
}

static void child(int number) {
    for (int i = 0; i < INHERITED; i++) {
        CHECK(holds_pattern(inherited[i], (size_t)i * 40, (uintptr_t)i));
        free(inherited[i]);
    }
    uint64_t random = (uint64_t)number + 1;
    for (int i = 0; i < 2000; i++) {
        size_t size = random_size(&random, 20);
        void *block = malloc(size);
        CHECK(block != NULL);
        write_pattern(block, size < 100 ? size : 100, size);
        CHECK(holds_pattern(block, size < 100 ? size : 100, size));
        free(block);
    }
    FILE *stream = fopen("/dev/null", "w");
    CHECK(stream != NULL && fputs("text", stream) >= 0);
    CHECK_EQUAL(fflush(NULL), 0);
    CHECK_EQUAL(fclose(stream), 0);
    /* A child may fork and start threads like anybody else. */
    pid_t grandchild = fork();
    if (grandchild == 0) {
        free(malloc(5000));
        _exit(0);
    }
    int status;
    CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, first_thread_of_a_child, NULL), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(fork_library_calls, 2 * number + 4);
    /* Every other one ends the long way, through exit handlers and stdio. */
    if (number % 2 == 0) {
        _exit(0);
    }
    exit(0);
}

int main(void) {
    check_that_malloc_is_ours();
    for (int i = 0; i < INHERITED; i++) {
        inherited[i] = malloc((size_t)i * 40);
        write_pattern(inherited[i], (size_t)i * 40, (uintptr_t)i);
    }
    pthread_t threads[THREADS + 1];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, busy, (void *)i), 0);
    }
    CHECK_EQUAL(pthread_create(&threads[THREADS], NULL, flusher, NULL), 0);
    /* The other threads' pages are closed and opened all the time there, which the child's share waits for. */
    const int forks = is_hardened() ? 15 : 200;
    for (int number = 0; number < forks; number++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            child(number);
        }
        int status;
        CHECK_EQUAL(waitpid(pid, &status, 0), pid);
        CHECK_EQUAL(status, 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i <= THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    /* Forking is over. */
    for (int i = 0; i < INHERITED; i++) {
        CHECK(holds_pattern(inherited[i], (size_t)i * 40, (uintptr_t)i));
        free(inherited[i]);
    }
    return 0;
}
