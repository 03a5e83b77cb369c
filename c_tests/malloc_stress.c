/*
 * Eight threads that come and go do all that can be done with malloc and its family. Blocks are handed over
 * in slots, so that most are resized and freed by another thread than allocated them, and each is looked
 * through before. Whenever all threads have ended, the allocator's books are sound.
 */
#include "malloc_check.h"
#include "stress.h"

#include <malloc.h>

enum { SLOTS = 2048, STEPS = 40000, BURST = 64 };

typedef struct {
    size_t size;
    uintptr_t seed;
    /* Whether an alignment was asked for: then the size doesn't tell how large the block is. */
    size_t is_aligned;
    unsigned char bytes[];
} parcel;

static _Atomic(parcel *) slots[SLOTS];

/* Bytes that may wait in a hardened program, its large blocks among them, of which each ring has a few. */
static size_t large_waiting(void) { return is_hardened() ? 64 * 1024 * 1024 : 0; }

/* Not in every libc: C23, and what an old program was linked with. */
static void (*free_by[4])(void *);
static void (*free_with_size)(void *, size_t);

/* The pool behind malloc, and what checks it. */
static void *default_pool;
static int (*check_pool)(void *);

static size_t usual_size(uint64_t *random) {
    return random_size(random, random_below(random, 50) == 0 ? 21 : 12);
}

static parcel *written(parcel *made, size_t size, uint64_t *random) {
    CHECK(made != NULL);
    CHECK(malloc_usable_size(made) >= sizeof *made + size);
    made->size = size;
    made->seed = (uintptr_t)*random;
    made->is_aligned = false;
    write_pattern(made->bytes, size, made->seed);
    return made;
}

static bool is_zero(const void *block, size_t size) {
    const unsigned char *bytes = block;
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static parcel *allocated(uint64_t *random) {
    size_t size = usual_size(random);
    size_t bytes = sizeof(parcel) + size;
    size_t alignment = (size_t)8 << random_below(random, 12);
    void *made = NULL;
    size_t way = random_below(random, 12);
    switch (way) {
    case 0:
        made = calloc(1, bytes);
        CHECK(is_zero(made, bytes));
        break;
    case 1:
        made = aligned_alloc(alignment, bytes);
        CHECK(is_aligned(made, alignment));
        break;
    case 2:
        CHECK_EQUAL(posix_memalign(&made, alignment, bytes), 0);
        CHECK(is_aligned(made, alignment));
        break;
    case 3:
        made = memalign(alignment, bytes);
        CHECK(is_aligned(made, alignment));
        break;
    case 4:
        made = random_below(random, 2) == 0 ? valloc(bytes) : pvalloc(bytes);
        CHECK(is_aligned(made, (size_t)sysconf(_SC_PAGESIZE)));
        break;
    case 5:
        made = realloc(NULL, bytes);
        break;
    default:
        made = malloc(bytes);
    }
    parcel *result = written(made, size, random);
    result->is_aligned = way >= 1 && way <= 4;
    return result;
}

static void check_parcel(const parcel *received) {
    CHECK(holds_pattern(received->bytes, received->size, received->seed));
}

static parcel *resized(parcel *old, uint64_t *random) {
    check_parcel(old);
    size_t size = usual_size(random);
    size_t bytes = sizeof(parcel) + size;
    parcel *moved = random_below(random, 2) == 0 ? realloc(old, bytes) : reallocarray(old, 1, bytes);
    CHECK(moved != NULL);
    CHECK(holds_pattern(moved->bytes, size < moved->size ? size : moved->size, moved->seed));
    return written(moved, size, random);
}

static void release(parcel *received, uint64_t *random) {
    if (received == NULL) {
        return;
    }
    check_parcel(received);
    size_t way = random_below(random, 5);
    if (way == 4 && !received->is_aligned) {
        free_with_size(received, sizeof *received + received->size);
    } else {
        free_by[way % 4](received);
    }
}

static void free_by_realloc(void *block) {
    CHECK(realloc(block, 0) == NULL);
}

static parcel *exchange(parcel *mine, uint64_t *random) {
    return atomic_exchange(&slots[random_below(random, SLOTS)], mine);
}

/* Many of one size in a row, so that whole spans fill, wander off, and come back by others' hands. */
static void burst(uint64_t *random) {
    size_t size = random_size(random, 9);
    for (size_t i = 0; i < BURST; i++) {
        parcel *mine = written(malloc(sizeof(parcel) + size), size, random);
        release(exchange(mine, random), random);
    }
}

static void step(uint64_t *random) {
    size_t choice = random_below(random, 4096);
    if (choice == 0) {
        malloc_trim(0);
    } else if (choice == 1) {
        struct mallinfo2 info = mallinfo2();
        CHECK(info.uordblks <= info.arena + info.hblkhd);
    } else if (choice < 32) {
        burst(random);
    } else if (choice < 2400) {
        release(exchange(allocated(random), random), random);
    } else {
        parcel *received = exchange(NULL, random);
        if (received != NULL && choice < 3000) {
            received = exchange(resized(received, random), random);
        }
        release(received, random);
    }
}

/* Lives for a moment, and leaves what it has allocated to the others. */
static void *mayfly(void *seed) {
    uint64_t random = (uintptr_t)seed;
    for (size_t i = 0; i < 100; i++) {
        step(&random);
    }
    return NULL;
}

static void *live(void *seed) {
    uint64_t random = (uintptr_t)seed;
    for (size_t i = 0; i < STEPS; i++) {
        step(&random);
        if (random_below(&random, 1000) == 0) {
            CHECK_EQUAL(pthread_join(start_thread(mayfly), NULL), 0);
        }
    }
    return NULL;
}

static void check_all(bool release_too) {
    uint64_t random = 1;
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i] != NULL) {
            check_parcel(slots[i]);
        }
        if (release_too) {
            release(atomic_exchange(&slots[i], NULL), &random);
        }
    }
    CHECK_EQUAL(check_pool(default_pool), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    void *(*find_default_pool)(void);
    look_up_global("hl_default_pool", &find_default_pool);
    look_up_global("hl_pool_check", &check_pool);
    look_up_global("free_sized", &free_with_size);
    look_up_global("cfree", &free_by[2]);
    free_by[0] = free_by[1] = free;
    free_by[3] = free_by_realloc;
    default_pool = find_default_pool();

    size_t before = mallinfo2().uordblks;
    for (size_t generation = 0; goes_on(generation); generation++) {
        run_generation(live);
        check_all(generation % 4 == 3);
    }
    check_all(true);
    /* What libc itself keeps of its threads is not much. */
    CHECK(mallinfo2().uordblks < before + 64 * 1024 + large_waiting());
    return 0;
}
