/*
 * A library that asks to be initialised first, and so allocates before libheapmaster_malloc.so knows its
 * settings.
 */
#include <stdlib.h>
#include <string.h>

extern void *early_block, *early_block_to_grow;

void *early_block, *early_block_to_grow;

__attribute__((constructor)) static void start(void) {
    early_block = malloc(100);
    early_block_to_grow = memset(malloc(1000), 7, 1000);
}
