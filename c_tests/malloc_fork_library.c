/*
 * A library that works on fork, as some do: its handlers allocate and release. Its constructor
 * registers them, and at that time a preloaded library may not have been initialised yet.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern int fork_library_calls;

/* How often a handler has run in this process. */
int fork_library_calls;

static void *kept[64];

static void handler(void) {
    for (int i = 0; i < 64; i++) {
        free(kept[i]);
        kept[i] = malloc((size_t)i * i * 40 + 1);
        if (kept[i] == NULL) {
            abort();
        }
        memset(kept[i], i, (size_t)i * i * 40 + 1);
    }
    fork_library_calls++;
}

__attribute__((constructor)) static void start(void) {
    pthread_atfork(handler, handler, handler);
}
