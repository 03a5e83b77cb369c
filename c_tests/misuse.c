/*
 * A release of anything but a live block is refused, at every size and in heaps of every kind, with
 * the status that says which mistake it was; the pool stays as it is.
 */
#include "check.h"

enum { KIB = 1024, MIB = 1024 * KIB, LARGEST_BLOCK = 70000 };

static _Alignas(64) unsigned char region[64 * MIB];
static _Alignas(64) unsigned char other_region[32 * KIB];
static unsigned char in_no_pool[256];

/* All that the handler was told last, and how often it was called. */
static struct {
    size_t calls;
    hl_misuse last;
    char message[512];
} reported;

static void report(const hl_misuse *misuse, void *context) {
    CHECK(context == &reported);
    CHECK_EQUAL(misuse->struct_size, sizeof *misuse);
    /* No lock is held, or this would never return. */
    pool_stats(misuse->pool);
    reported.calls++;
    reported.last = *misuse;
    snprintf(reported.message, sizeof reported.message, "%s", misuse->message);
}

/* The handler has been called once, and has heard the same as the caller. */
static void check_reported(hl_pool *pool, const void *pointer, hl_status status, const void *block,
                           size_t block_size) {
    CHECK_EQUAL(reported.calls, 1);
    CHECK_STATUS(hl_last_error(), status);
    CHECK_STATUS(reported.last.status, status);
    CHECK(reported.last.pool == pool);
    CHECK(reported.last.pointer == pointer);
    CHECK(reported.last.block == block);
    CHECK(block == NULL || reported.last.block_size == block_size);
    CHECK(strcmp(reported.message, hl_last_error_message()) == 0);
    reported.calls = 0;
}

/* Every call that takes a block refuses this pointer. `block` is the live block it lies in, if any. */
static void check_refused(hl_pool *pool, void *pointer, hl_status status, const void *block,
                          size_t block_size) {
    hl_pool_statistics before = pool_stats(pool);

    CHECK_STATUS(hl_release(pool, pointer), status);
    check_reported(pool, pointer, status, block, block_size);
    CHECK_STATUS(hl_release_sized(pool, pointer, 16), status);
    check_reported(pool, pointer, status, block, block_size);
    CHECK(hl_resize(pool, pointer, 100) == NULL);
    check_reported(pool, pointer, status, block, block_size);
    CHECK_EQUAL(hl_usable_size(pool, pointer), 0);
    check_reported(pool, pointer, status, block, block_size);
    void *batch[] = {pointer};
    CHECK_EQUAL(hl_release_many(pool, batch, 1), 0);
    CHECK(batch[0] == pointer);
    check_reported(pool, pointer, status, block, block_size);

    CHECK_EQUAL(pool_stats(pool).misuses, before.misuses + 5);
    CHECK_UNCHANGED(pool, before);
}

static void check_interior_refused(hl_pool *pool, unsigned char *block, size_t usable) {
    const size_t offsets[] = {1, 8, 16, usable / 3, usable / 2, usable - 16, usable - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        if (offsets[i] > 0 && offsets[i] < usable) {
            check_refused(pool, block + offsets[i], HL_ERR_INTERIOR_POINTER, block, usable);
        }
    }
}

/* One life of one block, refused at every wrong moment. */
static void released_once_only(hl_pool *pool, hl_pool *other, size_t size) {
    unsigned char *block = hl_alloc(pool, size);
    if (block == NULL) {
        CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
        return;
    }
    size_t usable = hl_usable_size(pool, block);
    write_pattern(block, usable, size);
    check_interior_refused(pool, block, usable);
    check_refused(other, block, HL_ERR_OTHER_POOL, NULL, 0);
    CHECK(holds_pattern(block, usable, size));

    CHECK_STATUS(hl_release(pool, block), HL_OK);
    check_refused(pool, block, HL_ERR_ALREADY_RELEASED, NULL, 0);
    check_refused(pool, block + usable / 2, HL_ERR_ALREADY_RELEASED, NULL, 0);
    check_refused(other, block, HL_ERR_OTHER_POOL, NULL, 0);
}

/* Blocks among their like, some of them released, in both directions. */
static void released_once_only_among_others(hl_pool *pool, size_t size) {
    enum { BLOCKS = 12 };
    unsigned char *blocks[BLOCKS];
    size_t count = hl_alloc_many(pool, size, BLOCKS, (void **)blocks);
    for (size_t i = 0; i < count; i++) {
        write_pattern(blocks[i], size, i);
    }
    for (size_t i = 1; i < count; i += 2) {
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 1) {
            check_refused(pool, blocks[i], HL_ERR_ALREADY_RELEASED, NULL, 0);
        } else {
            size_t usable = hl_usable_size(pool, blocks[i]);
            check_refused(pool, blocks[i] + usable / 2, HL_ERR_INTERIOR_POINTER, blocks[i], usable);
            CHECK(holds_pattern(blocks[i], size, i));
        }
    }
    for (size_t i = count; i-- > 0;) {
        if (i % 2 == 0) {
            CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
        }
        check_refused(pool, blocks[i], HL_ERR_ALREADY_RELEASED, NULL, 0);
    }
}

