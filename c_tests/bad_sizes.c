/* A size or an alignment that can't be served gives NULL, its own status and errno; 0 is no such size. */
#include "check.h"

enum { SIZE = 1024 * 1024, ERRNO_BEFORE = 4711 };

static _Alignas(64) unsigned char region[SIZE];

static void size_zero_is_a_block(hl_pool *pool) {
    enum { BLOCKS = 100 };
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = i % 3 == 0   ? hl_alloc(pool, 0)
                    : i % 3 == 1 ? hl_alloc_zeroed(pool, i % 2, 0)
                                 : hl_alloc_aligned(pool, 64, 0);
        CHECK(blocks[i] != NULL && hl_owns(pool, blocks[i]));
        for (size_t j = 0; j < i; j++) {
            CHECK(blocks[i] != blocks[j]);
        }
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
}

static void near_the_end_of_the_address_space(hl_pool *pool) {
    hl_pool_statistics before = pool_stats(pool);
    void *blocks[4];
    for (size_t less = 0; less < 4096; less++) {
        size_t size = SIZE_MAX - less;
        CHECK_FAILS(hl_alloc(pool, size), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_alloc_zeroed(pool, 1, size), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_alloc_zeroed(pool, size, 1), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_alloc_aligned(pool, 16, size), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_alloc_aligned(pool, 4096, size), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_resize(pool, NULL, size), HL_ERR_SIZE_OVERFLOW, ENOMEM);
        CHECK_FAILS(hl_alloc_many(pool, size, 4, blocks), HL_ERR_SIZE_OVERFLOW, ENOMEM);
    }
    CHECK_UNCHANGED(pool, before);
}

/* Too large for any heap, and on the way there no sum may wrap. */
static void larger_than_every_heap(hl_pool *pool) {
    hl_pool_statistics before = pool_stats(pool);
    for (size_t bit = 20; bit < sizeof(size_t) * 8; bit++) {
        for (size_t more = 0; more < 3; more++) {
            size_t size = ((size_t)1 << bit) + more * 4095;
            errno = 0;
            CHECK(hl_alloc(pool, size) == NULL);
            CHECK_EQUAL(errno, ENOMEM);
            CHECK(hl_last_error() == HL_ERR_OUT_OF_MEMORY ||
                  (size > PTRDIFF_MAX / 2 && hl_last_error() == HL_ERR_SIZE_OVERFLOW));
        }
    }
    /* No program's memory lies at so round an address. */
    for (size_t bit = 48; bit < sizeof(size_t) * 8; bit++) {
        errno = 0;
        CHECK(hl_alloc_aligned(pool, (size_t)1 << bit, 1) == NULL);
        CHECK_EQUAL(errno, ENOMEM);
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, before.live_blocks);
    CHECK_EQUAL(pool_stats(pool).largest_free_block, before.largest_free_block);
}

static void a_product_that_overflows(hl_pool *pool) {
    static const struct {
        size_t count, size;
    } products[] = {
        {SIZE_MAX, SIZE_MAX},
        {SIZE_MAX, 2},
        {2, SIZE_MAX / 2 + 1},
        {SIZE_MAX / 16 + 2, 16},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, (size_t)1 << 32},
    };
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        CHECK_FAILS(hl_alloc_zeroed(pool, products[i].count, products[i].size),
                    HL_ERR_SIZE_OVERFLOW, ENOMEM);
    }
}

static void an_alignment_that_is_no_power_of_two(hl_pool *pool) {
    hl_pool_statistics before = pool_stats(pool);
    for (size_t alignment = 0; alignment < 5000; alignment++) {
        if ((alignment & (alignment - 1)) != 0 || alignment == 0) {
            CHECK_FAILS(hl_alloc_aligned(pool, alignment, 64), HL_ERR_BAD_ALIGNMENT, EINVAL);
        }
    }
    CHECK_FAILS(hl_alloc_aligned(pool, SIZE_MAX, 64), HL_ERR_BAD_ALIGNMENT, EINVAL);
    CHECK_FAILS(hl_alloc_aligned(pool, SIZE_MAX / 2, 0), HL_ERR_BAD_ALIGNMENT, EINVAL);
    CHECK_UNCHANGED(pool, before);
}

/* The program's mistakes are no sign that the pool is short of memory. */
static void only_want_of_memory_counts_as_failure(hl_pool *pool) {
    uint64_t failures = pool_stats(pool).failures;
    CHECK(hl_alloc(pool, SIZE_MAX) == NULL);
    CHECK(hl_alloc_zeroed(pool, SIZE_MAX, 2) == NULL);
    CHECK(hl_alloc_aligned(pool, 3, 1) == NULL);
    CHECK_EQUAL(pool_stats(pool).failures, failures);
    CHECK(hl_alloc(pool, 2 * SIZE) == NULL);
    CHECK_EQUAL(pool_stats(pool).failures, failures + 1);
}

/* As libc's malloc does, and programs rely on it. */
static void success_leaves_errno_and_the_last_error(hl_pool *pool) {
    CHECK_FAILS(hl_alloc_aligned(pool, 3, 1), HL_ERR_BAD_ALIGNMENT, EINVAL);
    errno = ERRNO_BEFORE;
    for (size_t size = 0; size < SIZE / 16; size = size * 2 + 1) {
        void *blocks[] = {
            hl_alloc(pool, size),
            hl_alloc_zeroed(pool, 1, size),
            hl_alloc_aligned(pool, 256, size),
            hl_resize(pool, NULL, size),
        };
        enum { BLOCKS = sizeof blocks / sizeof *blocks };
        for (size_t i = 0; i < BLOCKS; i++) {
            CHECK(blocks[i] != NULL && hl_usable_size(pool, blocks[i]) >= size);
            blocks[i] = hl_resize(pool, blocks[i], size / 2);
        }
        CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
        CHECK_EQUAL(errno, ERRNO_BEFORE);
    }
    CHECK_STATUS(hl_release(pool, NULL), HL_OK);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    pool_stats(pool);
    CHECK_EQUAL(errno, ERRNO_BEFORE);
    CHECK_STATUS(hl_last_error(), HL_ERR_BAD_ALIGNMENT);
}

int main(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, region, SIZE), HL_OK);
    size_zero_is_a_block(pool);
    near_the_end_of_the_address_space(pool);
    larger_than_every_heap(pool);
    a_product_that_overflows(pool);
    an_alignment_that_is_no_power_of_two(pool);
    only_want_of_memory_counts_as_failure(pool);
    success_leaves_errno_and_the_last_error(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    return 0;
}
