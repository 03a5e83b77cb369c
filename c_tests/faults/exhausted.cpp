// Memory runs out, by a limit of the pool, in every function that allocates: each says so in its own way, and
// when the blocks are released just as many can be had again, by one thread and by several.
#include "default_pool.h"

#include <malloc.h>
#include <pthread.h>

#include <initializer_list>
#include <new>

namespace {

constexpr std::size_t limit = 8 << 20, most = limit / 16;
constexpr std::align_val_t aligned{256};

// A function that allocates, and the one that releases its blocks.
struct Function {
    const char *name;
    void *(*allocate)(std::size_t);
    void (*release)(void *);
    bool throws;
};

void *posix_memaligned(std::size_t size) {
    void *block = nullptr;
    errno = posix_memalign(&block, 64, size);
    return block;
}

// A block that can't grow stays what it is.
void *grown(std::size_t size) {
    void *block = std::malloc(size / 2 + 1);
    if (block == nullptr) {
        return nullptr;
    }
    write_pattern(block, size / 2, 5);
    void *larger = std::realloc(block, size * 2);
    if (larger == nullptr) {
        CHECK_EQUAL(errno, ENOMEM);
        CHECK(holds_pattern(block, size / 2, 5));
        std::free(block);
        errno = ENOMEM;
    }
    return larger;
}

void *resized(std::size_t size) {
    void *block = POOL(hl_alloc)(default_pool(), size / 2 + 1);
    if (block == nullptr) {
        return nullptr;
    }
    write_pattern(block, size / 2, 5);
    void *larger = POOL(hl_resize)(default_pool(), block, size * 2);
    if (larger == nullptr) {
        CHECK_EQUAL(POOL(hl_last_error)(), HL_ERR_LIMIT_REACHED);
        CHECK(holds_pattern(block, size / 2, 5));
        CHECK_EQUAL(POOL(hl_release)(default_pool(), block), HL_OK);
        errno = ENOMEM;
    }
    return larger;
}

void *one_of_many(std::size_t size) {
    void *block;
    return POOL(hl_alloc_many)(default_pool(), size, 1, &block) == 1 ? block : nullptr;
}

void release_to_pool(void *block) {
    CHECK_EQUAL(POOL(hl_release)(default_pool(), block), HL_OK);
}

using Size = std::size_t;
using Block = void *;

const Function functions[] = {
    {"malloc", std::malloc, std::free, false},
    {"calloc", [](Size size) { return std::calloc(size, 1); }, std::free, false},
    {"realloc", [](Size size) { return std::realloc(nullptr, size); }, std::free, false},
    {"realloc, in use", grown, std::free, false},
    {"reallocarray", [](Size size) { return reallocarray(nullptr, 1, size); }, std::free, false},
    {"aligned_alloc", [](Size size) { return std::aligned_alloc(64, size); }, std::free, false},
    {"memalign", [](Size size) { return memalign(64, size); }, std::free, false},
    {"posix_memalign", posix_memaligned, std::free, false},
    {"valloc", valloc, std::free, false},
    {"pvalloc", pvalloc, std::free, false},
    {"new", [](Size size) { return ::operator new(size); },
     [](Block block) { ::operator delete(block); }, true},
    {"new[]", [](Size size) { return ::operator new[](size); },
     [](Block block) { ::operator delete[](block); }, true},
    {"new aligned", [](Size size) { return ::operator new(size, aligned); },
     [](Block block) { ::operator delete(block, aligned); }, true},
    {"new[] aligned", [](Size size) { return ::operator new[](size, aligned); },
     [](Block block) { ::operator delete[](block, aligned); }, true},
    {"new nothrow", [](Size size) { return ::operator new(size, std::nothrow); },
     [](Block block) { ::operator delete(block); }, false},
    {"new[] nothrow", [](Size size) { return ::operator new[](size, std::nothrow); },
     [](Block block) { ::operator delete[](block); }, false},
    {"new aligned nothrow", [](Size size) { return ::operator new(size, aligned, std::nothrow); },
     [](Block block) { ::operator delete(block, aligned); }, false},
    {"new[] aligned nothrow",
     [](Size size) { return ::operator new[](size, aligned, std::nothrow); },
     [](Block block) { ::operator delete[](block, aligned); }, false},
    {"hl_alloc", [](Size size) { return POOL(hl_alloc)(default_pool(), size); }, release_to_pool,
     false},
    {"hl_alloc_zeroed", [](Size size) { return POOL(hl_alloc_zeroed)(default_pool(), 1, size); },
     release_to_pool, false},
    {"hl_alloc_aligned", [](Size size) { return POOL(hl_alloc_aligned)(default_pool(), 64, size); },
     release_to_pool, false},
    {"hl_resize", resized, release_to_pool, false},
    {"hl_alloc_many", one_of_many, release_to_pool, false},
};

constexpr Size sizes[] = {40, 3000, 100000};

// A block, or null where the function has failed as it should.
void *block_of(const Function &function, Size size) {
    errno = UNTOUCHED;
    try {
        void *block = function.allocate(size);
        CHECK(block != nullptr || !function.throws);
        CHECK(block != nullptr || errno == ENOMEM);
        return block;
    } catch (const std::bad_alloc &) {
        CHECK(function.throws);
        return nullptr;
    }
}

// A list through the blocks themselves.
struct Node {
    Node *next;
};

// Allocates to the end, and releases all; how many blocks that came to.
Size exhaust(const Function &function, Size size) {
    Node *list = nullptr;
    Size count = 0;
    while (void *block = block_of(function, size)) {
        list = new (block) Node{list};
        count++;
        CHECK(count <= most);
    }
    for (Node *node = list; node != nullptr;) {
        Node *next = node->next;
        function.release(node);
        node = next;
    }
    return count;
}

void every_function_fails_and_recovers() {
    Size live = default_pool_stats().live_blocks;
    for (Size size : sizes) {
        for (const Function &function : functions) {
            Size count = exhaust(function, size);
            CHECK(count > 0);
            CHECK_EQUAL(exhaust(function, size), count);
            CHECK_EQUAL(default_pool_stats().live_blocks, live);
        }
        check_default_pool();
    }
}

// What a new-handler gives up.
void *reserve;
int handler_calls;

void give_up_reserve() {
    handler_calls++;
    if (reserve == nullptr) {
        throw std::bad_alloc();
    }
    std::free(reserve);
    reserve = nullptr;
}

void a_new_handler_is_asked_until_it_has_nothing_left() {
    for (const Function &function : functions) {
        if (strncmp(function.name, "new", 3) != 0) {
            continue;
        }
        reserve = std::malloc(1 << 20);
        CHECK(reserve != nullptr);
        handler_calls = 0;
        std::set_new_handler(give_up_reserve);
        Size count = exhaust(function, 100000);
        std::set_new_handler(nullptr);
        CHECK_EQUAL(handler_calls, 2);
        CHECK_EQUAL(exhaust(function, 100000), count);
    }
}

// What libc allocates for a program it can't have either, and says so.
void libc_passes_it_on() {
    Node *list = nullptr;
    for (Size size : {Size{100000}, Size{5000}, Size{16}}) {
        while (void *block = std::malloc(size)) {
            list = new (block) Node{list};
        }
    }
    CHECK_FAILS(strdup("some text"), ENOMEM);
    CHECK_FAILS(fopen("/dev/null", "r"), ENOMEM);
    CHECK_FAILS(realpath("/dev/../dev/null", nullptr), ENOMEM);
    char *text = nullptr;
    CHECK_EQUAL(asprintf(&text, "%d", 1), -1);
    CHECK(setenv("EXHAUSTED", "yes", 1) != 0 && errno == ENOMEM);
    while (list != nullptr) {
        Node *next = list->next;
        std::free(list);
        list = next;
    }
    CHECK_EQUAL(setenv("EXHAUSTED", "yes", 1), 0);
}

void *exhaust_in_thread(void *) {
    for (const Function &function : functions) {
        for (Size size : sizes) {
            exhaust(function, size);
        }
    }
    return nullptr;
}

void threads_recover_what_they_have_left_each_other() {
    constexpr Size size = 3000;
    Size count = exhaust(functions[0], size);
    pthread_t threads[4];
    for (pthread_t &thread : threads) {
        CHECK_EQUAL(pthread_create(&thread, nullptr, exhaust_in_thread, nullptr), 0);
    }
    for (pthread_t thread : threads) {
        CHECK_EQUAL(pthread_join(thread, nullptr), 0);
    }
    Size again = exhaust(functions[0], size);
    CHECK(again >= count - count / 20);
}

} // namespace

int main() {
    check_that_malloc_is_ours();
    // What only the first exception, thread and message need.
    POOL(hl_pool_set_limit)(default_pool(), 1);
    exhaust(functions[0], 1 << 20);
    CHECK(block_of(functions[10], 1 << 20) == nullptr);
    POOL(hl_pool_set_limit)(default_pool(), default_pool_stats().used_bytes + limit);
    every_function_fails_and_recovers();
    a_new_handler_is_asked_until_it_has_nothing_left();
    libc_passes_it_on();
    threads_recover_what_they_have_left_each_other();
    CHECK_EQUAL(POOL(hl_pool_set_limit)(default_pool(), 0), HL_OK);
    check_default_pool();
    return 0;
}
