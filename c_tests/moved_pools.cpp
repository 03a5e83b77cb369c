// A pool has one owner at a time, whose end it does not outlive; what refers to it does not notice a move.
#include "check.hpp"

#include <array>
#include <cstring>
#include <vector>

namespace {

alignas(64) unsigned char region[64 * 1024];
alignas(64) unsigned char another_region[64 * 1024];

static_assert(!std::is_copy_constructible_v<heapmaster::pool>);
static_assert(!std::is_copy_assignable_v<heapmaster::pool>);
static_assert(std::is_nothrow_move_constructible_v<heapmaster::pool>);
static_assert(std::is_nothrow_move_assignable_v<heapmaster::pool>);
static_assert(!std::is_assignable_v<heapmaster::pool_base &, heapmaster::pool_ref>,
              "an owner's handle can't be replaced by way of its base");

// Only heaps of no pool can be added, so that a pool that lives on shows.
bool is_free(unsigned char (&memory)[64 * 1024]) {
    std::error_code error;
    heapmaster::pool probe;
    probe.add_heap(memory, sizeof memory, error);
    return !error;
}

void a_pool_dies_with_its_owner() {
    {
        heapmaster::pool pool;
        pool.add_heap(region);
        CHECK(pool.allocate(100) != nullptr && !is_free(region));
    }
    CHECK(is_free(region));
    std::memset(region, 0xA5, sizeof region);
}

void a_moved_pool_keeps_its_blocks() {
    heapmaster::pool last_owner;
    heapmaster::pool pool;
    pool.add_heap(region);
    const heapmaster::allocator<int> allocator(pool);
    std::vector<int, heapmaster::allocator<int>> numbers({1, 2, 3}, allocator);
    auto object = heapmaster::make_unique<int>(pool, 7);

    heapmaster::pool moved(std::move(pool));
    CHECK(moved && !pool && moved.owns(numbers.data()));
    last_owner = std::move(moved);
    numbers.push_back(4);
    object.reset();
    CHECK_EQUAL(last_owner.stats().live_blocks, 1);
}

void assignment_ends_the_pool_before() {
    heapmaster::pool pool;
    pool.add_heap(region);
    heapmaster::pool other;
    other.add_heap(another_region);
    void *block = other.allocate(100);
    pool = std::move(other);
    CHECK(is_free(region) && !is_free(another_region));
    CHECK(pool.owns(block) && !other);
    std::swap(pool, other);
    CHECK(other.owns(block) && !pool);
}

void assignment_to_itself_changes_nothing() {
    heapmaster::pool pool;
    pool.add_heap(region);
    heapmaster::pool &same = pool;
    pool = std::move(same);
    CHECK(pool && pool.owns(region));
}

void a_pool_that_was_moved_away_refuses_calls() {
    heapmaster::pool pool;
    const heapmaster::pool moved(std::move(pool));
    CHECK(CHECK_THROWS(std::system_error, pool.allocate(1)).code() == HL_ERR_INVALID_ARGUMENT);
    CHECK(CHECK_THROWS(std::system_error, pool.stats()).code() == HL_ERR_INVALID_ARGUMENT);
    CHECK(CHECK_THROWS(std::system_error, pool.add_heap(region)).code() ==
          HL_ERR_INVALID_ARGUMENT);
    CHECK(!pool.owns(region));
}

void a_pool_of_c_is_adopted() {
    hl_pool *handle = hl_pool_new();
    heapmaster::pool pool = heapmaster::pool::adopt(handle);
    pool.add_heap(region);
    CHECK(pool.handle() == handle);
}

void a_pool_lives_in_its_own_memory() {
    const heapmaster::pool pool = heapmaster::pool::in(region, sizeof region);
    const auto *handle = reinterpret_cast<const unsigned char *>(pool.handle());
    CHECK(handle >= region && handle < region + sizeof region);
    CHECK(pool.owns(pool.allocate(1000)));
    pool.reset();
    CHECK_EQUAL(pool.stats().live_blocks, 0);
}

void flags_and_limit_are_obeyed() {
    const heapmaster::pool pool(HL_POOL_SINGLE_THREADED, 16 * 1024);
    CHECK_EQUAL(pool.stats().limit, 16 * 1024);
}

void anything_contiguous_is_a_heap() {
    std::vector<unsigned char> vector(64 * 1024);
    std::array<unsigned, 4096> array;
    heapmaster::pool pool;
    pool.add_heap(vector);
    pool.add_heap(array);
    pool.add_heap(region);
    CHECK_EQUAL(pool.heap_stats(array.data()).size, 16 * 1024);
    CHECK_EQUAL(pool.heap_stats(vector.data()).size, 64 * 1024);
    CHECK_EQUAL(pool.heap_stats(region).size, 64 * 1024);
    CHECK(pool.map(region, 20) == "....................");
    pool.remove_heap(region);
    CHECK_EQUAL(pool.stats().heaps, 2);
}

void the_librarys_own_pool_is_not_deleted() {
    {
        const heapmaster::pool_ref pool = hl_default_pool();
        pool.release(pool.allocate(100));
    }
    CHECK(hl_alloc(hl_default_pool(), 100) != nullptr);
}

} // namespace

int main() {
    a_pool_dies_with_its_owner();
    a_moved_pool_keeps_its_blocks();
    assignment_ends_the_pool_before();
    assignment_to_itself_changes_nothing();
    a_pool_that_was_moved_away_refuses_calls();
    a_pool_of_c_is_adopted();
    a_pool_lives_in_its_own_memory();
    flags_and_limit_are_obeyed();
    anything_contiguous_is_a_heap();
    the_librarys_own_pool_is_not_deleted();
}
