// Standard containers keep their elements in the pool of their allocator, and take it along as its traits say.
#include "check.hpp"

#include <list>
#include <map>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

template <class T>
using vector = std::vector<T, heapmaster::allocator<T>>;
using string = std::basic_string<char, std::char_traits<char>, heapmaster::allocator<char>>;
template <class Key, class Value>
using map = std::map<Key, Value, std::less<>, heapmaster::allocator<std::pair<const Key, Value>>>;

constexpr std::size_t size = 2 << 20;
alignas(64) unsigned char first_region[size];
alignas(64) unsigned char second_region[size];

void elements_lie_in_the_pool(heapmaster::pool_ref pool) {
    vector<int> numbers(pool);
    for (int i = 0; i < 10000; i++) {
        numbers.push_back(i);
    }
    CHECK(pool.owns(numbers.data()));
    CHECK_EQUAL(std::accumulate(numbers.begin(), numbers.end(), 0L), 49995000);

    string text("a string too long for the object itself", pool);
    text += text;
    CHECK(pool.owns(text.data()));
    CHECK_EQUAL(text.size(), 78);

    map<int, string> names(pool);
    for (int i = 0; i < 1000; i++) {
        names.emplace(i * 7 % 1000, string(50, 'x', pool));
    }
    for (int i = 0; i < 1000; i += 2) {
        names.erase(i);
    }
    CHECK_EQUAL(names.size(), 500);
    for (const auto &[number, name] : names) {
        CHECK(number % 2 == 1 && pool.owns(&number) && pool.owns(name.data()));
    }

    std::list<double, heapmaster::allocator<double>> list(100, 0.5, pool);
    CHECK(pool.owns(&list.front()) && pool.owns(&list.back()));

    std::unordered_map<int, int, std::hash<int>, std::equal_to<>,
                       heapmaster::allocator<std::pair<const int, int>>>
        squares(pool);
    for (int i = 0; i < 1000; i++) {
        squares[i] = i * i;
    }
    CHECK(squares.at(31) == 961 && pool.owns(&squares.at(31)));
}

void over_aligned_elements_are_aligned(heapmaster::pool_ref pool) {
    struct alignas(256) wide {
        char bytes[256];
    };
    vector<wide> wides(pool);
    for (int i = 0; i < 20; i++) {
        wides.emplace_back();
        CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(wides.data()) % 256, 0);
    }
}

void a_move_takes_the_pool_along(heapmaster::pool_ref first, heapmaster::pool_ref second) {
    vector<int> from({1, 2, 3}, first);
    vector<int> to({4}, second);
    const int *elements = from.data();
    to = std::move(from);
    CHECK(to.data() == elements && to.get_allocator().pool() == first);
    CHECK_EQUAL(second.stats().live_blocks, 0);
}

void a_copy_stays_in_its_pool(heapmaster::pool_ref first, heapmaster::pool_ref second) {
    vector<int> from({1, 2, 3}, first);
    vector<int> to({4}, second);
    to = from;
    CHECK(to == from && second.owns(to.data()));
    CHECK(to.get_allocator() != from.get_allocator());
    const vector<int> copy(from);
    CHECK(first.owns(copy.data()) && copy.get_allocator() == from.get_allocator());
}

void swapped_containers_swap_pools(heapmaster::pool_ref first, heapmaster::pool_ref second) {
    vector<int> one({1}, first);
    vector<int> other({2}, second);
    swap(one, other);
    CHECK(second.owns(one.data()) && first.owns(other.data()));
    CHECK(one.front() == 2 && other.front() == 1);
}

void an_allocator_is_rebound_to_its_own_pool(heapmaster::pool_ref pool) {
    const heapmaster::allocator<char> chars(pool);
    const heapmaster::allocator<long> longs(chars);
    CHECK(longs == chars && !(longs != chars));
    long *block = longs.allocate(10);
    heapmaster::allocator<char>(longs).deallocate(reinterpret_cast<char *>(block), 80);
}

void a_size_that_overflows_is_refused(heapmaster::pool_ref pool) {
    const heapmaster::allocator<long> longs(pool);
    CHECK_THROWS(std::bad_array_new_length, longs.allocate(SIZE_MAX / sizeof(long) + 1));
    CHECK_THROWS(std::bad_array_new_length, longs.allocate(SIZE_MAX));
    CHECK_THROWS(std::bad_alloc, longs.allocate(SIZE_MAX / sizeof(long)));
}

} // namespace

int main() {
    heapmaster::pool first;
    first.add_heap(first_region);
    heapmaster::pool second;
    second.add_heap(second_region);
    elements_lie_in_the_pool(first);
    over_aligned_elements_are_aligned(first);
    a_move_takes_the_pool_along(first, second);
    a_copy_stays_in_its_pool(first, second);
    swapped_containers_swap_pools(first, second);
    an_allocator_is_rebound_to_its_own_pool(first);
    a_size_that_overflows_is_refused(first);
    CHECK(is_whole(first) && is_whole(second));
}
