// Compiled without exceptions and without run-time types, error codes still tell of failures, and what would
// throw aborts.
#include "check.hpp"

#include <csignal>
#include <memory_resource>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

alignas(64) unsigned char region[64 * 1024];

template <class Action>
bool aborts(Action action) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        action();
        _exit(0);
    }
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

void an_error_code_tells_of_a_failure(heapmaster::pool_ref pool) {
    std::error_code error;
    CHECK(pool.allocate(sizeof region, error) == nullptr && error == HL_ERR_OUT_OF_MEMORY);
    CHECK(pool.allocate(1, 3, error) == nullptr && error == HL_ERR_BAD_ALIGNMENT);
}

void what_would_throw_aborts(heapmaster::pool_ref pool) {
    CHECK(aborts([&] { static_cast<void>(pool.allocate(sizeof region)); }));
    CHECK(aborts([&] { pool.add_heap(region); }));
    CHECK(aborts([&] { static_cast<void>(heapmaster::allocator<int>(pool).allocate(SIZE_MAX)); }));
    CHECK(!aborts([&] { pool.release(pool.allocate(100)); }));
}

void all_else_works(heapmaster::pool_ref pool) {
    std::vector<int, heapmaster::allocator<int>> numbers(1000, 7, pool);
    heapmaster::memory_resource resource(pool);
    const heapmaster::memory_resource other(pool);
    CHECK(resource == resource && resource != other);
    std::pmr::vector<int> more(1000, 8, &resource);
    const auto array = heapmaster::make_unique<long[]>(pool, 10);
    const auto object = heapmaster::make_unique<int>(pool, 9);
    CHECK(numbers[999] == 7 && more[999] == 8 && array[9] == 0 && *object == 9);
    int visits = 0;
    pool.walk([&](const hl_block_info &) { return ++visits < 4; });
    CHECK_EQUAL(visits, 4);
}

} // namespace

int main() {
    heapmaster::pool pool;
    pool.add_heap(region);
    an_error_code_tells_of_a_failure(pool);
    what_would_throw_aborts(pool);
    all_else_works(pool);
    CHECK(is_whole(pool));
}
