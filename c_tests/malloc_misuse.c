/*
 * One wrong call, chosen by the argument. Standard output tells the pointer before the call, and that
 * the program went on after it, with an allocator that still works.
 */
#include "malloc_check.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

enum { SMALL = 40, LARGE = 3 * 1024 * 1024 };

static size_t static_words[4];

/* Tells what is about to be misused. */
static void *told(void *pointer) {
    printf("%p\n", pointer);
    fflush(stdout);
    return pointer;
}

/* The compiler must not know that this pointer is no good. */
static void *unknown_pointer(void *pointer) {
    return (void *)unknown((size_t)pointer);
}

static void *released(size_t size) {
    void *block = unknown_pointer(malloc(size));
    CHECK(block != NULL);
    free((void *)unknown((size_t)block));
    return block;
}

static void *inside(size_t size, size_t offset) {
    return (char *)unknown_pointer(malloc(size)) + offset;
}

/* Memory from another allocator of the program's own. */
static void *foreign(void) {
    void *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return (char *)memory + 64;
}

static void double_free(void) {
    free(told(released(SMALL)));
}

static void double_free_large(void) {
    free(told(released(LARGE)));
}

/* The block lies in a cache of the thread, and others have been released after it. */
static void double_free_later(void) {
    void *first = told(released(SMALL));
    void *others[100];
    for (int i = 0; i < 100; i++) {
        others[i] = malloc(SMALL + 1000 * (size_t)(i % 3));
    }
    for (int i = 0; i < 100; i++) {
        free(others[i]);
    }
    free(first);
}

static void *freeing(void *block) {
    free(block);
    return NULL;
}

static void free_in_other_thread(void *block) {
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, freeing, block), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

/* Nobody has collected yet what the other thread has released. */
static void double_free_after_other_thread(void) {
    void *block = told(unknown_pointer(malloc(SMALL)));
    free_in_other_thread(block);
    free(block);
}

static void double_free_by_other_thread(void) {
    free_in_other_thread(told(released(SMALL)));
}

static void double_free_by_two_other_threads(void) {
    void *block = told(unknown_pointer(malloc(SMALL)));
    free_in_other_thread(block);
    free_in_other_thread(block);
}

static void free_inside_by_other_thread(void) {
    free_in_other_thread(told(inside(SMALL, 16)));
}

static void free_inside(void) {
    free(told(inside(SMALL, 16)));
}

static void free_inside_by_one(void) {
    free(told(inside(SMALL, 1)));
}

/* Where the header of a checked block is. */
static void free_before(void) {
    free(told((char *)malloc(SMALL) - 16));
}

/* The same, where the header says nothing any more. */
static void free_before_overwritten(void) {
    char *header = (char *)malloc(SMALL) - 16, kept[16];
    memcpy(kept, header, sizeof kept);
    memset(header, 'A', sizeof kept);
    free(told(header));
    memcpy(header, kept, sizeof kept);
}

static void realloc_before(void) {
    CHECK_FAILS(realloc(told((char *)malloc(SMALL) - 16), 10), EINVAL);
}

static void usable_size_of_before(void) {
    CHECK_EQUAL(malloc_usable_size(told((char *)malloc(SMALL) - 16)), 0);
}

static void free_inside_large(void) {
    free(told(inside(LARGE, 4096)));
}

static void free_wild(void) {
    free(told(unknown_pointer((void *)0x123450)));
}

static void free_wild_high(void) {
    free(told(unknown_pointer((void *)0xfffffffffffffff0u)));
}

static void free_stack(void) {
    size_t words[4] = {0, 0, 33, 0};
    free(told(unknown_pointer(&words[2])));
}

static void free_static(void) {
    free(told(unknown_pointer(&static_words[2])));
}

static void free_foreign(void) {
    free(told(foreign()));
}

static void free_code(void) {
    free(told(dlsym(RTLD_DEFAULT, "malloc")));
}

/* A block from a pool that the program has made for itself. */
static void free_from_other_pool(void) {
    static _Alignas(64) unsigned char heap[1 << 16];
    void *(*pool_new)(void) = NULL;
    int (*add_heap)(void *, void *, size_t) = NULL;
    void *(*alloc)(void *, size_t) = NULL;
    *(void **)&pool_new = dlsym(RTLD_DEFAULT, "hl_pool_new");
    *(void **)&add_heap = dlsym(RTLD_DEFAULT, "hl_add_heap");
    *(void **)&alloc = dlsym(RTLD_DEFAULT, "hl_alloc");
    CHECK(pool_new != NULL && add_heap != NULL && alloc != NULL);
    void *pool = pool_new();
    CHECK_EQUAL(add_heap(pool, heap, sizeof heap), 0);
    free(told(alloc(pool, SMALL)));
}

static void free_sized_wrongly(void) {
    void (*free_sized)(void *, size_t) = NULL;
    *(void **)&free_sized = dlsym(RTLD_DEFAULT, "free_sized");
    CHECK(free_sized != NULL);
    free_sized(told(malloc(SMALL)), 5000);
}

static void realloc_released(void) {
    CHECK_FAILS(realloc(told(released(SMALL)), 100), EINVAL);
}

static void realloc_inside(void) {
    CHECK_FAILS(realloc(told(inside(LARGE, 4096)), 100), EINVAL);
}

static void realloc_foreign(void) {
    CHECK_FAILS(realloc(told(foreign()), 100), EINVAL);
}

static void realloc_released_to_nothing(void) {
    CHECK_FAILS(realloc(told(released(SMALL)), 0), UNTOUCHED);
}

static void usable_size_of_released(void) {
    CHECK_EQUAL(malloc_usable_size(told(released(SMALL))), 0);
}

static void usable_size_of_wild(void) {
    CHECK_EQUAL(malloc_usable_size(told(unknown_pointer((void *)0x123450))), 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name}
    CASE(double_free),
    CASE(double_free_large),
    CASE(double_free_later),
    CASE(double_free_after_other_thread),
    CASE(double_free_by_other_thread),
    CASE(double_free_by_two_other_threads),
    CASE(free_inside_by_other_thread),
    CASE(free_inside),
    CASE(free_inside_by_one),
    CASE(free_before),
    CASE(free_before_overwritten),
    CASE(realloc_before),
    CASE(usable_size_of_before),
    CASE(free_inside_large),
    CASE(free_wild),
    CASE(free_wild_high),
    CASE(free_stack),
    CASE(free_static),
    CASE(free_foreign),
    CASE(free_code),
    CASE(free_from_other_pool),
    CASE(free_sized_wrongly),
    CASE(realloc_released),
    CASE(realloc_inside),
    CASE(realloc_foreign),
    CASE(realloc_released_to_nothing),
    CASE(usable_size_of_released),
    CASE(usable_size_of_wild),
};

int main(int argc, char **argv) {
    /* Printing must not allocate: it might get the block that has just been released. */
    static char buffer[256];
    CHECK_EQUAL(setvbuf(stdout, buffer, _IOFBF, sizeof buffer), 0);
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            errno = UNTOUCHED;
            cases[i].run();
            if (strncmp(argv[1], "realloc", 7) != 0) {
                CHECK_EQUAL(errno, UNTOUCHED);
            }
            /* No block is handed out twice now. */
            void *blocks[200];
            for (size_t j = 0; j < 200; j++) {
                blocks[j] = malloc(SMALL);
                write_pattern(blocks[j], SMALL, j);
            }
            for (size_t j = 0; j < 200; j++) {
                CHECK(holds_pattern(blocks[j], SMALL, j));
                free(blocks[j]);
            }
            puts("went on");
            return 0;
        }
    }
    return 2;
}
