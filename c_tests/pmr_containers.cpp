// A pool serves std::pmr containers, with their alignments, as a resource equal to others of the same pool.
#include "check.hpp"

#include <map>
#include <memory_resource>
#include <string>
#include <vector>

namespace {

constexpr std::size_t size = 2 << 20;
alignas(64) unsigned char first_region[size];
alignas(64) unsigned char second_region[size];

void nested_containers_share_the_pool(heapmaster::pool_ref pool) {
    heapmaster::memory_resource resource(pool);
    std::pmr::map<int, std::pmr::vector<std::pmr::string>> shelves(&resource);
    for (int i = 0; i < 100; i++) {
        shelves[i % 10].emplace_back("a title that is too long for the object itself");
    }
    for (const auto &[number, titles] : shelves) {
        CHECK(pool.owns(&number) && pool.owns(titles.data()));
        CHECK_EQUAL(titles.size(), 10);
        for (const std::pmr::string &title : titles) {
            CHECK(pool.owns(title.data()));
        }
    }
}

void every_alignment_is_honoured(heapmaster::pool_ref pool) {
    heapmaster::memory_resource resource(pool);
    for (std::size_t alignment = 1; alignment <= 64 * 1024; alignment *= 2) {
        for (std::size_t bytes : {std::size_t{0}, std::size_t{1}, alignment, 3 * alignment}) {
            void *block = resource.allocate(bytes, alignment);
            CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(block) % alignment, 0);
            CHECK(pool.usable_size(block) >= bytes);
            resource.deallocate(block, bytes, alignment);
        }
    }
}

void it_throws_when_there_is_no_memory(heapmaster::pool_ref pool) {
    heapmaster::memory_resource resource(pool);
    CHECK_THROWS(std::bad_alloc, resource.allocate(size));
    CHECK_THROWS(std::bad_alloc, resource.allocate(SIZE_MAX));
    std::pmr::vector<char> bytes(&resource);
    CHECK_THROWS(std::bad_alloc, bytes.resize(size));
    bytes.resize(size / 4);
    CHECK(pool.owns(bytes.data()));
}

void it_is_equal_to_one_of_the_same_pool(heapmaster::pool_ref first, heapmaster::pool_ref second) {
    const heapmaster::memory_resource one(first);
    const heapmaster::memory_resource same(first);
    const heapmaster::memory_resource other(second);
    CHECK(one == same && one != other && one != *std::pmr::new_delete_resource());
}

void it_is_upstream_of_another_resource(heapmaster::pool_ref pool) {
    heapmaster::memory_resource resource(pool);
    std::pmr::monotonic_buffer_resource buffer(&resource);
    std::pmr::vector<int> numbers(1000, 7, &buffer);
    CHECK(pool.owns(numbers.data()));
}

} // namespace

int main() {
    heapmaster::pool first;
    first.add_heap(first_region);
    heapmaster::pool second;
    second.add_heap(second_region);
    nested_containers_share_the_pool(first);
    every_alignment_is_honoured(first);
    it_throws_when_there_is_no_memory(first);
    it_is_equal_to_one_of_the_same_pool(first, second);
    it_is_upstream_of_another_resource(first);
    CHECK(is_whole(first) && is_whole(second));
}
