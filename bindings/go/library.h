// The C ABI out of the shared library that is found when the program runs.
//
// Each function that can fail says why in the same call: the library keeps that for each thread, and Go may go
// on in another one. What the library's function of the same name does is in heapmaster.h.
#ifndef HEAPMASTER_GO_LIBRARY_H
#define HEAPMASTER_GO_LIBRARY_H

#include <heapmaster.h>

typedef struct failure {
    hl_status status;
    char message[512];
} failure;

// NULL, or why the library can't be used; then only the three functions that return texts can be called.
const char *library_load(void);

const char *library_version(void);
const char *library_status_name(int32_t status);
const char *library_status_message(int32_t status);

hl_pool *library_pool_new_with(uint32_t flags, failure *failure);
void library_pool_delete(hl_pool *pool, failure *failure);
void library_pool_set_limit(hl_pool *pool, size_t bytes, failure *failure);
void library_pool_stats(hl_pool *pool, hl_pool_statistics *statistics, failure *failure);
void library_pool_check(hl_pool *pool, failure *failure);
// Calls visitBlock, which is Go, with the context.
void library_pool_walk(hl_pool *pool, uintptr_t context, failure *failure);

void library_add_heap(hl_pool *pool, void *memory, size_t size, failure *failure);
void library_add_system_heap(hl_pool *pool, size_t max_size, failure *failure);

void *library_alloc(hl_pool *pool, size_t size, failure *failure);
void *library_alloc_zeroed(hl_pool *pool, size_t size, failure *failure);
void *library_alloc_aligned(hl_pool *pool, size_t alignment, size_t size, failure *failure);
void *library_resize(hl_pool *pool, void *block, size_t size, failure *failure);
void library_release(hl_pool *pool, void *block, failure *failure);
size_t library_usable_size(hl_pool *pool, void *block, failure *failure);
bool library_owns(hl_pool *pool, uintptr_t address);

#endif
