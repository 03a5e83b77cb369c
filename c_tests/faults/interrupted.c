/*
 * Signal handlers that interrupt an allocation, and then do what many programs do in them although no standard lets
 * them: end the process by `exit`, or fork. The argument says which.
 */
#include "../malloc_check.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { BLOCKS = 200, ROUNDS = 40 };

static void start_timer(long microseconds) {
    struct itimerval time = {.it_value.tv_usec = microseconds};
    CHECK_EQUAL(setitimer(ITIMER_REAL, &time, NULL), 0);
}

/* Most of the time in the midst of a call, and some of it with a lock. */
static void allocate(void) {
    static void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(i % 2 == 0 ? 300000 : 9000 + i);
        CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

enum { HEAP = 64 << 20 };

static void *heap;
static void *pool;
static int (*add_heap)(void *, void *, size_t);
static int (*remove_heap)(void *, void *);

/* Most of the time with the lock that all pools share. */
static void add_and_remove_a_heap(void) {
    CHECK_EQUAL(add_heap(pool, heap, HEAP), 0);
    CHECK_EQUAL(remove_heap(pool, heap), 0);
}

/* Into a pointer to a function, which C knows no conversion for. */
static void look_up(const char *name, void *function) {
    void *found = dlsym(RTLD_DEFAULT, name);
    CHECK(found != NULL);
    memcpy(function, &found, sizeof found);
}

static void make_a_pool(void) {
    heap = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(heap != MAP_FAILED);
    look_up("hl_add_heap", &add_heap);
    look_up("hl_remove_heap", &remove_heap);
    void *(*new_pool)(void);
    look_up("hl_pool_new", &new_pool);
    pool = new_pool();
    CHECK(pool != NULL);
}

static void end(int signal) {
    (void)signal;
    exit(3);
}

static void check_ends_with(pid_t child, int code) {
    int status;
    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, code << 8);
}

static void by_exit(void) {
    signal(SIGALRM, end);
    for (int i = 0; i < ROUNDS; i++) {
        pid_t child = fork();
        if (child == 0) {
            start_timer(3000 + 97 * i);
            for (;;) {
                allocate();
            }
        }
        check_ends_with(child, 3);
    }
}

static volatile sig_atomic_t forks;

/* Of what is allowed in a handler a child needs no more. */
static void fork_here(int signal) {
    (void)signal;
    pid_t child = fork();
    if (child == 0) {
        _exit(4);
    }
    check_ends_with(child, 4);
    forks++;
    start_timer(500 + 97 * forks % 1000);
}

static void by_fork(void) {
    make_a_pool();
    signal(SIGALRM, fork_here);
    start_timer(1000);
    while (forks < 5 * ROUNDS) {
        allocate();
    }
    while (forks < 10 * ROUNDS) {
        add_and_remove_a_heap();
    }
    signal(SIGALRM, SIG_IGN);
    /* The parent has all its locks, and so has a child that is forked where it may allocate. */
    pid_t child = fork();
    if (child == 0) {
        allocate();
        exit(5);
    }
    check_ends_with(child, 5);
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    if (strcmp(argv[1], "exit") == 0) {
        by_exit();
    } else {
        by_fork();
    }
    return 0;
}
