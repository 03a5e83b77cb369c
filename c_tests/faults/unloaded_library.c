/* A library that holds blocks and a thread-local variable, and is unloaded: see unloaded.c. */
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 100 };

void *library_block(void);
int library_count(void);

static void *kept[BLOCKS];
static _Thread_local int count = 1000;

__attribute__((constructor)) static void load(void) {
    for (size_t i = 0; i < BLOCKS; i++) {
        kept[i] = memset(malloc(i * 50 + 1), 1, i * 50 + 1);
    }
}

/* Not all: some stay with the program. */
__attribute__((destructor)) static void unload(void) {
    for (size_t i = 0; i < BLOCKS; i++) {
        free(kept[i]);
    }
}

/* For the program to release, whenever it likes. */
void *library_block(void) {
    return memset(malloc(3000), 2, 3000);
}

/* The variable lives in memory that the dynamic linker takes from malloc. */
int library_count(void) {
    return ++count;
}
