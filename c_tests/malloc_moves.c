/*
 * Large blocks that grow move with their pages: what is in them is there only once, and stays as the program
 * has made it, locked memory among it.
 */
#include "malloc_check.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { KIB = 1 << 10, MIB = 1 << 20, VECTORS = 3, FIRST = 600 * KIB, LAST = 64 * MIB, PAGE = 4 * KIB };

/* KiB that a line of /proc/self/status says. */
static long status_of(const char *key) {
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtol(line + strlen(key), NULL, 10);
        }
    }
    fclose(status);
    CHECK(kib >= 0);
    return kib;
}

/* Whether the system keeps the mapping in memory that holds this address. */
static bool is_locked(const void *address) {
    char line[512];
    bool is_it = false, locked = false;
    FILE *mappings = fopen("/proc/self/smaps", "r");
    CHECK(mappings != NULL);
    while (fgets(line, sizeof line, mappings) != NULL) {
        uintptr_t start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
            is_it = start <= (uintptr_t)address && (uintptr_t)address < end;
        } else if (is_it && strncmp(line, "VmFlags:", 8) == 0) {
            locked = strstr(line, " lo") != NULL;
        }
    }
    fclose(mappings);
    return locked;
}

static void *grown(void *block, size_t size) {
    void *larger = realloc(block, size);
    CHECK(larger != NULL);
    return larger;
}

static void check_that_nothing_is_there_twice(void) {
    long before = status_of("VmRSS:");
    unsigned char *vectors[VECTORS] = {NULL};
    size_t size = 0;
    for (size_t next = FIRST; next <= LAST; next *= 2) {
        for (size_t i = 0; i < VECTORS; i++) {
            vectors[i] = grown(vectors[i], next);
            CHECK(size == 0 || holds_pattern(vectors[i], size, i));
            write_pattern(vectors[i], next, i);
        }
        size = next;
    }
    long bytes = (long)(VECTORS * size / KIB), most = status_of("VmHWM:") - before;
    CHECK(most < bytes + bytes / 4);
    for (size_t i = 0; i < VECTORS; i++) {
        free(vectors[i]);
    }
}

/* One mapping holds both blocks, which lie side by side. */
static void check_that_locked_memory_stays_locked(void) {
    unsigned char *blocks[] = {malloc(MIB), malloc(MIB)};
    for (int i = 0; i < 2; i++) {
        write_pattern(blocks[i], MIB, (unsigned)i);
        if (mlock(blocks[i], MIB) != 0) {
            fprintf(stderr, "skipped: locked memory is limited\n");
            return;
        }
    }
    blocks[0] = grown(blocks[0], 4 * MIB);
    CHECK(is_locked(blocks[1]) && is_locked(blocks[1] + MIB - 1));
    for (int i = 0; i < 2; i++) {
        CHECK(holds_pattern(blocks[i], MIB, (unsigned)i));
        free(blocks[i]);
    }
    CHECK_EQUAL(munlockall(), 0);
}

/* The system has several mappings where a program has said something of a part. */
static void check_that_parts_may_differ(void) {
    unsigned char *block = malloc(FIRST);
    write_pattern(block, FIRST, 1);
    unsigned char *middle = block + FIRST / 2;
    middle -= (uintptr_t)middle % PAGE;
    CHECK_EQUAL(madvise(middle, 16 * PAGE, MADV_DONTDUMP), 0);
    void *behind = malloc(FIRST);
    block = grown(block, 8 * FIRST);
    CHECK(holds_pattern(block, FIRST, 1));
    write_pattern(block, 8 * FIRST, 2);
    free(behind);
    free(block);
}

/* What is mapped later is to be locked: but nothing that a program has not got. */
static void check_that_free_memory_is_not_locked(void) {
    unsigned char *vectors[VECTORS];
    for (size_t i = 0; i < VECTORS; i++) {
        vectors[i] = malloc(MIB);
        write_pattern(vectors[i], MIB, i);
    }
    malloc_trim(0);
    if (mlockall(MCL_FUTURE) != 0) {
        fprintf(stderr, "skipped: locked memory is limited\n");
        return;
    }
    for (size_t size = 2 * MIB; size <= LAST; size *= 2) {
        for (size_t i = 0; i < VECTORS; i++) {
            vectors[i] = grown(vectors[i], size);
            CHECK(holds_pattern(vectors[i], MIB, i));
        }
    }
    CHECK(status_of("VmRSS:") < 2 * VECTORS * (LAST / KIB) / 4);
    for (size_t i = 0; i < VECTORS; i++) {
        free(vectors[i]);
    }
    CHECK_EQUAL(munlockall(), 0);
}

int main(void) {
    check_that_malloc_is_ours();
    check_that_locked_memory_stays_locked();
    check_that_nothing_is_there_twice();
    check_that_parts_may_differ();
    check_that_free_memory_is_not_locked();
    return 0;
}
