/*
 * libheapmaster.so is opened and closed a thousand times, and used by several threads meanwhile. Neither memory nor
 * address space gets less, nor room for thread-local variables; and blocks of the default pool are there still.
 */
#include "../malloc_check.h"

#include <heapmaster.h>
#include <pthread.h>

enum { KIB = 1024, MIB = 1024 * KIB, TIMES = 1000, SETTLED = 100 };

/* A function of heapmaster.h out of a library. */
#define IN(library, function) (__extension__(__typeof__(&function)) dlsym(library, #function))

static void use_pool(void *library, hl_pool *pool) {
    void *blocks[32];
    for (size_t i = 0; i < 32; i++) {
        blocks[i] = IN(library, hl_alloc)(pool, i * i * 100 + 1);
        CHECK(blocks[i] != NULL);
        write_pattern(blocks[i], i * i * 100 + 1, i);
    }
    CHECK_EQUAL(IN(library, hl_pool_check)(pool), HL_OK);
    for (size_t i = 0; i < 32; i++) {
        CHECK(holds_pattern(blocks[i], i * i * 100 + 1, i));
        CHECK_EQUAL(IN(library, hl_release)(pool, blocks[i]), HL_OK);
    }
}

static void *use_default_pool(void *library) {
    use_pool(library, IN(library, hl_default_pool)());
    return NULL;
}

int main(int argc, char **argv) {
    CHECK_EQUAL(argc, 2);
    size_t space = 0, in_memory = 0;
    void *kept = NULL;
    for (int i = 0; i < TIMES; i++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            check_failed(__FILE__, __LINE__, dlerror(), "");
        }
        if (i % 10 == 0) {
            hl_pool *pool = IN(library, hl_pool_new)();
            CHECK(pool != NULL);
            CHECK_EQUAL(IN(library, hl_add_system_heap)(pool, 16 * MIB), HL_OK);
            use_pool(library, pool);
            CHECK_EQUAL(IN(library, hl_pool_delete)(pool), HL_OK);
        }
        use_default_pool(library);
        hl_pool *default_pool = IN(library, hl_default_pool)();
        if (i == 0) {
            kept = IN(library, hl_alloc)(default_pool, 1000);
            write_pattern(kept, 1000, 1);
        }
        CHECK(IN(library, hl_owns)(default_pool, kept) && holds_pattern(kept, 1000, 1));
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, use_default_pool, library), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
        CHECK_EQUAL(dlclose(library), 0);
        if (i == SETTLED) {
            space = address_space();
            in_memory = resident();
        }
    }
    CHECK_EQUAL(address_space(), space);
    CHECK(resident() <= in_memory + MIB);
    return 0;
}
