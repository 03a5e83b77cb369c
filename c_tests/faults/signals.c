/*
 * Signals arrive all the time, in the midst of malloc and free, and in the system calls they make. Their handler
 * does not allocate, which it may not; but where it has interrupted the program itself, and not the library, it
 * jumps. No call fails for it, and no block is lost.
 */
#include "default_pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

enum { THREADS = 4, SECONDS = 1, MICROSECONDS = 100, HELD = 64 };

static atomic_bool is_over;
static atomic_size_t signals;

/* What a handler jumps to, and whether it may: never out of a function of the library, which may hold a
   lock or be half-way through a change. */
static _Thread_local sigjmp_buf target;
static _Thread_local volatile sig_atomic_t is_outside;
static _Thread_local volatile size_t jumps;

static void handle(int number) {
    (void)number;
    atomic_fetch_add(&signals, 1);
    if (is_outside) {
        is_outside = 0;
        jumps++;
        siglongjmp(target, 1);
    }
}

/* Signals for the calling thread alone. */
static timer_t start_timer(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    struct timespec interval = {.tv_nsec = MICROSECONDS * 1000};
    timer_t timer;
    CHECK_EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQUAL(
        timer_settime(timer, 0, &(struct itimerspec){interval, interval}, NULL), 0);
    return timer;
}

/* A block that is replaced by another; from time to time so large that the system is asked for memory. */
static void *replaced(void *block, uint64_t *random) {
    size_t size = random_size(random, random_below(random, 50) == 0 ? 23 : 14) + 1;
    if (random_below(random, 2) == 0) {
        free(block);
        block = malloc(size);
    } else {
        block = realloc(block, size);
    }
    CHECK(block != NULL);
    *(char *)block = 1;
    return block;
}

static void *allocate(void *argument) {
    /* They change between sigsetjmp and the jump, so they can't live in registers. */
    static void *held[THREADS][HELD];
    void **mine = held[(uintptr_t)argument];
    uint64_t *random = malloc(sizeof *random);
    *random = (uintptr_t)argument + 1;
    jumps = 0;
    timer_t timer = start_timer();
    sigsetjmp(target, 1);
    while (!atomic_load(&is_over)) {
        is_outside = 0;
        void **slot = &mine[random_below(random, HELD)];
        *slot = replaced(*slot, random);
        /* The compiler keeps what comes next between the two. */
        is_outside = 1;
        for (volatile int i = 0; i < 200; i++) {
        }
    }
    is_outside = 0;
    CHECK_EQUAL(timer_delete(timer), 0);
    for (int i = 0; i < HELD; i++) {
        free(mine[i]);
        mine[i] = NULL;
    }
    CHECK(jumps > 0);
    free(random);
    return NULL;
}

int main(void) {
    check_that_malloc_is_ours();
    struct sigaction action = {.sa_handler = handle};
    CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    pthread_t threads[THREADS];
    for (int round = 0; round < 2; round++) {
        size_t live = default_pool_stats().live_blocks;
        atomic_store(&is_over, false);
        for (uintptr_t i = 0; i < THREADS; i++) {
            CHECK_EQUAL(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
        }
        sleep(SECONDS);
        atomic_store(&is_over, true);
        for (int i = 0; i < THREADS; i++) {
            CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
        }
        CHECK(atomic_exchange(&signals, 0) > 100);
        /* The stacks of the first threads are kept for the second, with what belongs to them. */
        CHECK(round == 0 || default_pool_stats().live_blocks == live);
        check_default_pool();
    }
    return 0;
}
