/* A pool takes heaps of any base and any size, uses them all, and gives each back when it is empty. */
#include "check.h"

enum { HEAPS = 40, ROOM = 40 * 1024 };

static unsigned char memory[HEAPS][ROOM];

/* Heap `i` begins at an odd address as often as not, and no two have the same size. */
static unsigned char *heap_base(size_t i) {
    return memory[i] + i * 7;
}

static size_t heap_size(size_t i) {
    return 8 * 1024 + i * 751;
}

static bool lies_in_a_heap(const void *block, size_t size) {
    for (size_t i = 0; i < HEAPS; i++) {
        if (lies_in(block, size, heap_base(i), heap_size(i))) {
            return true;
        }
    }
    return false;
}

static void every_heap_is_used_and_none_left(void) {
    hl_pool *pool = hl_pool_new();
    for (size_t i = 0; i < HEAPS; i++) {
        CHECK_STATUS(hl_add_heap(pool, heap_base(i), heap_size(i)), HL_OK);
        hl_heap_statistics heap = heap_stats(pool, heap_base(i) + i);
        CHECK(heap.memory == heap_base(i));
        CHECK_EQUAL(heap.size, heap_size(i));
        CHECK(heap.capacity_bytes > heap_size(i) * 8 / 10);
        CHECK(heap.capacity_bytes + heap.metadata_bytes <= heap_size(i));
    }
    CHECK_EQUAL(pool_stats(pool).heaps, HEAPS);

    enum { SIZE = 900, MOST = HEAPS * ROOM / SIZE };
    static unsigned char *blocks[MOST];
    size_t count = 0;
    while ((blocks[count] = hl_alloc(pool, SIZE)) != NULL) {
        CHECK(lies_in_a_heap(blocks[count], SIZE));
        CHECK(hl_owns(pool, blocks[count]) && hl_owns(pool, blocks[count] + SIZE - 1));
        write_pattern(blocks[count], SIZE, count);
        count++;
        CHECK(count < MOST);
    }
    for (size_t i = 0; i < HEAPS; i++) {
        CHECK(heap_stats(pool, heap_base(i)).live_blocks >= heap_size(i) / 1024 * 3 / 4);
        CHECK(hl_owns(pool, heap_base(i)) && hl_owns(pool, heap_base(i) + heap_size(i) - 1));
        CHECK(!hl_owns(pool, heap_base(i) - 1) && !hl_owns(pool, heap_base(i) + heap_size(i)));
    }
    CHECK_STATUS(hl_pool_check(pool), HL_OK);

    /* Out of order, so that releases meet heaps in every state. */
    for (size_t i = 0; i < count; i++) {
        size_t victim = i * 37 % count;
        while (blocks[victim] == NULL) {
            victim = (victim + 1) % count;
        }
        CHECK(holds_pattern(blocks[victim], SIZE, victim));
        CHECK_STATUS(hl_release(pool, blocks[victim]), HL_OK);
        blocks[victim] = NULL;
    }
    CHECK_EQUAL(pool_stats(pool).live_blocks, 0);
    for (size_t i = 0; i < HEAPS; i++) {
        size_t next = i * 7 % HEAPS;
        CHECK_STATUS(hl_remove_heap(pool, heap_base(next) + heap_size(next) / 2), HL_OK);
        CHECK(!hl_owns(pool, heap_base(next)));
        CHECK_STATUS(hl_remove_heap(pool, heap_base(next)), HL_ERR_HEAP_UNKNOWN);
        CHECK_EQUAL(pool_stats(pool).heaps, HEAPS - 1 - i);
    }
    CHECK_EQUAL(pool_stats(pool).capacity_bytes, 0);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

/* A removed heap is the caller's memory again: written over, and given to another pool. */
static void heaps_come_and_go(void) {
    hl_pool *pools[2] = {hl_pool_new(), hl_pool_new()};
    for (size_t round = 0; round < rounds(400); round++) {
        hl_pool *pool = pools[round % 2];
        size_t i = round % HEAPS;
        CHECK_STATUS(hl_add_heap(pool, heap_base(i), heap_size(i)), HL_OK);
        void *small = hl_alloc(pool, 24);
        void *large = hl_alloc(pool, 3000);
        CHECK(lies_in(small, 24, heap_base(i), heap_size(i)));
        CHECK(lies_in(large, 3000, heap_base(i), heap_size(i)));
        CHECK_STATUS(hl_release(pool, small), HL_OK);
        CHECK_STATUS(hl_release(pool, large), HL_OK);
        CHECK_STATUS(hl_remove_heap(pool, heap_base(i)), HL_OK);
        memset(memory[i], 0xA5, ROOM);
        CHECK_FAILS(hl_alloc(pool, 24), HL_ERR_OUT_OF_MEMORY, ENOMEM);
        CHECK_STATUS(hl_release(pool, small), HL_ERR_NOT_IN_POOL);
    }
    CHECK_STATUS(hl_pool_delete(pools[0]), HL_OK);
    CHECK_STATUS(hl_pool_delete(pools[1]), HL_OK);
}

static bool message_holds(size_t number) {
    char digits[32];
    snprintf(digits, sizeof digits, "%zu", number);
    return strstr(hl_last_error_message(), digits) != NULL;
}

static void a_heap_in_use_stays(void) {
    enum { BLOCKS = 37, SIZE = 48 };
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, memory[0], ROOM), HL_OK);
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = hl_alloc(pool, SIZE);
        write_pattern(blocks[i], SIZE, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        hl_pool_statistics before = pool_stats(pool);
        CHECK_STATUS(hl_remove_heap(pool, memory[0]), HL_ERR_HEAP_IN_USE);
        CHECK(message_holds(before.live_blocks) && message_holds(before.live_bytes));
        CHECK_UNCHANGED(pool, before);
        CHECK(holds_pattern(blocks[i], SIZE, i));
        CHECK_STATUS(hl_release(pool, blocks[i]), HL_OK);
    }
    CHECK_STATUS(hl_remove_heap(pool, memory[0]), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void a_draining_heap_gives_nothing_new(void) {
    hl_pool *pool = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, memory[0], ROOM), HL_OK);
    void *small = hl_alloc(pool, 24);
    void *large = hl_alloc(pool, 9000);
    CHECK_STATUS(hl_drain_heap(pool, memory[0] + 5), HL_OK);
    CHECK(heap_stats(pool, memory[0]).draining);
    CHECK_FAILS(hl_alloc(pool, 24), HL_ERR_OUT_OF_MEMORY, ENOMEM);
    CHECK_FAILS(hl_alloc(pool, 9000), HL_ERR_OUT_OF_MEMORY, ENOMEM);

    CHECK_STATUS(hl_add_heap(pool, memory[1], ROOM), HL_OK);
    CHECK(!heap_stats(pool, memory[1]).draining);
    for (size_t i = 0; i < 100; i++) {
        CHECK(lies_in(hl_alloc(pool, i * 3), i * 3, memory[1], ROOM));
    }
    /* A block that grows moves out. */
    write_pattern(small, 24, 1);
    small = hl_resize(pool, small, 4000);
    CHECK(lies_in(small, 4000, memory[1], ROOM) && holds_pattern(small, 24, 1));

    CHECK_STATUS(hl_remove_heap(pool, memory[0]), HL_ERR_HEAP_IN_USE);
    CHECK_STATUS(hl_release(pool, large), HL_OK);
    CHECK_STATUS(hl_remove_heap(pool, memory[0]), HL_OK);
    CHECK_STATUS(hl_drain_heap(pool, memory[0]), HL_ERR_HEAP_UNKNOWN);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
}