static void never_in_a_pool(hl_pool *pool, unsigned char *heap, size_t heap_size) {
    int on_stack = 0;
    void *from_libc = malloc(100);
    void *strangers[] = {
        &on_stack,
        from_libc,
        in_no_pool,
        heap - 1,
        heap - 16,
        heap + heap_size,
        (void *)1,
        (void *)16,
        (void *)(UINTPTR_MAX / 2),
        (void *)(UINTPTR_MAX - 15),
        (void *)UINTPTR_MAX,
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        check_refused(pool, strangers[i], HL_ERR_NOT_IN_POOL, NULL, 0);
    }
    free(from_libc);
}

/* Every size, step by step: `heap_size` decides how the heap keeps its blocks. */
static void sweep(size_t heap_size) {
    hl_pool *pool = hl_pool_new();
    hl_pool *other = hl_pool_new();
    unsigned char *heap = region + 64;
    CHECK_STATUS(hl_add_heap(pool, heap, heap_size - 128), HL_OK);
    CHECK_STATUS(hl_add_heap(other, other_region, sizeof other_region), HL_OK);
    void *neighbour = hl_alloc(pool, 40);
    CHECK(neighbour != NULL);
    write_pattern(neighbour, 40, 1);

    never_in_a_pool(pool, heap, heap_size - 128);
    size_t few_steps = fewer_rounds() ? 61 : 1;
    for (size_t size = 0; size <= LARGEST_BLOCK; size += (size < 1100 ? 1 : 53) * few_steps) {
        released_once_only(pool, other, size);
        if (size < heap_size / 16) {
            released_once_only_among_others(pool, size);
        }
        if (size > heap_size) {
            break;
        }
    }
    CHECK(holds_pattern(neighbour, 40, 1));
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_release(pool, neighbour), HL_OK);
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);

    /* A heap that is gone is no pool's. */
    CHECK_STATUS(hl_remove_heap(pool, heap), HL_OK);
    check_refused(pool, neighbour, HL_ERR_NOT_IN_POOL, NULL, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(other), HL_OK);
}

static void the_message_names_the_pointer(void) {
    hl_pool *pool = hl_pool_new_in(region, MIB);
    char *block = hl_alloc(pool, 100);
    char address[32];
    CHECK_STATUS(hl_release(pool, block + 1), HL_ERR_INTERIOR_POINTER);
    snprintf(address, sizeof address, "%p", (void *)(block + 1));
    CHECK(strstr(hl_last_error_message(), address) != NULL);
    reported.calls = 0;
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* A size that the block can't have been asked for; its own size, and its usable size, are right. */
static void a_wrong_size_is_refused(void) {
    hl_pool *pool = hl_pool_new_in(region, MIB);
    for (size_t size = 1; size < LARGEST_BLOCK; size = size * 3 / 2 + 1) {
        void *block = hl_alloc(pool, size);
        size_t usable = hl_usable_size(pool, block);
        hl_pool_statistics before = pool_stats(pool);
        const size_t wrong[] = {usable + 1, usable * 2 + 16, SIZE_MAX};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            CHECK_STATUS(hl_release_sized(pool, block, wrong[i]), HL_ERR_SIZE_MISMATCH);
            check_reported(pool, block, HL_ERR_SIZE_MISMATCH, block, usable);
        }
        CHECK_UNCHANGED(pool, before);
        CHECK_STATUS(hl_release_sized(pool, block, size), HL_OK);
        block = hl_alloc(pool, size);
        CHECK_STATUS(hl_release_sized(pool, block, hl_usable_size(pool, block)), HL_OK);
    }
    CHECK_EQUAL(reported.calls, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void a_removed_handler_is_called_no_more(void) {
    hl_pool *pool = hl_pool_new_in(region, MIB);
    hl_set_misuse_handler(NULL, NULL);
    CHECK_STATUS(hl_release(pool, in_no_pool), HL_ERR_NOT_IN_POOL);
    CHECK_EQUAL(reported.calls, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

int main(void) {
    hl_set_misuse_handler(report, &reported);
    sweep(4 * KIB);
    sweep(32 * KIB);
    sweep(8 * MIB);
    sweep(64 * MIB);
    the_message_names_the_pointer();
    a_wrong_size_is_refused();
    a_removed_handler_is_called_no_more();
    return 0;
}
