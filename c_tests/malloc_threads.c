/*
 * Blocks wander from thread to thread and are released where they arrive, while threads come and go:
 * nobody ever finds somebody else's bytes in a block of theirs.
 */
#include "malloc_check.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8, SLOTS = 512, STEPS = 60000, GENERATIONS = 300 };

typedef struct {
    size_t size;
    unsigned char bytes[];
} parcel;

/* Where the threads leave blocks for each other. */
static _Atomic(parcel *) slots[SLOTS];

static parcel *packed(uint64_t *random) {
    size_t size = random_size(random, 15);
    parcel *made;
    switch (random_below(random, 4)) {
    case 0:
        made = calloc(1, sizeof *made + size);
        break;
    case 1:
        made = aligned_alloc(64, sizeof *made + size);
        break;
    case 2:
        made = realloc(malloc(random_size(random, 10) + 1), sizeof *made + size);
        break;
    default:
        made = malloc(sizeof *made + size);
    }
    CHECK(made != NULL);
    made->size = size;
    write_pattern(made->bytes, size, (uintptr_t)made);
    return made;
}

static void unpacked(parcel *received, uint64_t *random) {
    if (received == NULL) {
        return;
    }
    size_t size = received->size;
    uintptr_t seed = (uintptr_t)received;
    CHECK(holds_pattern(received->bytes, size, seed));
    if (random_below(random, 8) == 0) {
        size_t new_size = random_size(random, 15);
        received = realloc(received, sizeof *received + new_size);
        CHECK(received != NULL);
        CHECK(holds_pattern(received->bytes, size < new_size ? size : new_size, seed));
    }
    free(received);
}

static void *wanderer(void *argument) {
    uint64_t random = (uintptr_t)argument * 2 + 1;
    for (int i = 0; i < STEPS; i++) {
        parcel *mine = packed(&random);
        unpacked(atomic_exchange(&slots[random_below(&random, SLOTS)], mine), &random);
    }
    return NULL;
}

/* Lives for a moment, and leaves all it has allocated to the others. */
static void *mayfly(void *argument) {
    uint64_t random = (uintptr_t)argument * 2 + 1;
    for (int i = 0; i < 50; i++) {
        parcel *mine = packed(&random);
        unpacked(atomic_exchange(&slots[random_below(&random, SLOTS)], mine), &random);
    }
    return NULL;
}

/* One allocates, another releases, always: nothing ever comes back to the first by itself. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *blocks[256];
    size_t count;
    bool done;
} belt = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *consumer(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&belt.lock);
        while (belt.count == 0 && !belt.done) {
            pthread_cond_wait(&belt.changed, &belt.lock);
        }
        void *batch[256];
        size_t count = belt.count;
        memcpy(batch, belt.blocks, count * sizeof *batch);
        belt.count = 0;
        bool done = belt.done;
        pthread_cond_signal(&belt.changed);
        pthread_mutex_unlock(&belt.lock);
        for (size_t i = 0; i < count; i++) {
            free(batch[i]);
        }
        if (count == 0 && done) {
            return NULL;
        }
    }
}

static long resident_kib(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void a_producer_does_not_starve_or_grow(void) {
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, consumer, NULL), 0);
    long before = 0;
    for (int i = 0; i < 500000; i++) {
        void *block = malloc(200);
        CHECK(block != NULL);
        memset(block, i, 200);
        pthread_mutex_lock(&belt.lock);
        while (belt.count == 256) {
            pthread_cond_wait(&belt.changed, &belt.lock);
        }
        belt.blocks[belt.count++] = block;
        pthread_cond_signal(&belt.changed);
        pthread_mutex_unlock(&belt.lock);
        if (i == 50000) {
            before = resident_kib();
        }
    }
    /* 90 MB have gone by since. */
    CHECK(resident_kib() - before < 16 * 1024);
    pthread_mutex_lock(&belt.lock);
    belt.done = true;
    pthread_cond_signal(&belt.changed);
    pthread_mutex_unlock(&belt.lock);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, wanderer, (void *)i), 0);
    }
    for (uintptr_t i = 0; i < GENERATIONS; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, mayfly, (void *)(i + THREADS)), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
    uint64_t random = 1;
    for (int i = 0; i < SLOTS; i++) {
        unpacked(slots[i], &random);
    }
    a_producer_does_not_starve_or_grow();
    return 0;
}