static void check_refused(hl_pool *pool, void *base, size_t size, hl_status status) {
    hl_pool_statistics before = pool_stats(pool);
    CHECK_STATUS(hl_add_heap(pool, base, size), status);
    CHECK_STATUS(hl_last_error(), status);
    CHECK_UNCHANGED(pool, before);
    CHECK_STATUS(hl_pool_check(pool), HL_OK);
}

static void a_bad_region_is_refused_for_its_own_reason(void) {
    hl_pool *pool = hl_pool_new();
    hl_pool *other = hl_pool_new();
    unsigned char *taken = memory[3] + 100;
    size_t size = ROOM / 2;
    CHECK_STATUS(hl_add_heap(pool, taken, size), HL_OK);
    void *block = hl_alloc(pool, 1000);
    write_pattern(block, 1000, 9);

    check_refused(pool, NULL, ROOM, HL_ERR_HEAP_NULL);
    for (size_t tiny = 0; tiny < 64; tiny++) {
        check_refused(pool, memory[0], tiny, HL_ERR_HEAP_TOO_SMALL);
    }
    check_refused(pool, memory[0], SIZE_MAX, HL_ERR_HEAP_WRAPS);
    check_refused(pool, memory[0], SIZE_MAX - (uintptr_t)memory[0] + 2, HL_ERR_HEAP_WRAPS);
    check_refused(pool, (void *)(UINTPTR_MAX - 4095), 8192, HL_ERR_HEAP_WRAPS);

    /* Inside a heap of the pool; in a block of another pool, one may be. */
    check_refused(pool, taken + 4096, 4096, HL_ERR_HEAP_OVERLAPS);
    hl_pool *pools[2] = {pool, other};
    for (size_t i = 0; i < 2; i++) {
        check_refused(pools[i], taken, size, HL_ERR_HEAP_OVERLAPS);
        check_refused(pools[i], taken - 8192, ROOM + 8192, HL_ERR_HEAP_OVERLAPS);
        check_refused(pools[i], taken - 8191, 8192, HL_ERR_HEAP_OVERLAPS);
        check_refused(pools[i], taken + size - 1, 8192, HL_ERR_HEAP_OVERLAPS);
    }
    CHECK(holds_pattern(block, 1000, 9));

    /* Neighbours that only touch are fine. */
    CHECK_STATUS(hl_add_heap(other, taken - 8192, 8192), HL_OK);
    CHECK_STATUS(hl_add_heap(pool, taken + size, 8192), HL_OK);
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(other), HL_OK);
}

