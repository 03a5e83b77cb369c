/* The pool behind malloc, for programs that are not linked to it: its functions are found by name. */
#ifndef DEFAULT_POOL_H
#define DEFAULT_POOL_H

#include "../malloc_check.h"

#include <heapmaster.h>

/* A function of heapmaster.h. */
#define POOL(function) (__extension__(__typeof__(&function)) found(#function))

static inline void *found(const char *function) {
    void *address = dlsym(RTLD_DEFAULT, function);
    CHECK(address != NULL);
    return address;
}

static inline hl_pool *default_pool(void) {
    return POOL(hl_default_pool)();
}

static inline void check_default_pool(void) {
    CHECK_EQUAL(POOL(hl_pool_check)(default_pool()), HL_OK);
}

static inline hl_pool_statistics default_pool_stats(void) {
    hl_pool_statistics statistics;
    statistics.struct_size = sizeof statistics;
    CHECK_EQUAL(POOL(hl_pool_stats)(default_pool(), &statistics), HL_OK);
    return statistics;
}

#endif
