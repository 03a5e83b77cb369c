/*
 * Threads that start when the system has nothing left to give can't have a cache. They do without, and rarely
 * ask for one: nearly all of their calls are served without a system call.
 */
#include "default_pool.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

/* More than there are caches ready made. */
enum { THREADS = 100, PAIRS = 2000 };

static atomic_size_t refused;
static pthread_barrier_t barrier;

/* Instead of mprotect: ENOMEM. */
static void refuse(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
#ifdef __x86_64__
    machine->gregs[REG_RAX] = -ENOMEM;
#else
    machine->regs[0] = (uint64_t)-ENOMEM;
#endif
    atomic_fetch_add(&refused, 1);
}

/* For the calling thread alone. */
static void refuse_mprotect(void) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {
        .len = sizeof instructions / sizeof *instructions, .filter = instructions};
    CHECK_EQUAL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQUAL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

static void *use_what_is_there(void *unused) {
    refuse_mprotect();
    /* Its cache, if it gets one, remains its own until all have asked. */
    pthread_barrier_wait(&barrier);
    uint64_t random = 1;
    for (int i = 0; i < PAIRS; i++) {
        void *block = malloc(random_below(&random, 2000));
        CHECK(block != NULL);
        free(block);
    }
    pthread_barrier_wait(&barrier);
    return unused;
}

int main(void) {
    check_that_malloc_is_ours();
    struct sigaction action = {.sa_sigaction = refuse, .sa_flags = SA_SIGINFO};
    CHECK_EQUAL(sigaction(SIGSYS, &action, NULL), 0);
    /* The pool has enough for all of them. */
    free(malloc(64 << 20));
    CHECK_EQUAL(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, use_what_is_there, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    CHECK(atomic_load(&refused) > 0);
    CHECK(atomic_load(&refused) < THREADS * PAIRS / 500);
    check_default_pool();
    return 0;
}
