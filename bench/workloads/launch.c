// Runs a program and says what it took: CPU time in microseconds, elapsed microseconds, peak RSS in KiB.
//
//     launch RESULT LIBRARY PROGRAM ARGUMENT...
//
// writes the three figures to the file RESULT; LIBRARY is preloaded unless it is empty. The peak counts the
// memory of whoever started the program too, up to its start: that is why this is a program of its own,
// which has next to none.

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long microseconds(struct timeval time) {
    return time.tv_sec * 1000000LL + time.tv_usec;
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

int main(int argc, char **argv) {
    if (argc < 4) return 125;
    long long start = now();
    pid_t child = fork();
    if (child == 0) {
        if (*argv[2]) setenv("LD_PRELOAD", argv[2], 1);
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    int status;
    struct rusage usage;
    if (child < 0 || wait4(child, &status, 0, &usage) != child) return 125;
    FILE *result = fopen(argv[1], "w");
    if (!result) return 125;
    fprintf(result, "%lld %lld %ld\n", microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
            now() - start, usage.ru_maxrss);
    fclose(result);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
