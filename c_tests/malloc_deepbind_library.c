/* A library that allocates for others, and releases what others have allocated. */
#include <stdlib.h>

void *deepbind_make(void);
void deepbind_take(void *block);
void *(*deepbind_malloc(void))(size_t);

void *deepbind_make(void) { return malloc(100); }
void deepbind_take(void *block) { free(block); }

void *(*deepbind_malloc(void))(size_t) { return malloc; }
