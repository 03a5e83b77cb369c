/* malloc and its family do what glibc's do, in what they return, what they write and what they leave. */
#include "malloc_check.h"

#include <malloc.h>

enum { KIB = 1024, MIB = 1024 * KIB, MIN_ALIGNMENT = 16 };

/* C23's, and one that new programs can't link to: libc does not declare them. */
static void (*free_by_size)(void *, size_t);
static void (*free_by_alignment)(void *, size_t, size_t);
static void (*cfree_)(void *);

/* dlsym answers an object pointer; POSIX says that it may be a function's. */
static void look_up(const char *name, void *function) {
    void *address = dlsym(RTLD_DEFAULT, name);
#ifdef ANY_ALLOCATOR
    address = address == NULL ? dlsym(RTLD_DEFAULT, "free") : address;
#endif
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

static size_t next_size(size_t size) {
    return size < 1100 ? size + 1 : size + size / 9;
}

/* A block as each function hands it out: aligned, and ours in all of its length. */
static void *checked(void *block, size_t size, size_t alignment) {
    CHECK(block != NULL);
    CHECK_EQUAL(errno, UNTOUCHED);
    CHECK(is_aligned(block, MIN_ALIGNMENT) && is_aligned(block, alignment));
    size_t usable = malloc_usable_size(block);
    CHECK(usable >= size);
    if (size <= 64 * KIB) {
        memset(block, 0xA5, usable);
    } else {
        memset(block, 0xA5, 4 * KIB);
        memset((char *)block + usable - 4 * KIB, 0xA5, 4 * KIB);
    }
    return block;
}

static void *posix_aligned(size_t alignment, size_t size) {
    void *block = NULL;
    CHECK_EQUAL(posix_memalign(&block, alignment, size), 0);
    return block;
}

/* At every size, from every function; and success leaves errno alone, as free does. */
static void every_function_hands_out_aligned_memory_and_keeps_errno(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    errno = UNTOUCHED;
    for (size_t size = 0; size < 300 * MIB; size = next_size(size)) {
        void *blocks[] = {
            checked(malloc(size), size, 1),
            checked(calloc(size, 1), size, 1),
            checked(calloc(1, size), size, 1),
            checked(realloc(NULL, size), size, 1),
            checked(realloc(malloc(24), size + 1), size + 1, 1),
            checked(reallocarray(NULL, size, 1), size, 1),
            checked(memalign(64, size), size, 64),
            checked(aligned_alloc(256, size), size, 256),
            checked(posix_aligned(4 * KIB, size), size, 4 * KIB),
            checked(valloc(size), size, page),
            checked(pvalloc(size), (size + page - 1) / page * page, page),
        };
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            for (size_t j = 0; j < i; j++) {
                CHECK(blocks[i] != blocks[j]);
            }
        }
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            free(blocks[i]);
            CHECK_EQUAL(errno, UNTOUCHED);
        }
    }
}

static void every_alignment_is_served(void) {
    errno = UNTOUCHED;
    for (size_t alignment = sizeof(void *); alignment <= 64 * MIB; alignment *= 2) {
        for (size_t size = 0; size <= MIB; size = size * 5 + 1) {
            void *one = checked(posix_aligned(alignment, size), size, alignment);
            void *two = checked(aligned_alloc(alignment, size), size, alignment);
            free(one);
            free_by_alignment(two, alignment, size);
        }
    }
    CHECK_EQUAL(errno, UNTOUCHED);
}

static void no_bytes_are_a_block_of_their_own(void) {
    void *one = malloc(0);
    void *two = calloc(0, 8);
    void *three = calloc(8, 0);
    CHECK(one != NULL && two != NULL && three != NULL);
    CHECK(one != two && two != three && three != one);
    free(one);
    free(two);
    free(three);
}

/* Whatever was in the memory before. */
static void calloc_hands_out_zeros(void) {
    for (size_t size = 1; size < 20 * MIB; size += size / 3 + 1) {
        for (int turn = 0; turn < 3; turn++) {
            unsigned char *block = calloc(turn == 1 ? size : 1, turn == 1 ? 1 : size);
            CHECK(block != NULL);
            size_t usable = malloc_usable_size(block);
            for (size_t i = 0; i < size; i++) {
                CHECK(block[i] == 0);
            }
            memset(block, 0xFF, usable);
            free(block);
        }
    }
}

