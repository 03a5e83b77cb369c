/*
 * A callback of the pool behind malloc is called with no lock held, whatever the program was allocating: it may
 * allocate, and fork.
 */
#include "malloc_check.h"

#include <sys/wait.h>

enum { LIMIT = 16 << 20, BLOCKS = 40000 };

static int calls;

static void on_low_memory(void *pool, size_t free_bytes, void *context) {
    (void)pool, (void)free_bytes, (void)context;
    calls++;
    void *block = malloc(100);
    CHECK(block != NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free(block);
        free(malloc(200));
        _exit(0);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    free(block);
}

int main(void) {
    check_that_malloc_is_ours();
    void *(*default_pool)(void);
    int (*set_limit)(void *, size_t);
    int (*set_callback)(void *, size_t, void (*)(void *, size_t, void *), void *);
    look_up_global("hl_default_pool", &default_pool);
    look_up_global("hl_pool_set_limit", &set_limit);
    look_up_global("hl_pool_set_low_memory_callback", &set_callback);
    static void *blocks[BLOCKS];
    /* At whatever call: each threshold is passed by another one. */
    for (size_t threshold = LIMIT; threshold > LIMIT / 4; threshold -= LIMIT / 64) {
        int before = calls;
        CHECK_EQUAL(set_limit(default_pool(), LIMIT), 0);
        CHECK_EQUAL(set_callback(default_pool(), threshold, on_low_memory, NULL), 0);
        for (size_t i = 0; i < BLOCKS && calls == before; i++) {
            blocks[i] = malloc(16 + i * 48 % 1000);
            CHECK(blocks[i] != NULL);
        }
        CHECK(calls > before);
        CHECK_EQUAL(set_callback(default_pool(), 0, NULL, NULL), 0);
        for (size_t i = 0; i < BLOCKS; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    }
    return 0;
}
