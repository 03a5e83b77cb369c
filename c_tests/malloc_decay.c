/* After a peak the pages come back to the system by themselves: when the program idles, when another thread
 * goes on allocating, in a child that was forked with the parent's peak, in one that was so without a word to libc, and
 * where threads that sleep have released what they may keep at hand. */

#include "malloc_check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
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

enum { THREADS = 16, ORDERS = 5, KEPT = 2 };

static pthread_barrier_t all_hold, all_released, all_done;
static pthread_mutex_t one_by_one = PTHREAD_MUTEX_INITIALIZER;

static void *run_of(int order) {
    size_t size = (size_t)16384 << order;
    return memset(malloc(size), 1, size);
}

/* Releases as many runs of each size as a thread keeps, after it has once kept one of each for a moment. */
static void *release_and_sleep(void *unused) {
    void *runs[ORDERS][KEPT];
    CHECK_EQUAL(pthread_mutex_lock(&one_by_one), 0);
    for (int order = 0; order < ORDERS; order++) {
        free(run_of(order));
        for (int i = 0; i < KEPT; i++) {
            runs[order][i] = run_of(order);
        }
    }
    CHECK_EQUAL(pthread_mutex_unlock(&one_by_one), 0);
    pthread_barrier_wait(&all_hold);
    for (int order = 0; order < ORDERS; order++) {
        for (int i = 0; i < KEPT; i++) {
            free(runs[order][i]);
        }
    }
    pthread_barrier_wait(&all_released);
    pthread_barrier_wait(&all_done);
    return unused;
}

static void idle_beside_threads_that_sleep(size_t most) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&all_hold, NULL, THREADS);
    pthread_barrier_init(&all_released, NULL, THREADS + 1);
    pthread_barrier_init(&all_done, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, release_and_sleep, NULL), 0);
    }
    pthread_barrier_wait(&all_released);
    idle_until_resident_is(most);
    pthread_barrier_wait(&all_done);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
}

static void check_ends_well(pid_t child) {
    int status;
    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

int main(void) {
    enum { HANGS = 20 };
    int status, hung = 0;
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
    if (child == 0) {
        empty();
        idle_until_resident_is(most);
        _exit(0);
    }
    check_ends_well(child);
    empty();

    /* There is a thread now that does it, but not in the child, which nobody tells that. If that thread had the lock just
     * then the child waits for ever, as it would for a lock of libc's: another one is made. */
    do {
        child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            alarm(HANGS);
            fill();
            alarm(0);
            empty();
            idle_until_resident_is(most);
            _exit(0);
        }
        CHECK(child > 0);
        CHECK_EQUAL(waitpid(child, &status, 0), child);
    } while (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM && ++hung < 3);
    CHECK_EQUAL(status, 0);
    idle_until_resident_is(most);

    /* What a thread of a hardened program has released waits in its quarantine. */
    if (!is_hardened()) {
        idle_beside_threads_that_sleep(most);
    }

    /* The thread that did it goes when there is no more to do. */
    CHECK_EQUAL(threads_of_this_process(), 1);
    return 0;
}
