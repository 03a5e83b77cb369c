/*
 * What the programs share that test libheapmaster_malloc.so. Unlike those that use check.h they know
 * nothing of HeapMaster: each runs linked to the library and preloaded with it, and does only what
 * any program may do. They are compiled with -fno-builtin, so that the compiler does not reason about
 * calls of malloc and leave some out.
 */
#ifndef MALLOC_CHECK_H
#define MALLOC_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check_basics.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A call returns NULL and leaves this errno. */
#define CHECK_FAILS(call, error) \
    do { \
        errno = UNTOUCHED; \
        CHECK((call) == NULL); \
        CHECK_EQUAL(errno, (error)); \
    } while (0)

/* No call sets errno to this. */
enum { UNTOUCHED = 4711 };

/* Printed by hand: stdio may be what is being tested. `_exit`, since exit handlers may be too. */
static inline void check_failed(const char *file, int line, const char *what, const char *values) {
    char text[512];
    int length = snprintf(text, sizeof text, "%s:%d: %s%s (errno %d)\n", file, line, what, values,
                          errno);
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0) {
        _exit(2);
    }
    _exit(1);
}

/* The file that defines a function which this program would call by this name. */
static inline const char *origin(const char *function) {
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, function);
    return address != NULL && dladdr(address, &info) != 0 ? info.dli_fname : "nowhere";
}

static inline bool is_ours(const char *function) {
    return strstr(origin(function), "/libheapmaster_malloc.so") != NULL;
}

/* Else the test would be one of glibc. ANY_ALLOCATOR lets it be just that, to compare. */
static inline void check_that_malloc_is_ours(void) {
#ifndef ANY_ALLOCATOR
    CHECK(is_ours("malloc") && is_ours("free"));
#endif
}

/* In the hardened mode blocks have an armour, and their memory waits before it is free. */
static inline bool is_hardened(void) {
    const char *value = getenv("HEAPMASTER_HARDENED");
    return value != NULL && strcmp(value, "yes") == 0;
}

/* The most bytes of small blocks that a thread's waiting memory may have. */
static inline size_t waiting(void) {
    return is_hardened() ? 256 << 10 : 0;
}

/* A number that the compiler does not know, so that it doesn't warn of what a test is about. */
static inline size_t unknown(size_t number) {
    volatile size_t hidden = number;
    return hidden;
}

/* Each seed writes bytes of its own, so that blocks that overlap can't both be intact. */
static inline unsigned char pattern_byte(uintptr_t seed, size_t index) {
    return (unsigned char)((seed * 0x9E3779B97F4A7C15u >> 56) + index * 7);
}

static inline void write_pattern(void *block, size_t size, uintptr_t seed) {
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern_byte(seed, i);
    }
}

static inline bool holds_pattern(const void *block, size_t size, uintptr_t seed) {
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != pattern_byte(seed, i)) {
            return false;
        }
    }
    return true;
}

static inline bool is_aligned(const void *block, size_t alignment) {
    return (uintptr_t)block % alignment == 0;
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

/* A figure of the process in pages, of statm(5); not by stdio, which allocates. */
static inline size_t bytes_of_statm(int field) {
    char text[128] = {0};
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0 && read(file, text, sizeof text - 1) > 0);
    close(file);
    char *number = text;
    while (field-- > 0) {
        strtoul(number, &number, 10);
    }
    return strtoul(number, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Bytes of address space that the process has. */
static inline size_t address_space(void) {
    return bytes_of_statm(0);
}

/* Bytes of the process that are in memory. */
static inline size_t resident(void) {
    return bytes_of_statm(1);
}

/* Threads of the process, those that libc doesn't know among them. */
static inline int threads_of_this_process(void) {
    int threads = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "Threads: %d", &threads);
    }
    fclose(file);
    return threads;
}

/* Stores a function that some library of the program exports, also one that the program doesn't link to. */
static inline void look_up_global(const char *name, void *function) {
    void *address = dlsym(RTLD_DEFAULT, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

#endif
