/*
 * Loaded by dlopen, the library is a second allocator beside that of the program: both work, in all
 * threads, and it stays when it is closed, since its blocks and handlers do.
 */
#include "malloc_check.h"

#include <pthread.h>
#include <sys/wait.h>

static void *(*second_malloc)(size_t);
static void *(*second_realloc)(void *, size_t);
static void (*second_free)(void *);
static size_t (*second_usable_size)(void *);

static void look_up(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

static void *use_both(void *unused) {
    uint64_t random = (uintptr_t)&random;
    for (int i = 0; i < 20000; i++) {
        size_t size = random_size(&random, 16);
        void *first = malloc(size);
        void *second = second_malloc(size);
        write_pattern(first, size, 1);
        write_pattern(second, size, 2);
        second = second_realloc(second, size + 100);
        CHECK(second_usable_size(second) >= size + 100);
        CHECK(holds_pattern(first, size, 1) && holds_pattern(second, size, 2));
        free(first);
        second_free(second);
    }
    return unused;
}

static void use_both_in_threads(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, use_both, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
    }
}

static void use_both_in_a_child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        use_both(NULL);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv) {
    CHECK_EQUAL(argc, 2);
    CHECK(!is_ours("malloc"));
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    look_up(library, "malloc", &second_malloc);
    look_up(library, "realloc", &second_realloc);
    look_up(library, "free", &second_free);
    look_up(library, "malloc_usable_size", &second_usable_size);
    void *kept = second_malloc(1000);
    use_both_in_threads();
    use_both_in_a_child();

    CHECK_EQUAL(dlclose(library), 0);
    use_both_in_threads();
    use_both_in_a_child();
    CHECK(second_usable_size(kept) >= 1000);
    second_free(kept);
    return 0;
}
