// Memory over time: grows to `work` MiB in blocks of 16 bytes to 64 KiB, stays a while, releases all but one
// block in a thousand, and idles. Prints milliseconds and KiB of RSS as they change. With two threads the
// other one goes on allocating small blocks all the time.

#include <time.h>

#include "workload.h"

enum { STEP = 50, KEPT = 1000 };

static uint64_t began;
static atomic_bool over;

static uint64_t milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void report(const char *phase) {
    printf("%s %lu %ld\n", phase, (unsigned long)(milliseconds() - began), resident_kib());
}

static void idle(const char *phase, int steps) {
    for (int i = 0; i < steps; i++) {
        struct timespec step = {0, STEP * 1000000};
        nanosleep(&step, NULL);
        report(phase);
    }
}

static void *elsewhere(void *argument) {
    Random random = seeded(7);
    char *blocks[1000] = {NULL};
    while (!atomic_load(&over)) {
        for (int i = 0; i < 1000; i++) {
            size_t slot = below(&random, 1000);
            free(blocks[slot]);
            blocks[slot] = block_of(16 + below(&random, 500));
        }
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < 1000; i++) free(blocks[i]);
    return argument;
}

static void run(unsigned threads, size_t work) {
    setvbuf(stdout, NULL, _IOLBF, 4096);
    began = milliseconds();
    pthread_t other;
    if (threads > 1 && pthread_create(&other, NULL, elsewhere, NULL)) exit(1);
    Random random = seeded(1);
    size_t most = work * 1024, count = 0;
    struct {
        char *block;
        size_t size;
    } *held = checked(calloc(most, sizeof *held));
    report("start");
    for (size_t bytes = 0, reported = 0; bytes < work << 20; count++) {
        if (count == most) exit(3);
        size_t size = log_uniform(&random, 4, 16);
        held[count].size = size;
        held[count].block = checked(malloc(size));
        memset(held[count].block, 1, size);
        bytes += size;
        if (bytes - reported > 4 << 20) {
            reported = bytes;
            report("grow");
        }
    }
    idle("full", 500 / STEP);
    for (size_t i = 0; i < count; i++) {
        if (i % KEPT == 0) continue;
        free(held[i].block);
        if (i % (count / 40) == 0) report("free");
    }
    report("free");
    idle("idle", 4000 / STEP);
    for (size_t i = 0; i < count; i += KEPT) free(held[i].block);
    free(held);
    atomic_store(&over, true);
    if (threads > 1) pthread_join(other, NULL);
}
