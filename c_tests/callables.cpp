// Any callable that throws nothing can be told of low memory, or add some.
#include "check.hpp"

#include <vector>

namespace {

alignas(64) unsigned char region[64 * 1024];
alignas(64) unsigned char reserve[512 * 1024];

void a_lambda_adds_a_heap_when_there_is_no_room(heapmaster::pool_ref pool) {
    std::size_t needed = 0;
    auto grow = [&](heapmaster::pool_ref full, std::size_t bytes) noexcept {
        needed = bytes;
        std::error_code error;
        full.add_heap(reserve, sizeof reserve, error);
        return !error;
    };
    pool.set_grow_callback(grow);
    void *block = pool.allocate(80 * 1024);
    CHECK(needed > 80 * 1024 && needed <= sizeof reserve);
    CHECK(block > reserve && block < reserve + sizeof reserve);
    CHECK_THROWS(std::bad_alloc, pool.allocate(sizeof reserve));

    pool.set_grow_callback(nullptr);
    pool.release(block);
    pool.remove_heap(reserve);
    CHECK_THROWS(std::bad_alloc, pool.allocate(80 * 1024));
}

void a_constant_lambda_makes_room(heapmaster::pool_ref pool) {
    std::vector<void *> cached;
    const auto give_up_cache = [&](heapmaster::pool_ref full, std::size_t) noexcept {
        std::error_code error;
        for (void *block : cached) {
            full.release(block, error);
        }
        cached.clear();
    };
    pool.set_low_memory_callback(0, give_up_cache);
    for (int i = 0; i < 1000; i++) {
        cached.push_back(pool.allocate(1000));
    }
    CHECK(cached.size() < 100);

    pool.set_low_memory_callback(0, nullptr);
    give_up_cache(pool, 0);
}

} // namespace

int main() {
    heapmaster::pool pool;
    pool.add_heap(region);
    a_lambda_adds_a_heap_when_there_is_no_room(pool);
    a_constant_lambda_makes_room(pool);
    CHECK(is_whole(pool));
}
