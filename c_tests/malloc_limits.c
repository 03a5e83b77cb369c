/*
 * When the address space runs out, or with the argument "data" what may be written to, malloc says ENOMEM; and
 * when memory is released, all is well again. The program limits itself and starts anew, so that the limit
 * holds from the first allocation; with the argument "in mid-flight" it does not start anew.
 */
#include "malloc_check.h"

#include <sys/resource.h>

enum { KIB = 1024, MIB = 1024 * KIB, LIMIT = 512 * MIB };

static void limit_memory(bool only_data) {
    struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = LIMIT};
    CHECK_EQUAL(setrlimit(only_data ? RLIMIT_DATA : RLIMIT_AS, &limit), 0);
}

/* A list through the blocks themselves: there is no other memory to keep it in. */
typedef struct node {
    struct node *next;
} node;

static void check_that_so_much_is_refused(size_t size, void *block) {
    CHECK_FAILS(malloc(size), ENOMEM);
    CHECK_FAILS(calloc(size, 2), ENOMEM);
    CHECK_FAILS(aligned_alloc(4096, size), ENOMEM);
    if (block != NULL) {
        CHECK_FAILS(realloc(block, size), ENOMEM);
    }
    void *untouched = NULL;
    errno = UNTOUCHED;
    CHECK_EQUAL(posix_memalign(&untouched, 64, size), ENOMEM);
    CHECK(untouched == NULL);
#ifndef ANY_ALLOCATOR
    CHECK_EQUAL(errno, UNTOUCHED);
#endif
}

/* Allocates to the end, checks how it ends, and releases all. The number of bytes it came to. */
static size_t exhaust(size_t size, bool limited_from_the_start) {
    node *list = NULL;
    size_t count = 0;
    errno = UNTOUCHED;
    while (count * size < LIMIT) {
        node *block = malloc(size);
        if (block == NULL) {
            CHECK_EQUAL(errno, ENOMEM);
            break;
        }
        CHECK_EQUAL(errno, UNTOUCHED);
        block->next = list;
        list = block;
        count++;
    }
    /* What was reserved before there was a limit stays usable. */
    if (limited_from_the_start) {
        check_that_so_much_is_refused(LIMIT, list);
    }
    for (size_t i = 0; i < count; i++) {
        node *next = list->next;
        errno = UNTOUCHED;
        free(list);
        CHECK_EQUAL(errno, UNTOUCHED);
        list = next;
    }
    return count * size;
}

/* Books of memory that nobody has needed yet can only be read: a limit of what may be written to, mlockall, and the dump
 * of a process leave them out. */
static void check_that_little_can_be_written_to(void) {
    long pages, writable;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK_EQUAL(fscanf(file, "%ld %*d %*d %*d %*d %ld", &pages, &writable), 2);
    CHECK_EQUAL(fclose(file), 0);
    CHECK(writable <= pages / 100);
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    bool only_data = argc > 1 && strcmp(argv[1], "data") == 0;
    bool in_mid_flight = argc > 1 && !only_data;
    if (getenv("MALLOC_LIMITS_SET") == NULL && !in_mid_flight) {
        CHECK_EQUAL(setenv("MALLOC_LIMITS_SET", "1", 1), 0);
        limit_memory(only_data);
        execv("/proc/self/exe", argv);
        CHECK(!"executed");
    }
    if (in_mid_flight) {
        free(malloc(MIB));
        check_that_little_can_be_written_to();
        limit_memory(only_data);
    }
    /* Under the limit half of it can be had, whatever was asked for before; armours take up to as much again. */
    const size_t least = is_hardened() ? LIMIT / 4 : LIMIT / 2;
    const size_t sizes[] = {64 * KIB, 16 * MIB, 1000, 100 * KIB, 64 * MIB, 5000, 64, MIB,
                            200000,   5000,     MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t served = exhaust(sizes[i], !in_mid_flight);
        if (served < least) {
            fprintf(stderr, "blocks of %zu bytes: only %zu KiB\n", sizes[i], served / KIB);
            return 1;
        }
    }
    return 0;
}
