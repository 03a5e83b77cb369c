/*
 * A program that wraps the allocator of libc, to count, by the names that libc has for its own use: they
 * lead to the library too, and the library does not come back to the wrappers.
 */
#include "malloc_check.h"

#include <malloc.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static int allocations, releases;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    allocations += block == NULL;
    releases += block != NULL && size == 0;
    return __libc_realloc(block, size);
}

void free(void *block) {
    releases += block != NULL;
    __libc_free(block);
}

int main(void) {
#ifndef ANY_ALLOCATOR
    CHECK(is_ours("__libc_malloc") && is_ours("__libc_free") && is_ours("memalign"));
#endif
    CHECK(!is_ours("malloc"));
    int before = allocations - releases;
    for (size_t size = 0; size < 100000; size += 99) {
        free(malloc(size));
        free(calloc(1, size));
        free(realloc(malloc(size), size + 100));
        CHECK_FAILS(realloc(realloc(NULL, size), 0), UNTOUCHED);
        free(strdup("text"));
        allocations += 2;
        free(__libc_memalign(64, size));
        free(valloc(size));
    }
    CHECK_FAILS(malloc(unknown(SIZE_MAX)), ENOMEM);
    CHECK_EQUAL(allocations - releases, before + 1);
    return 0;
}
