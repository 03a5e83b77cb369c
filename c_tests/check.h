/*
 * What the C programs share: checks that say where and why they failed, patterns that prove that a
 * block still holds what its owner wrote, and a source of random numbers that is the same every time.
 */
#ifndef CHECK_H
#define CHECK_H

#include "check_basics.h"

#include <errno.h>
#include <heapmaster.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call that returns a status returns this one; a failure prints both by name. */
#define CHECK_STATUS(call, expected) \
    check_status(__FILE__, __LINE__, #call " == " #expected, (call), (expected))

/* A call returns NULL (or 0) and leaves this status and this errno. */
#define CHECK_FAILS(call, status, error) \
    do { \
        errno = 0; \
        CHECK(!(call)); \
        CHECK_EQUAL(errno, (error)); \
        CHECK_STATUS(hl_last_error(), (status)); \
    } while (0)

/* The pool holds what it held when `before` was taken, and is sound. */
#define CHECK_UNCHANGED(pool, before) check_unchanged(__FILE__, __LINE__, (pool), (before))

static inline void check_failed(const char *file, int line, const char *what, const char *values) {
    fprintf(stderr, "%s:%d: %s%s\n    last error: %s: %s\n", file, line, what, values,
            hl_status_name(hl_last_error()), hl_last_error_message());
    exit(1);
}

static inline void check_status(const char *file, int line, const char *what, hl_status actual,
                                hl_status expected) {
    if (actual != expected) {
        char values[128];
        snprintf(values, sizeof values, ", but it is %s", hl_status_name(actual));
        check_failed(file, line, what, values);
    }
}

static inline hl_pool_statistics pool_stats(hl_pool *pool) {
    hl_pool_statistics statistics = {.struct_size = sizeof statistics};
    CHECK_STATUS(hl_pool_stats(pool, &statistics), HL_OK);
    return statistics;
}

static inline hl_heap_statistics heap_stats(hl_pool *pool, const void *memory) {
    hl_heap_statistics statistics = {.struct_size = sizeof statistics};
    CHECK_STATUS(hl_heap_stats(pool, memory, &statistics), HL_OK);
    return statistics;
}

static inline void check_unchanged(const char *file, int line, hl_pool *pool,
                                   hl_pool_statistics before) {
    hl_pool_statistics after = pool_stats(pool);
#define CHECK_FIELD(field) check_equal(file, line, "unchanged " #field, after.field, before.field)
    CHECK_FIELD(heaps);
    CHECK_FIELD(capacity_bytes);
    CHECK_FIELD(metadata_bytes);
    CHECK_FIELD(used_bytes);
    CHECK_FIELD(peak_used_bytes);
    CHECK_FIELD(free_bytes);
    CHECK_FIELD(largest_free_block);
    CHECK_FIELD(live_blocks);
    CHECK_FIELD(live_bytes);
    CHECK_FIELD(allocations);
    CHECK_FIELD(releases);
    CHECK_FIELD(limit);
#undef CHECK_FIELD
}

/* Each seed writes bytes of its own, so that blocks that overlap can't both be intact. */
static inline unsigned char pattern_byte(uintptr_t seed, size_t index) {
    return (unsigned char)((seed * 0x9E3779B97F4A7C15u >> 56) + index * 7);
}

static inline void write_pattern(void *block, size_t size, uintptr_t seed) {
    unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_byte(seed, i);
    }
}

static inline bool holds_pattern(const void *block, size_t size, uintptr_t seed) {
    const unsigned char *bytes = block;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != pattern_byte(seed, i)) {
            return false;
        }
    }
    return true;
}

static inline bool holds_only(const void *memory, size_t size, unsigned char byte) {
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != byte) {
            return false;
        }
    }
    return true;
}

static inline bool lies_in(const void *block, size_t size, const void *region, size_t region_size) {
    uintptr_t offset = (uintptr_t)block - (uintptr_t)region;
    return offset <= region_size && size <= region_size - offset;
}

/* The first address from `memory` on that is a multiple of `alignment`, a power of two. */
static inline unsigned char *align_up(unsigned char *memory, size_t alignment) {
    return memory + (-(uintptr_t)memory & (alignment - 1));
}

/* xorshift64*: the same numbers on every machine. `state` starts at anything but 0. */
static inline size_t random_below(uint64_t *state, size_t bound) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (size_t)((*state * 0x2545F4914F6CDD1Du) >> 33) % bound;
}

/* Every magnitude is as likely as every other: most blocks are small, some are large. */
static inline size_t random_size(uint64_t *state, unsigned bits) {
    return random_below(state, (size_t)1 << random_below(state, bits + 1));
}

static inline bool fewer_rounds(void) {
    return getenv("HEAPMASTER_TEST_FEWER_ROUNDS") != NULL;
}

/* How often to repeat: less where each instruction costs fifty, as under valgrind. */
static inline size_t rounds(size_t usual) {
    return fewer_rounds() ? usual / 25 + 1 : usual;
}

#endif
