/* After a peak the pages come back to the system by themselves: when the program idles, when another thread
 * goes on allocating, and in a child that was forked with the parent's peak. */

#include "malloc_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, BLOCKS = 60000, SECONDS = 2 };

static char *blocks[BLOCKS];

static void fill(void) {
    for (int i = 0; i < BLOCKS; i++) {
        size_t size = i % 1000 == 0 ? MIB : (size_t)(16 + i % 3000);
        blocks[i] = memset(malloc(size), 1, size);
    }
}

static void empty(void) {
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

/* Without a call of malloc or free by this thread. */
static void idle_until_resident_is(size_t most) {
    for (int i = 0; i < SECONDS * 20; i++) {
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    CHECK(resident() <= most);
}

static size_t twentieth_of_peak(size_t before, size_t peak) {
    CHECK(peak >= before + 100 * MIB);
    return before + (peak - before) / 20;
}

static atomic_bool over;

static void *allocate_elsewhere(void *unused) {
    while (!atomic_load(&over)) {
        void *block = malloc(100);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        free(block);
    }
    return unused;
}

int main(void) {
    check_that_malloc_is_ours();
    size_t before = resident();
    fill();
    size_t most = twentieth_of_peak(before, resident());
    empty();
    idle_until_resident_is(most);

    pthread_t other;
    CHECK_EQUAL(pthread_create(&other, NULL, allocate_elsewhere, NULL), 0);
    fill();
    empty();
    idle_until_resident_is(most);
    atomic_store(&over, true);
    CHECK_EQUAL(pthread_join(other, NULL), 0);

    fill();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        empty();
        idle_until_resident_is(most);
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    empty();
    idle_until_resident_is(most);

    /* The thread that did it goes when there is no more to do. */
    CHECK_EQUAL(threads_of_this_process(), 1);
    return 0;
}
