/*
 * A pool in the caller's memory touches nothing else: it calls no malloc, maps nothing, and leaves the
 * bytes before and behind the memory as they are.
 */
#define _GNU_SOURCE
#include "check.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KIB = 1024, MARGIN = 4096, SIZE = 1024 * KIB, CANARY = 0xA5, BLOCKS = 300 };

static atomic_size_t calls;

/*
 * This program's malloc, mmap and the like take the place of libc's for the library too. Blocks come
 * from an array and stay there: only libc itself asks, for a few.
 */
static _Alignas(16) unsigned char arena[1024 * KIB];
static atomic_size_t arena_used;

void *malloc(size_t size) {
    atomic_fetch_add(&calls, 1);
    size_t start = atomic_fetch_add(&arena_used, (size + 31) / 16 * 16);
    if (start + size > sizeof arena) {
        abort();
    }
    return arena + start;
}

void *calloc(size_t count, size_t size) {
    return malloc(count * size); /* the arena is zeroed, and nothing in it is used twice */
}

void *realloc(void *block, size_t size) {
    void *moved = malloc(size);
    if (block != NULL) {
        memmove(moved, block, size); /* at worst also some of what follows */
    }
    return moved;
}

void free(void *block) {
    (void)block;
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    uintptr_t start = (uintptr_t)malloc(size + alignment);
    *block = (void *)((start + alignment - 1) / alignment * alignment);
    return 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
    void *block;
    posix_memalign(&block, alignment, size);
    return block;
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    atomic_fetch_add(&calls, 1);
    return (void *)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}

#ifdef __GLIBC__
void *mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset) {
    return mmap(address, size, protection, flags, file, offset);
}
#endif

static _Alignas(4096) unsigned char memory[MARGIN + SIZE + MARGIN];

static void use_every_call(hl_pool *pool) {
    void *blocks[BLOCKS] = {NULL};
    uint64_t random = 13;
    for (size_t round = 0; round < rounds(20000); round++) {
        size_t i = random_below(&random, BLOCKS);
        size_t size = random_size(&random, 14);
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
        switch (round % 4) {
        case 0:
            blocks[i] = hl_alloc(pool, size);
            break;
        case 1:
            blocks[i] = hl_alloc_zeroed(pool, 1, size);
            break;
        case 2:
            blocks[i] = hl_alloc_aligned(pool, (size_t)16 << random_below(&random, 8), size);
            break;
        case 3:
            blocks[i] = hl_resize(pool, hl_alloc(pool, size / 2), size);
            break;
        }
        if (blocks[i] != NULL) {
            memset(blocks[i], 0xFF, hl_usable_size(pool, blocks[i]));
        }
    }
    pool_stats(pool);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
    CHECK_EQUAL(hl_release_many(pool, blocks, BLOCKS), BLOCKS);
    CHECK_EQUAL(hl_alloc_many(pool, 100, BLOCKS, blocks), BLOCKS);
    CHECK_STATUS(hl_release(pool, memory), HL_ERR_NOT_IN_POOL);
    /* To the last byte, so that the blocks at both ends are among them. */
    for (size_t size = SIZE; size > 0; size /= 2) {
        void *block;
        while ((block = hl_alloc(pool, size)) != NULL) {
            memset(block, 0xFF, hl_usable_size(pool, block));
        }
    }
    CHECK_STATUS(hl_pool_reset(pool), HL_OK);
}

/* From its making to its end, at odd places in memory. */
static void a_pool_inside_memory(uint32_t shift) {
    unsigned char *region = memory + MARGIN + shift;
    size_t size = SIZE - 2 * shift;
    memset(memory, CANARY, sizeof memory);
    size_t before = calls;
    hl_pool *pool = hl_pool_new_in(region, size);
    CHECK(pool != NULL);
    use_every_call(pool);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_EQUAL(calls, before);
    CHECK(holds_only(memory, MARGIN + shift, CANARY));
    CHECK(holds_only(region + size, MARGIN + shift, CANARY));
}

/* Its heap added later; only the handle is the library's own. */
static void a_pool_over_memory(uint32_t shift, uint32_t flags) {
    unsigned char *region = memory + MARGIN + shift;
    size_t size = SIZE - 2 * shift;
    memset(memory, CANARY, sizeof memory);
    hl_config config = {.struct_size = sizeof config, .flags = flags};
    hl_pool *pool = hl_pool_new_with(&config);
    CHECK(pool != NULL);
    size_t before = calls;
    CHECK_STATUS(hl_add_heap(pool, region, size), HL_OK);
    use_every_call(pool);
    CHECK_STATUS(hl_remove_heap(pool, region), HL_OK);
    CHECK_EQUAL(calls, before);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK(holds_only(memory, MARGIN + shift, CANARY));
    CHECK(holds_only(region + size, MARGIN + shift, CANARY));
}

int main(void) {
    /* The counters do count what libraries do. */
    size_t before = calls;
    free(strdup("counted"));
    CHECK_EQUAL(calls, before + 1);

    for (uint32_t shift = 0; shift < 64; shift += 9) {
        a_pool_inside_memory(shift);
        a_pool_over_memory(shift, 0);
        a_pool_over_memory(shift, HL_POOL_SINGLE_THREADED);
    }
    return 0;
}
