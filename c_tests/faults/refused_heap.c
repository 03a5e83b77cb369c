/*
 * Pools whose system is refused something by the system, once or from some moment on (see refuse.c): the call
 * says so and changes nothing, and a deleted pool has given everything back.
 */
#include "../check.h"

#include <fcntl.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * KIB, HEAP = 48 * MIB, BLOCKS = 400, ROUNDS = 2 };

static void *blocks[BLOCKS];
static size_t failures;

/* A call returned NULL: for want of memory, and no block has changed. */
static void check_refused(hl_pool *pool, hl_pool_statistics before) {
    CHECK_EQUAL(errno, ENOMEM);
    CHECK_STATUS(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    CHECK_EQUAL(pool_stats(pool).live_blocks, before.live_blocks);
    CHECK_EQUAL(pool_stats(pool).live_bytes, before.live_bytes);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    failures++;
}

static void *allocate(hl_pool *pool, size_t size, size_t i) {
    switch (i % 4) {
    case 0:
        return hl_alloc_zeroed(pool, 1, size);
    case 1:
        return hl_alloc_aligned(pool, 4096, size);
    case 2:
        return hl_alloc_many(pool, size, 1, &blocks[i]) == 1 ? blocks[i] : NULL;
    default:
        return hl_alloc(pool, size);
    }
}

static void fill(hl_pool *pool) {
    uint64_t random = 1;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = random_size(&random, 20);
        hl_pool_statistics before = pool_stats(pool);
        errno = 0;
        blocks[i] = allocate(pool, size, i);
        if (blocks[i] == NULL) {
            check_refused(pool, before);
            continue;
        }
        write_pattern(blocks[i], size < KIB ? size : KIB, i);
        if (i % 3 == 0) {
            before = pool_stats(pool);
            errno = 0;
            void *moved = hl_resize(pool, blocks[i], size * 2);
            if (moved == NULL) {
                check_refused(pool, before);
            } else {
                blocks[i] = moved;
            }
        }
        CHECK(holds_pattern(blocks[i], size < KIB ? size : KIB, i));
    }
}

static void use_a_pool(void) {
    errno = 0;
    hl_pool *pool = hl_pool_new();
    if (pool == NULL) {
        CHECK_EQUAL(errno, ENOMEM);
        CHECK_STATUS(hl_last_error(), HL_ERR_SYSTEM);
        failures++;
        return;
    }
    while (hl_add_system_heap(pool, HEAP) != HL_OK) {
        CHECK_STATUS(hl_last_error(), HL_ERR_SYSTEM);
        CHECK_EQUAL(pool_stats(pool).heaps, 0);
        if (++failures > 1) {
            break;
        }
    }
    for (int round = 0; round < 2; round++) {
        fill(pool);
        CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
        CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    }
    fill(pool);
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
    CHECK_EQUAL(pool_stats(pool).used_bytes, 0);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* Of statm(5): pages of address space. Not by stdio, which would ask for some. */
static size_t address_space(void) {
    char text[128] = {0};
    int file = open("/proc/self/statm", O_RDONLY);
    CHECK(file >= 0 && read(file, text, sizeof text - 1) > 0);
    close(file);
    return strtoul(text, NULL, 10);
}

int main(int argc, char **argv) {
    bool is_refused_once = strcmp(argv[argc - 1], "once") == 0;
    size_t space = address_space();
    for (int round = 0; round < ROUNDS; round++) {
        use_a_pool();
        CHECK_EQUAL(address_space(), space);
    }
    CHECK(!is_refused_once || failures <= 1);
    return 0;
}
