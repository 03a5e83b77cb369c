/* malloc is HeapMaster's, whether the program was linked with it or runs with it preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <heapmaster.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    /* By name, so that the program needs no library to be linked. */
    __typeof__(&hl_default_pool) default_pool =
        (__typeof__(&hl_default_pool))dlsym(RTLD_DEFAULT, "hl_default_pool");
    __typeof__(&hl_owns) owns = (__typeof__(&hl_owns))dlsym(RTLD_DEFAULT, "hl_owns");
    if (default_pool == NULL || owns == NULL) {
        return 1;
    }
    char *ours = malloc(100), *libcs = strdup("text");
    if (!owns(default_pool(), ours) || !owns(default_pool(), libcs)) {
        return 2;
    }
    free(ours);
    free(libcs);
    return 0;
}
