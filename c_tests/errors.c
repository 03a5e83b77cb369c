/* Every status has a name and a message, and every thread its own last error. */
#include "check.h"

#include <pthread.h>

static _Alignas(64) unsigned char region[64 * 1024];

static const struct {
    hl_status status;
    const char *name;
} all[] = {
#define STATUS(name) {name, #name}
    STATUS(HL_OK),
    STATUS(HL_ERR_INVALID_ARGUMENT),
    STATUS(HL_ERR_OUT_OF_MEMORY),
    STATUS(HL_ERR_LIMIT_REACHED),
    STATUS(HL_ERR_SIZE_OVERFLOW),
    STATUS(HL_ERR_BAD_ALIGNMENT),
    STATUS(HL_ERR_HEAP_NULL),
    STATUS(HL_ERR_HEAP_TOO_SMALL),
    STATUS(HL_ERR_HEAP_WRAPS),
    STATUS(HL_ERR_HEAP_OVERLAPS),
    STATUS(HL_ERR_HEAP_UNKNOWN),
    STATUS(HL_ERR_HEAP_IN_USE),
    STATUS(HL_ERR_NOT_IN_POOL),
    STATUS(HL_ERR_INTERIOR_POINTER),
    STATUS(HL_ERR_ALREADY_RELEASED),
    STATUS(HL_ERR_OTHER_POOL),
    STATUS(HL_ERR_SIZE_MISMATCH),
    STATUS(HL_ERR_CORRUPTED),
    STATUS(HL_ERR_SYSTEM),
    STATUS(HL_ERR_OVERRUN),
    STATUS(HL_ERR_UNDERRUN),
    STATUS(HL_ERR_WRITTEN_AFTER_RELEASE),
    STATUS(HL_ERR_ORIGIN_MISMATCH),
#undef STATUS
};

enum { STATUSES = sizeof all / sizeof *all };

static void every_status_has_a_name_and_a_message(void) {
    for (size_t i = 0; i < STATUSES; i++) {
        /* Programs are compiled with these numbers in them. */
        CHECK_EQUAL(all[i].status, i);
        CHECK(strcmp(hl_status_name(all[i].status), all[i].name) == 0);
        CHECK(strlen(hl_status_message(all[i].status)) > 0);
        for (size_t j = 0; j < i; j++) {
            CHECK(strcmp(hl_status_message(all[i].status), hl_status_message(all[j].status)) != 0);
        }
    }
    const int32_t unknown[] = {-1, STATUSES, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK(strcmp(hl_status_name(unknown[i]), "HL_ERR_UNKNOWN") == 0);
        CHECK(strlen(hl_status_message(unknown[i])) > 0);
    }
}

static void the_last_error_lasts(hl_pool *pool) {
    char first[256];
    CHECK_STATUS(hl_remove_heap(pool, NULL), HL_ERR_HEAP_UNKNOWN);
    snprintf(first, sizeof first, "%s", hl_last_error_message());
    CHECK(strlen(first) > 0);
    void *block = hl_alloc(pool, 10);
    CHECK_STATUS(hl_release(pool, block), HL_OK);
    CHECK_STATUS(hl_last_error(), HL_ERR_HEAP_UNKNOWN);
    CHECK(strcmp(hl_last_error_message(), first) == 0);

    CHECK(hl_alloc(pool, 12345678) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK(strstr(hl_last_error_message(), "12345678") != NULL);
    CHECK(hl_alloc_aligned(pool, 77, 10) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_BAD_ALIGNMENT);
    CHECK(strstr(hl_last_error_message(), "77") != NULL);
}

static void *fail_in_another_way(void *pool) {
    CHECK_STATUS(hl_last_error(), HL_OK);
    CHECK(hl_last_error_message() != NULL);
    CHECK(hl_alloc_aligned(pool, 3, 1) == NULL);
    CHECK_STATUS(hl_last_error(), HL_ERR_BAD_ALIGNMENT);
    CHECK(strstr(hl_last_error_message(), "3") != NULL);
    return NULL;
}

static void each_thread_has_its_own(hl_pool *pool) {
    char mine[256];
    CHECK(hl_alloc(pool, 12345678) == NULL);
    snprintf(mine, sizeof mine, "%s", hl_last_error_message());
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fail_in_another_way, pool) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK(strcmp(hl_last_error_message(), mine) == 0);
}

static void the_version_has_three_numbers(void) {
    int major, minor, patch;
    CHECK(sscanf(hl_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
}

int main(void) {
    CHECK_STATUS(hl_last_error(), HL_OK);
    CHECK(hl_last_error_message() != NULL);
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, sizeof region), HL_OK);
    CHECK_STATUS(hl_last_error(), HL_OK);
    every_status_has_a_name_and_a_message();
    the_last_error_lasts(pool);
    each_thread_has_its_own(pool);
    the_version_has_three_numbers();
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