/* In any direction, across all the ways a block can be kept. */
static void realloc_keeps_what_the_block_held(void) {
    uint64_t random = 1;
    for (int turn = 0; turn < 2000; turn++) {
        size_t size = random_size(&random, 21);
        unsigned char *block = malloc(size);
        write_pattern(block, size, (uintptr_t)turn);
        for (int step = 0; step < 5; step++) {
            size_t new_size = random_size(&random, 21) + 1;
            errno = UNTOUCHED;
            block = step % 2 == 0 ? realloc(block, new_size) : reallocarray(block, 1, new_size);
            CHECK(block != NULL && is_aligned(block, MIN_ALIGNMENT));
            CHECK_EQUAL(errno, UNTOUCHED);
            CHECK(malloc_usable_size(block) >= new_size);
            CHECK(holds_pattern(block, size < new_size ? size : new_size, (uintptr_t)turn));
            size = new_size;
            write_pattern(block, size, (uintptr_t)turn);
        }
        free(block);
    }
}

/* By tens of megabytes: where pages may be moved instead of copied. */
static void a_large_block_grows_and_shrinks(void) {
    const size_t sizes[] = {100 * KIB, 40 * MIB, 41 * MIB, 200 * MIB, 3 * MIB, 64 * MIB, 1000, 5 * MIB};
    size_t held = 1000;
    unsigned char *block = malloc(held);
    write_pattern(block, held, 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        block = realloc(block, sizes[i]);
        CHECK(block != NULL);
        CHECK(holds_pattern(block, held < sizes[i] ? held : sizes[i], 7));
        held = sizes[i];
        write_pattern(block, held, 7);
    }
    free(block);
}

/* Resizing to no bytes is releasing, in glibc: a success. */
static void realloc_to_no_bytes_releases(void) {
    for (size_t size = 0; size < 4 * MIB; size = next_size(size) * 2) {
        CHECK_FAILS(realloc(malloc(size), 0), UNTOUCHED);
        CHECK_FAILS(reallocarray(malloc(size), 0, 8), UNTOUCHED);
        CHECK_FAILS(reallocarray(malloc(size), 8, 0), UNTOUCHED);
    }
    void *block = realloc(NULL, 0);
    CHECK(block != NULL);
    free(block);
}

/* Whether they are refused at a glance or the system has to be asked. */
static void impossible_sizes_are_enomem(void) {
    const size_t most = PTRDIFF_MAX;
    const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - 1,     SIZE_MAX - 15, SIZE_MAX - 16,
                            SIZE_MAX - 4095, SIZE_MAX - 4096, SIZE_MAX - 65536, most + 2,
                            most + 1,     most,             most - 1,      most - 4096,
                            most / 2 + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t size = sizes[i];
        CHECK_FAILS(malloc(size), ENOMEM);
        CHECK_FAILS(calloc(size, 1), ENOMEM);
        CHECK_FAILS(calloc(1, size), ENOMEM);
        CHECK_FAILS(realloc(NULL, size), ENOMEM);
        CHECK_FAILS(reallocarray(NULL, 1, size), ENOMEM);
        CHECK_FAILS(valloc(size), ENOMEM);
        CHECK_FAILS(pvalloc(size), ENOMEM);
        for (size_t alignment = 1; alignment < (size_t)1 << 62; alignment *= 4) {
            CHECK_FAILS(memalign(alignment, size), ENOMEM);
            CHECK_FAILS(aligned_alloc(alignment, size), ENOMEM);
        }
    }
    /* The alignment alone is too much, also of a block without bytes. */
    for (int shift = 47; shift < 64; shift++) {
        CHECK_FAILS(memalign((size_t)1 << shift, 0), ENOMEM);
        CHECK_FAILS(aligned_alloc((size_t)1 << shift, 1), ENOMEM);
    }
}

static void a_product_that_overflows_is_enomem(void) {
    const size_t half = unknown((size_t)1 << 32), all = unknown(SIZE_MAX);
    CHECK_FAILS(calloc(half, half), ENOMEM);
    CHECK_FAILS(calloc(half + 1, half), ENOMEM);
    CHECK_FAILS(calloc(all, 2), ENOMEM);
    CHECK_FAILS(calloc(2, all / 2 + 1), ENOMEM);
    CHECK_FAILS(reallocarray(NULL, half, half), ENOMEM);
    char *block = malloc(100);
    strcpy(block, "still here");
    CHECK_FAILS(reallocarray(block, half, half), ENOMEM);
    CHECK_FAILS(reallocarray(block, all / 2, 3), ENOMEM);
    CHECK(strcmp(block, "still here") == 0);
    free(block);
}

static void a_failed_realloc_keeps_the_block(void) {
    for (size_t size = 1; size < 4 * MIB; size = next_size(size) * 2) {
        void *block = malloc(size);
        write_pattern(block, size, size);
        CHECK_FAILS(realloc(block, unknown(SIZE_MAX)), ENOMEM);
        CHECK_FAILS(realloc(block, unknown((size_t)PTRDIFF_MAX + 1)), ENOMEM);
        CHECK_FAILS(realloc(block, unknown(PTRDIFF_MAX)), ENOMEM);
        CHECK(holds_pattern(block, size, size));
        free(block);
    }
}

