// How long single operations take: each thread keeps 1000 blocks of 16 bytes to 8 KiB, one in a thousand of up
// to 1 MiB, and replaces random ones. Writes the nanoseconds of every malloc and free as 32-bit numbers to
// standard output, those of each thread together; with the work "0" those of the clock alone.

#include <time.h>
#include <unistd.h>

#include "workload.h"

enum { BLOCKS = 1000 };

static uint32_t *samples;
static size_t per_thread;
static bool clock_alone;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void *replace(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    uint32_t *mine = samples + worker->number * per_thread;
    char *blocks[BLOCKS] = {NULL};
    for (size_t i = 0; i < per_thread; i += 2) {
        size_t slot = below(&random, BLOCKS);
        size_t size = below(&random, 1000) ? log_uniform(&random, 4, 13) : log_uniform(&random, 13, 20);
        uint64_t start = now();
        if (!clock_alone) free(blocks[slot]);
        uint64_t freed = now();
        mine[i] = (uint32_t)(freed - start);
        start = now();
        if (!clock_alone) blocks[slot] = checked(malloc(size));
        mine[i + 1] = (uint32_t)(now() - start);
        if (!clock_alone) blocks[slot][0] = blocks[slot][size - 1] = 1;
    }
    for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
    return NULL;
}

static void run(unsigned threads, size_t work) {
    clock_alone = work == 0;
    per_thread = (clock_alone ? 1000000 : work) / threads / 2 * 2;
    // Touched before, so that no page fault of its own is measured.
    samples = checked(malloc(per_thread * threads * sizeof *samples));
    memset(samples, 1, per_thread * threads * sizeof *samples);
    on_threads(threads, work, replace);
    const char *bytes = (const char *)samples;
    for (size_t left = per_thread * threads * sizeof *samples; left > 0;) {
        ssize_t written = write(STDOUT_FILENO, bytes, left);
        if (written <= 0) exit(1);
        bytes += written;
        left -= (size_t)written;
    }
}
