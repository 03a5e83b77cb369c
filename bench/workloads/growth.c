// Growth by realloc: vectors that double or grow by half up to some MiB, and strings that grow by a few
// bytes up to some KiB, ten of them at a time.

#include "workload.h"

enum { AT_ONCE = 10 };

typedef struct {
    char *bytes;
    size_t size, capacity, limit;
    bool string;
} Array;

static void begin(Array *array, Random *random) {
    array->string = below(random, 8) != 0;
    array->limit = array->string ? log_uniform(random, 6, 12) : log_uniform(random, 12, 22);
    array->size = array->capacity = 0;
    array->bytes = NULL;
}

static void append(Array *array, Random *random) {
    size_t more = 1 + below(random, array->string ? 24 : 256);
    if (array->size + more > array->capacity) {
        size_t grown = array->string             ? array->size + more + 1
                       : array->limit % 2 == 0   ? 2 * array->capacity + more
                                                 : array->capacity * 3 / 2 + more;
        array->bytes = checked(realloc(array->bytes, grown));
        array->capacity = grown;
    }
    memset(array->bytes + array->size, 'x', more);
    array->size += more;
}

static void *grow(void *argument) {
    Worker *worker = argument;
    Random random = seeded(worker->number);
    Array arrays[AT_ONCE];
    for (size_t i = 0; i < AT_ONCE; i++) begin(&arrays[i], &random);
    for (size_t i = 0; i < worker->work; i++) {
        Array *array = &arrays[i % AT_ONCE];
        append(array, &random);
        if (array->size >= array->limit) {
            free(array->bytes);
            begin(array, &random);
        }
    }
    for (size_t i = 0; i < AT_ONCE; i++) free(arrays[i].bytes);
    return NULL;
}

static void run(unsigned threads, size_t work) { on_threads(threads, work, grow); }
