/*
 * A library is loaded with RTLD_DEEPBIND, so that it would find libc's malloc before ours: blocks go to it and come
 * from it all the same. It is found where the program, and not the library in between, looks for libraries.
 */
#include "malloc_check.h"

static void *function(void *library, const char *name) {
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    return found;
}

static bool finds_our_malloc(void *library) {
    void *(*(*found)(void))(size_t) = NULL;
    *(void **)&found = function(library, "deepbind_malloc");
    return found() == malloc;
}

int main(int argc, char **argv) {
    CHECK_EQUAL(argc, 2);
    check_that_malloc_is_ours();
    const char *name = strrchr(argv[1], '/') + 1;
    const char *setting = getenv("HEAPMASTER_DEEPBIND");
    if (setting != NULL && strcmp(setting, "keep") == 0) {
        CHECK(!finds_our_malloc(dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)));
        return 0;
    }
    for (int round = 0; round < 2; round++) {
        void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
        CHECK(library != NULL);
        void *(*make)(void) = NULL;
        void (*take)(void *) = NULL;
        *(void **)&make = function(library, "deepbind_make");
        *(void **)&take = function(library, "deepbind_take");
        free(make());
        take(malloc(100));
        take(make());
        CHECK(finds_our_malloc(library));
        CHECK_EQUAL(dlclose(library), 0);
    }
    CHECK(dlopen("there is no such library", RTLD_NOW | RTLD_DEEPBIND) == NULL);
    CHECK(dlerror() != NULL);
    return 0;
}
