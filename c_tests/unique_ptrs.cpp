// unique_ptrs own objects and arrays in a pool; a constructor that throws leaves nothing behind.
#include "check.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace {

alignas(64) unsigned char region[1 << 20];

// Counts the objects there are, and throws where it is told to.
struct counted {
    static inline int alive = 0;
    static inline int throws_at = -1;
    static inline std::vector<int> destroyed;

    int number;

    counted() : number(alive) {
        if (alive == throws_at) {
            throw std::runtime_error("told to");
        }
        alive++;
    }
    ~counted() {
        alive--;
        destroyed.push_back(number);
    }
    counted(const counted &) = delete;
    counted &operator=(const counted &) = delete;
};

void an_object_dies_with_its_pointer(heapmaster::pool_ref pool) {
    {
        auto object = heapmaster::make_unique<counted>(pool);
        CHECK(pool.owns(object.get()));
        CHECK_EQUAL(counted::alive, 1);
        heapmaster::unique_ptr<counted> moved = std::move(object);
        CHECK(object == nullptr && moved->number == 0);
        CHECK_EQUAL(pool.stats().live_blocks, 1);
    }
    CHECK(counted::alive == 0 && is_whole(pool));
}

void arguments_reach_the_constructor(heapmaster::pool_ref pool) {
    auto pair = heapmaster::make_unique<std::pair<int, std::unique_ptr<int>>>(
        pool, 3, std::make_unique<int>(4));
    CHECK(pair->first == 3 && *pair->second == 4);
    auto constant = heapmaster::make_unique<const int>(pool, 5);
    CHECK_EQUAL(*constant, 5);
}

void an_array_is_destroyed_last_to_first(heapmaster::pool_ref pool) {
    counted::destroyed.clear();
    {
        auto array = heapmaster::make_unique<counted[]>(pool, 4);
        CHECK_EQUAL(array.get_deleter().size(), 4);
        CHECK(array[3].number == 3 && counted::alive == 4);
    }
    CHECK(counted::alive == 0 && counted::destroyed == std::vector<int>({3, 2, 1, 0}));
    CHECK(is_whole(pool));

    auto zeros = heapmaster::make_unique<const int[]>(pool, 1000);
    for (std::size_t i = 0; i < 1000; i++) {
        CHECK_EQUAL(zeros[i], 0);
    }
    CHECK(heapmaster::make_unique<counted[]>(pool, 0) != nullptr);
    heapmaster::unique_ptr<counted[]> none;
    none = nullptr;
}

void a_constructor_that_throws_leaves_nothing(heapmaster::pool_ref pool) {
    counted::throws_at = 0;
    CHECK_THROWS(std::runtime_error, heapmaster::make_unique<counted>(pool));
    CHECK(counted::alive == 0 && is_whole(pool));
    counted::throws_at = 7;
    CHECK_THROWS(std::runtime_error, heapmaster::make_unique<counted[]>(pool, 10));
    CHECK(counted::alive == 0 && is_whole(pool));
    counted::throws_at = -1;
}

void what_finds_no_room_is_not_constructed(heapmaster::pool_ref pool) {
    CHECK_THROWS(std::bad_alloc, heapmaster::make_unique<counted[]>(pool, sizeof region));
    CHECK_THROWS(std::bad_array_new_length, heapmaster::make_unique<counted[]>(pool, SIZE_MAX));
    CHECK_EQUAL(counted::alive, 0);
}

struct first_base {
    virtual ~first_base() = default;
    long padding = 0;
};

struct second_base {
    virtual ~second_base() = default;
    virtual int answer() const = 0;
};

struct derived final : first_base, second_base {
    counted member;
    int answer() const override { return 42; }
};

// The pointer to the base is not the start of the block.
void an_object_is_released_by_way_of_any_base(heapmaster::pool_ref pool) {
    {
        heapmaster::unique_ptr<second_base> base = heapmaster::make_unique<derived>(pool);
        CHECK_EQUAL(base->answer(), 42);
        CHECK_EQUAL(pool.usable_size(base.get()), 0);
    }
    CHECK(counted::alive == 0 && is_whole(pool));
}

struct plain_base {};
struct plain_derived : plain_base {
    std::string member;
};
static_assert(!std::is_convertible_v<heapmaster::unique_ptr<plain_derived>,
                                     heapmaster::unique_ptr<plain_base>>,
              "the base's destructor would not destroy the member");

void over_aligned_objects_are_aligned(heapmaster::pool_ref pool) {
    struct alignas(1024) wide {
        char bytes[3];
    };
    auto wide_one = heapmaster::make_unique<wide>(pool);
    auto wide_ones = heapmaster::make_unique<wide[]>(pool, 3);
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(wide_one.get()) % 1024, 0);
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(wide_ones.get()) % 1024, 0);
}

} // namespace

int main() {
    heapmaster::pool pool;
    pool.add_heap(region);
    an_object_dies_with_its_pointer(pool);
    arguments_reach_the_constructor(pool);
    an_array_is_destroyed_last_to_first(pool);
    a_constructor_that_throws_leaves_nothing(pool);
    what_finds_no_room_is_not_constructed(pool);
    an_object_is_released_by_way_of_any_base(pool);
    over_aligned_objects_are_aligned(pool);
    CHECK(is_whole(pool));
    CHECK_EQUAL(pool.stats().misuses, 1); /* The usable_size of a base. */
}
