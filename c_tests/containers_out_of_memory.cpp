// A container whose pool is full throws, holds what it held, and goes on once there is room.
#include "check.hpp"

#include <map>
#include <string>
#include <vector>

namespace {

alignas(64) unsigned char region[64 * 1024];
alignas(64) unsigned char another_region[256 * 1024];

template <class Container, class Grow>
std::size_t fill(Container &container, Grow grow) {
    for (;;) {
        try {
            grow();
        } catch (const std::bad_alloc &) {
            return container.size();
        }
    }
}

void a_vector_keeps_its_elements_and_goes_on(heapmaster::pool_ref pool) {
    std::vector<std::size_t, heapmaster::allocator<std::size_t>> numbers(pool);
    std::size_t full = fill(numbers, [&] { numbers.push_back(numbers.size()); });
    CHECK(full > 1000);
    CHECK_EQUAL(hl_last_error(), HL_ERR_OUT_OF_MEMORY);
    for (std::size_t i = 0; i < full; i++) {
        CHECK_EQUAL(numbers[i], i);
    }
    pool.add_heap(another_region);
    numbers.push_back(full);
    CHECK(numbers.size() == full + 1 && pool.owns(numbers.data()));
    numbers = decltype(numbers)(pool);
    pool.remove_heap(another_region);
}

void a_map_goes_on_when_elements_are_erased(heapmaster::pool_ref pool) {
    std::map<std::size_t, std::size_t, std::less<>,
             heapmaster::allocator<std::pair<const std::size_t, std::size_t>>>
        numbers(pool);
    const auto grow = [&] { numbers.emplace(numbers.size(), numbers.size()); };
    std::size_t full = fill(numbers, grow);
    CHECK(full > 500);
    for (int round = 0; round < 10; round++) {
        numbers.erase(full - 1);
        grow();
        CHECK_EQUAL(fill(numbers, grow), full);
    }
    for (const auto &[key, value] : numbers) {
        CHECK_EQUAL(key, value);
    }
}

void an_element_that_finds_no_room_leaves_no_trace(heapmaster::pool_ref pool) {
    using string = std::basic_string<char, std::char_traits<char>, heapmaster::allocator<char>>;
    std::vector<string, heapmaster::allocator<string>> texts(pool);
    texts.reserve(100);
    std::size_t full = fill(texts, [&] { texts.emplace_back(5000, 'x', pool); });
    CHECK(full > 3 && full < 100);
    for (const string &text : texts) {
        CHECK_EQUAL(text.size(), 5000);
    }
    /* The vector's own block, and one a string. */
    CHECK_EQUAL(pool.stats().live_blocks, full + 1);
}

void a_limit_is_no_room_either(heapmaster::pool_ref pool) {
    pool.set_limit(16 * 1024);
    std::vector<char, heapmaster::allocator<char>> bytes(pool);
    CHECK_THROWS(std::bad_alloc, bytes.resize(20 * 1024));
    CHECK_EQUAL(hl_last_error(), HL_ERR_LIMIT_REACHED);
    pool.set_limit(0);
    bytes.resize(20 * 1024);
}

} // namespace

int main() {
    heapmaster::pool pool;
    pool.add_heap(region);
    a_vector_keeps_its_elements_and_goes_on(pool);
    a_map_goes_on_when_elements_are_erased(pool);
    an_element_that_finds_no_room_leaves_no_trace(pool);
    a_limit_is_no_room_either(pool);
    CHECK(is_whole(pool));
}