static void an_unknown_heap_is_refused(void) {
    hl_pool *pool = hl_pool_new();
    hl_pool *other = hl_pool_new();
    CHECK_STATUS(hl_add_heap(pool, memory[0], ROOM), HL_OK);
    CHECK_STATUS(hl_add_heap(other, memory[1], ROOM), HL_OK);
    void *strangers[] = {NULL, memory[1], memory[0] + ROOM, (void *)UINTPTR_MAX, &pool};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        hl_heap_statistics statistics = {.struct_size = sizeof statistics};
        char text[8];
        hl_pool_statistics before = pool_stats(pool);
        CHECK_STATUS(hl_remove_heap(pool, strangers[i]), HL_ERR_HEAP_UNKNOWN);
        CHECK_STATUS(hl_drain_heap(pool, strangers[i]), HL_ERR_HEAP_UNKNOWN);
        CHECK_STATUS(hl_heap_stats(pool, strangers[i], &statistics), HL_ERR_HEAP_UNKNOWN);
        CHECK_STATUS(hl_pool_map(pool, strangers[i], text, sizeof text), HL_ERR_HEAP_UNKNOWN);
        CHECK_UNCHANGED(pool, before);
    }
    CHECK_STATUS(hl_pool_delete(pool), HL_OK);
    CHECK_STATUS(hl_pool_delete(other), HL_OK);
}

int main(void) {
    every_heap_is_used_and_none_left();
    heaps_come_and_go();
    a_heap_in_use_stays();
    a_draining_heap_gives_nothing_new();
    a_bad_region_is_refused_for_its_own_reason();
    an_unknown_heap_is_refused();
    return 0;
}
