#include "library.h"
#include "_cgo_export.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTIONS(use) \
    use(hl_version) use(hl_status_name) use(hl_status_message) use(hl_last_error) use(hl_last_error_message) \
    use(hl_pool_new_with) use(hl_pool_delete) use(hl_pool_set_limit) use(hl_pool_stats) use(hl_pool_check) \
    use(hl_pool_walk) use(hl_add_heap) use(hl_add_system_heap) use(hl_alloc) use(hl_alloc_zeroed) \
    use(hl_alloc_aligned) use(hl_resize) use(hl_release) use(hl_usable_size) use(hl_owns)

// The library's functions, each with the type that the header gives it.
static struct {
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
} library;

const char *library_load(void) {
    const char *path = getenv("HEAPMASTER_LIBRARY");
    void *handle = dlopen(path && *path ? path : "libheapmaster.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return dlerror();
#define FIND(name) \
    if (!(library.name = (__typeof__(&name))dlsym(handle, #name))) \
        return dlerror();
    FUNCTIONS(FIND)
    return NULL;
}

static void fail(failure *failure) {
    failure->status = library.hl_last_error();
    snprintf(failure->message, sizeof failure->message, "%s", library.hl_last_error_message());
}

static void succeed(hl_status status, failure *failure) {
    if (status != HL_OK)
        fail(failure);
}

static void *not_null(void *pointer, failure *failure) {
    if (!pointer)
        fail(failure);
    return pointer;
}

const char *library_version(void) {
    return library.hl_version ? library.hl_version() : "";
}

const char *library_status_name(int32_t status) {
    return library.hl_status_name ? library.hl_status_name(status) : "";
}

const char *library_status_message(int32_t status) {
    return library.hl_status_message ? library.hl_status_message(status) : "";
}

hl_pool *library_pool_new_with(uint32_t flags, failure *failure) {
    hl_config config = {.struct_size = sizeof config, .flags = flags};
    return not_null(library.hl_pool_new_with(&config), failure);
}

void library_pool_delete(hl_pool *pool, failure *failure) {
    succeed(library.hl_pool_delete(pool), failure);
}

void library_pool_set_limit(hl_pool *pool, size_t bytes, failure *failure) {
    succeed(library.hl_pool_set_limit(pool, bytes), failure);
}

void library_pool_stats(hl_pool *pool, hl_pool_statistics *statistics, failure *failure) {
    succeed(library.hl_pool_stats(pool, statistics), failure);
}

void library_pool_check(hl_pool *pool, failure *failure) {
    succeed(library.hl_pool_check(pool), failure);
}

static bool visit(const hl_block_info *block, void *context) {
    visitBlock((hl_block_info *)block, (uintptr_t)context);
    return true;
}

void library_pool_walk(hl_pool *pool, uintptr_t context, failure *failure) {
    succeed(library.hl_pool_walk(pool, visit, (void *)context), failure);
}

void library_add_heap(hl_pool *pool, void *memory, size_t size, failure *failure) {
    succeed(library.hl_add_heap(pool, memory, size), failure);
}

void library_add_system_heap(hl_pool *pool, size_t max_size, failure *failure) {
    succeed(library.hl_add_system_heap(pool, max_size), failure);
}

void *library_alloc(hl_pool *pool, size_t size, failure *failure) {
    return not_null(library.hl_alloc(pool, size), failure);
}

void *library_alloc_zeroed(hl_pool *pool, size_t size, failure *failure) {
    return not_null(library.hl_alloc_zeroed(pool, 1, size), failure);
}

void *library_alloc_aligned(hl_pool *pool, size_t alignment, size_t size, failure *failure) {
    return not_null(library.hl_alloc_aligned(pool, alignment, size), failure);
}

void *library_resize(hl_pool *pool, void *block, size_t size, failure *failure) {
    return not_null(library.hl_resize(pool, block, size), failure);
}

void library_release(hl_pool *pool, void *block, failure *failure) {
    succeed(library.hl_release(pool, block), failure);
}

size_t library_usable_size(hl_pool *pool, void *block, failure *failure) {
    size_t size = library.hl_usable_size(pool, block);
    if (size == 0)
        fail(failure);
    return size;
}

bool library_owns(hl_pool *pool, uintptr_t address) {
    return library.hl_owns(pool, (const void *)address);
}
