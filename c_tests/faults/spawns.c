/*
 * A busy process starts others in every way but fork: by vfork, posix_spawn, system, popen, and _Fork, whose
 * child may do no more than execute something. Neither they nor the process mind.
 */
#include "default_pool.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char **environ;

enum { THREADS = 4, ROUNDS = 100 };

static atomic_bool is_over;
static char *const arguments[] = {"true", NULL};
static const char path[] = "/bin/true";

static void *allocate(void *argument) {
    uint64_t random = (uintptr_t)argument + 1;
    void *held[64] = {0};
    while (!atomic_load(&is_over)) {
        for (int i = 0; i < 1000; i++) {
            void **slot = &held[random_below(&random, 64)];
            free(*slot);
            *slot = malloc(random_size(&random, 18));
            CHECK(*slot != NULL);
        }
        usleep(50);
    }
    for (int i = 0; i < 64; i++) {
        free(held[i]);
    }
    return NULL;
}

static void check_that_it_succeeds(pid_t child) {
    int status;
    CHECK(child > 0);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static void by_vfork(void) {
    pid_t child = vfork();
    if (child == 0) {
        execv(path, arguments);
        _exit(1);
    }
    check_that_it_succeeds(child);
}

static void by_posix_spawn(void) {
    pid_t child;
    CHECK_EQUAL(posix_spawn(&child, path, NULL, NULL, arguments, environ), 0);
    check_that_it_succeeds(child);
}

static void by_system(void) {
    CHECK_EQUAL(system(path), 0);
}

static void by_popen(void) {
    FILE *stream = popen("echo text", "r");
    char text[16];
    CHECK(stream != NULL && fgets(text, sizeof text, stream) != NULL);
    CHECK(strcmp(text, "text\n") == 0);
    CHECK_EQUAL(pclose(stream), 0);
}

static void by_raw_fork(void) {
#if __GLIBC_PREREQ(2, 34)
    pid_t child = _Fork();
    if (child == 0) {
        execv(path, arguments);
        _exit(1);
    }
    check_that_it_succeeds(child);
#endif
}

int main(void) {
    check_that_malloc_is_ours();
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, allocate, (void *)i), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        by_vfork();
        by_posix_spawn();
        by_system();
        by_popen();
        by_raw_fork();
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    check_default_pool();
    return 0;
}
