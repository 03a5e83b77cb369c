/*
 * The thread that purges keeps nothing of the one whose release started it: not its directory, which could not be
 * unmounted when the program has left it, and not its scheduling.
 */
#include "../malloc_check.h"

#include <dirent.h>
#include <sched.h>
#include <time.h>

enum { MIB = 1 << 20 };

/* The number of the other thread, once there is one. */
static pid_t other_thread(void) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    pid_t other = 0;
    for (struct dirent *entry; other == 0 && (entry = readdir(tasks)) != NULL;) {
        pid_t task = (pid_t)atoi(entry->d_name);
        other = task != getpid() ? task : 0;
    }
    closedir(tasks);
    return other;
}

static bool is_apart(pid_t thread) {
    char link[64], directory[64] = {0};
    snprintf(link, sizeof link, "/proc/self/task/%d/cwd", (int)thread);
    CHECK(readlink(link, directory, sizeof directory - 1) > 0);
    return strcmp(directory, "/usr") == 0 && sched_getscheduler(thread) == SCHED_OTHER;
}

int main(void) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(chdir("/tmp"), 0);
    /* As a real-time thread's, but nobody needs a right for it. */
    CHECK_EQUAL(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}), 0);
    free(memset(malloc(8 * MIB), 1, 8 * MIB));
    pid_t thread = other_thread();
    CHECK(thread != 0);
    CHECK_EQUAL(chdir("/usr"), 0);
    /* From when it runs it lives for 400 ms at least. */
    for (int i = 0; !is_apart(thread); i++) {
        CHECK(i < 10000);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    char directory[64];
    CHECK(getcwd(directory, sizeof directory) != NULL && strcmp(directory, "/usr") == 0);
    CHECK_EQUAL(sched_getscheduler(0), SCHED_BATCH);
    return 0;
}
