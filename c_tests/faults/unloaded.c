/*
 * A library that holds blocks is loaded and unloaded a thousand times, by turns in the main thread and in others:
 * what it has handed out outlives it, and nothing is left of it, not in the pool nor in the address space.
 */
#include "default_pool.h"

#include <pthread.h>

enum { TIMES = 1000, SETTLED = 100 };

static const char *library_path;

static void *load_and_unload(void *unused) {
    void *library = dlopen(library_path, RTLD_NOW);
    if (library == NULL) {
        check_failed(__FILE__, __LINE__, dlerror(), "");
    }
    void *(*library_block)(void) = NULL;
    int (*library_count)(void) = NULL;
    *(void **)&library_block = dlsym(library, "library_block");
    *(void **)&library_count = dlsym(library, "library_count");
    CHECK(library_block != NULL && library_count != NULL);
    CHECK_EQUAL(library_count(), 1001);
    unsigned char *block = library_block();
    CHECK_EQUAL(dlclose(library), 0);
    CHECK(dlopen(library_path, RTLD_NOW | RTLD_NOLOAD) == NULL);
    CHECK(block[0] == 2 && block[2999] == 2);
    free(block);
    return unused;
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    library_path = argv[1];
    size_t live = 0, space = 0, used = 0;
    for (int i = 0; i < TIMES; i++) {
        if (i % 2 == 0) {
            load_and_unload(NULL);
        } else {
            pthread_t thread;
            CHECK_EQUAL(pthread_create(&thread, NULL, load_and_unload, NULL), 0);
            CHECK_EQUAL(pthread_join(thread, NULL), 0);
        }
        if (i == SETTLED) {
            live = default_pool_stats().live_blocks;
            used = default_pool_stats().used_bytes;
            space = address_space();
        }
    }
    CHECK(default_pool_stats().live_blocks <= live);
    CHECK(default_pool_stats().used_bytes <= used + used / 10);
    CHECK_EQUAL(address_space(), space);
    check_default_pool();
    return 0;
}