static void posix_memalign_answers_and_touches_nothing_else(void) {
    const size_t wrong[] = {0, 1, 2, 4, 3, 12, 24, 40, 48, 4097, SIZE_MAX, SIZE_MAX / 2};
    void *const untouched = &free_by_size;
    void *block = untouched;
    errno = UNTOUCHED;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_EQUAL(posix_memalign(&block, wrong[i], 100), EINVAL);
    }
    for (size_t alignment = sizeof(void *); alignment <= (size_t)1 << 62; alignment *= 2) {
        CHECK_EQUAL(posix_memalign(&block, alignment, SIZE_MAX), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, alignment, (size_t)PTRDIFF_MAX + 1), ENOMEM);
        CHECK_EQUAL(posix_memalign(&block, alignment, PTRDIFF_MAX - 4096), ENOMEM);
    }
    CHECK_EQUAL(posix_memalign(&block, (size_t)1 << 63, 1), ENOMEM);
    CHECK(block == untouched);
#ifndef ANY_ALLOCATOR
    CHECK_EQUAL(errno, UNTOUCHED);
#endif
}

static void memalign_rounds_up_odd_alignments(void) {
    errno = UNTOUCHED;
    for (size_t asked = 0; asked < 5000; asked++) {
        size_t alignment = 1;
        while (alignment < asked) {
            alignment *= 2;
        }
        void *one = checked(memalign(asked, 40), 40, alignment);
        void *two = checked(aligned_alloc(asked, 40), 40, alignment);
        free(one);
        free(two);
    }
    CHECK_FAILS(memalign(((size_t)1 << 63) + 1, 1), EINVAL);
    CHECK_FAILS(aligned_alloc(SIZE_MAX, 1), EINVAL);
}

static void every_way_to_release_is_one(void) {
    errno = UNTOUCHED;
    for (size_t size = 0; size < 4 * MIB; size = next_size(size)) {
        free_by_size(malloc(size), size);
        free_by_size(calloc(size, 1), size);
        free_by_size(realloc(malloc(1000), size + 1), size + 1);
        free_by_alignment(aligned_alloc(128, size), 128, size);
        cfree_(malloc(size));
    }
    free(NULL);
    cfree_(NULL);
    free_by_size(NULL, 0);
    free_by_size(NULL, 100);
    free_by_alignment(NULL, 64, 100);
    CHECK_EQUAL(malloc_usable_size(NULL), 0);
    CHECK_EQUAL(errno, UNTOUCHED);
}

/* Also where releasing gives pages back to the system, one after another. */
static void free_keeps_errno_for_whatever_was_allocated(void) {
    enum { COUNT = 1000 };
    static void *blocks[COUNT];
    for (size_t size = 1; size <= 256 * KIB; size *= 8) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = malloc(size);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], i, size);
        }
        for (int i = 0; i < COUNT; i++) {
            errno = UNTOUCHED + i;
            free(blocks[i]);
            CHECK_EQUAL(errno, UNTOUCHED + i);
        }
    }
}

/* libc's own blocks are ours to release. */
static void blocks_from_libc_are_ours(void) {
    char *line = NULL, *text = NULL;
    size_t length = 0;
    FILE *file = tmpfile();
    CHECK(file != NULL && fprintf(file, "%0300d\n", 5) == 301);
    rewind(file);
    CHECK(getline(&line, &length, file) == 301);
    CHECK_EQUAL(fclose(file), 0);
    CHECK(asprintf(&text, "%s %s", line, "more") > 301);
    free(text);
    free(line);
    free(strdup("text"));
    free(realpath("/", NULL));
    FILE *stream = open_memstream(&text, &length);
    for (int i = 0; i < 10000; i++) {
        fprintf(stream, "%d ", i);
    }
    CHECK_EQUAL(fclose(stream), 0);
    CHECK(length == 48890 && malloc_usable_size(text) > length);
    free(text);
}

int main(void) {
    check_that_malloc_is_ours();
    look_up("free_sized", &free_by_size);
    look_up("free_aligned_sized", &free_by_alignment);
    look_up("cfree", &cfree_);
    every_function_hands_out_aligned_memory_and_keeps_errno();
    every_alignment_is_served();
    no_bytes_are_a_block_of_their_own();
    calloc_hands_out_zeros();
    realloc_keeps_what_the_block_held();
    a_large_block_grows_and_shrinks();
    realloc_to_no_bytes_releases();
    impossible_sizes_are_enomem();
    a_product_that_overflows_is_enomem();
    a_failed_realloc_keeps_the_block();
    posix_memalign_answers_and_touches_nothing_else();
    memalign_rounds_up_odd_alignments();
    every_way_to_release_is_one();
    free_keeps_errno_for_whatever_was_allocated();
    blocks_from_libc_are_ours();
    return 0;
}
