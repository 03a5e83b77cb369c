/*
 * Every function that hands out or takes back memory is the library's, by each way of asking for it.
 * If one were missing libc would answer it, and its block would reach a `free` that doesn't know it.
 */
#include "malloc_check.h"

#include <malloc.h>

static const char *const functions[] = {
    "malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "aligned_alloc", "memalign",
    "posix_memalign", "valloc", "pvalloc", "malloc_usable_size", "free_sized", "free_aligned_sized",
    "mallopt", "mallinfo", "mallinfo2", "malloc_trim", "malloc_stats", "malloc_info",
    "__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_free", "__libc_memalign",
    "__libc_valloc", "__libc_pvalloc",
    "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t", "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t", "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

static void check_address(void *function) {
    Dl_info info;
    CHECK(dladdr(function, &info) != 0 && strstr(info.dli_fname, "/libheapmaster_malloc.so") != NULL);
}

int main(void) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!is_ours(functions[i])) {
            fprintf(stderr, "%s: from %s\n", functions[i], origin(functions[i]));
            return 1;
        }
    }
    check_address((void *)(uintptr_t)malloc);
    check_address((void *)(uintptr_t)free);
    check_address((void *)(uintptr_t)pvalloc);
    check_address((void *)(uintptr_t)reallocarray);
    /* libc calls ours too, not itself. */
    char *text = strdup("text");
    CHECK(malloc_usable_size(text) >= 5);
    free(text);
    return 0;
}
