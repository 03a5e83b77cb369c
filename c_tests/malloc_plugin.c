/*
 * A program in C loads a plugin in C++, and with it a C++ runtime that nobody else can see. When the
 * plugin's memory runs out, its operator new, which is ours, finds that runtime all the same. Without
 * an argument there is no plugin and no runtime.
 */
#include "malloc_check.h"

static void load_and_run(const char *path) {
    void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin != NULL);
    CHECK(dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv") == NULL);
    int (*run)(size_t) = NULL;
    *(void **)&run = dlsym(plugin, "plugin_run");
    CHECK(run != NULL);
    CHECK_EQUAL(run(PTRDIFF_MAX), 15);
    CHECK_EQUAL(dlclose(plugin), 0);
}

/* There is nobody to throw: that is said, and the process ends. */
static void run_out_without_a_runtime(void) {
    void *(*operator_new)(size_t) = NULL;
    *(void **)&operator_new = dlsym(RTLD_DEFAULT, "_Znwm");
    CHECK(operator_new != NULL);
    operator_new(PTRDIFF_MAX);
}

int main(int argc, char **argv) {
    check_that_malloc_is_ours();
    CHECK(dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv") == NULL);
    if (argc == 1) {
        run_out_without_a_runtime();
    }
    for (int turn = 0; turn < 3; turn++) {
        load_and_run(argv[1]);
    }
    return 0;
}
