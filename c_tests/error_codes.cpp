// Every failing call throws, or leaves an error code; both say what the C functions say.
#include "check.hpp"

#include <cstring>
#include <string>

namespace {

alignas(64) unsigned char region[64 * 1024];

void every_status_is_an_error_code() {
    for (int status = HL_OK; status <= HL_ERR_SYSTEM; status++) {
        const std::error_code code = static_cast<hl_status>(status);
        CHECK_EQUAL(code.value(), status);
        CHECK(code.category() == heapmaster::category());
        CHECK(code.message() == hl_status_message(status));
        CHECK(static_cast<bool>(code) == (status != HL_OK));
    }
    CHECK(std::strcmp(heapmaster::category().name(), "heapmaster") == 0);
}

void error_codes_compare_as_errno_is_set() {
    const hl_status shortages[] = {HL_ERR_OUT_OF_MEMORY, HL_ERR_LIMIT_REACHED,
                                   HL_ERR_SIZE_OVERFLOW};
    for (hl_status status : shortages) {
        CHECK(std::error_code(status) == std::errc::not_enough_memory);
    }
    CHECK(std::error_code(HL_ERR_BAD_ALIGNMENT) == std::errc::invalid_argument);
    CHECK(std::error_code(HL_ERR_ALREADY_RELEASED) == std::errc::invalid_argument);
    CHECK(std::error_code(HL_ERR_SYSTEM) != std::errc::invalid_argument);
    CHECK(std::error_code(HL_OK) == std::error_condition());
}

void a_shortage_throws_bad_alloc(heapmaster::pool_ref pool) {
    CHECK_THROWS(std::bad_alloc, pool.allocate(sizeof region));
    CHECK_THROWS(std::bad_alloc, pool.allocate(SIZE_MAX));
    CHECK_THROWS(std::bad_alloc, pool.allocate(16, std::size_t{1} << 46));
    CHECK_THROWS(std::bad_alloc, pool.allocate_zeroed(SIZE_MAX / 2, 4));
    void *block = pool.allocate(100);
    CHECK_THROWS(std::bad_alloc, pool.resize(block, sizeof region));
    pool.release(block);
}

void all_else_throws_system_error(heapmaster::pool_ref pool) {
    const auto misaligned = CHECK_THROWS(std::system_error, pool.allocate(10, 77));
    CHECK(misaligned.code() == HL_ERR_BAD_ALIGNMENT);
    CHECK(std::strstr(misaligned.what(), "77 is not a power of two") != nullptr);

    char *block = static_cast<char *>(pool.allocate(100));
    CHECK(CHECK_THROWS(std::system_error, pool.release(block + 16)).code() ==
          HL_ERR_INTERIOR_POINTER);
    pool.release(block);
    CHECK(CHECK_THROWS(std::system_error, pool.release(block)).code() == HL_ERR_ALREADY_RELEASED);
    CHECK(CHECK_THROWS(std::system_error, pool.resize(block, 1)).code() == HL_ERR_ALREADY_RELEASED);
    CHECK(CHECK_THROWS(std::system_error, pool.add_heap(region)).code() == HL_ERR_HEAP_OVERLAPS);
    CHECK(CHECK_THROWS(std::system_error, pool.add_heap(nullptr, 1)).code() == HL_ERR_HEAP_NULL);
    CHECK(CHECK_THROWS(std::system_error, pool.add_system_heap(1)).code() ==
          HL_ERR_HEAP_TOO_SMALL);
    CHECK(CHECK_THROWS(std::system_error, pool.remove_heap(&pool)).code() == HL_ERR_HEAP_UNKNOWN);
    CHECK(CHECK_THROWS(std::system_error, pool.drain_heap(&pool)).code() == HL_ERR_HEAP_UNKNOWN);
    CHECK(CHECK_THROWS(std::system_error, pool.heap_stats(&pool)).code() == HL_ERR_HEAP_UNKNOWN);
    CHECK(CHECK_THROWS(std::system_error, pool.map(&pool, 8)).code() == HL_ERR_HEAP_UNKNOWN);
    CHECK(CHECK_THROWS(std::system_error, heapmaster::pool(1u << 31)).code() ==
          HL_ERR_INVALID_ARGUMENT);
    CHECK(CHECK_THROWS(std::system_error, heapmaster::pool::in(nullptr, 1)).code() ==
          HL_ERR_HEAP_NULL);
}

void with_an_error_code_nothing_is_thrown(heapmaster::pool_ref pool) {
    std::error_code error;
    void *block = pool.allocate(100, error);
    CHECK(block != nullptr && !error);
    CHECK(pool.allocate(sizeof region, error) == nullptr && error == HL_ERR_OUT_OF_MEMORY);
    CHECK(pool.resize(block, sizeof region, error) == nullptr && error == HL_ERR_OUT_OF_MEMORY);
    block = pool.resize(block, 200, error);
    CHECK(block != nullptr && !error);
    pool.release(block, error);
    CHECK(!error);
    pool.release(block, error);
    CHECK(error == HL_ERR_ALREADY_RELEASED);
    block = pool.allocate(10, 4096, error);
    CHECK(!error && reinterpret_cast<std::uintptr_t>(block) % 4096 == 0);
    pool.release(block, error);
    block = pool.allocate_zeroed(10, 10, error);
    CHECK(!error && static_cast<char *>(block)[99] == 0);
    pool.release(block, error);
    CHECK(pool.allocate_zeroed(SIZE_MAX, 10, error) == nullptr && error == HL_ERR_SIZE_OVERFLOW);
    CHECK(pool.allocate(10, 3, error) == nullptr && error == HL_ERR_BAD_ALIGNMENT);
    pool.add_heap(region, 10, error);
    CHECK(error == HL_ERR_HEAP_OVERLAPS);
    pool.add_system_heap(1, error);
    CHECK(error == HL_ERR_HEAP_TOO_SMALL);
    pool.drain_heap(nullptr, error);
    CHECK(error == HL_ERR_HEAP_UNKNOWN);
    pool.remove_heap(nullptr, error);
    CHECK(error == HL_ERR_HEAP_UNKNOWN);
    pool.check(error);
    CHECK(!error);
    CHECK(!heapmaster::pool(hl_config{}, error) && error == HL_ERR_INVALID_ARGUMENT);
    CHECK(!heapmaster::pool::in(region, 10, error) && error == HL_ERR_HEAP_TOO_SMALL);
    CHECK(heapmaster::pool(error) && !error);
}

} // namespace

int main() {
    every_status_is_an_error_code();
    error_codes_compare_as_errno_is_set();
    heapmaster::pool pool;
    pool.add_heap(region);
    a_shortage_throws_bad_alloc(pool);
    all_else_throws_system_error(pool);
    with_an_error_code_nothing_is_thrown(pool);
    CHECK(is_whole(pool));
}
