// Every operator new and delete allocates, releases, and fails as the standard says: by way of the
// program's new-handler, with std::bad_alloc or with a null pointer.
#include "malloc_check.h"

#include <malloc.h>
#include <sys/resource.h>

#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::align_val_t aligned{64};
constexpr std::size_t too_much = PTRDIFF_MAX;

// One form of new, and all forms of delete that go with it.
struct Form {
    const char *name;
    void *(*allocate)(std::size_t);
    bool nothrow;
    std::vector<void (*)(void *, std::size_t)> releases;
};

using Block = void *;
using Size = std::size_t;

const std::vector<void (*)(Block, Size)> single{
    [](Block block, Size) { ::operator delete(block); },
    [](Block block, Size size) { ::operator delete(block, size); },
    [](Block block, Size) { ::operator delete(block, std::nothrow); },
};
const std::vector<void (*)(Block, Size)> array{
    [](Block block, Size) { ::operator delete[](block); },
    [](Block block, Size size) { ::operator delete[](block, size); },
    [](Block block, Size) { ::operator delete[](block, std::nothrow); },
};
const std::vector<void (*)(Block, Size)> aligned_single{
    [](Block block, Size) { ::operator delete(block, aligned); },
    [](Block block, Size size) { ::operator delete(block, size, aligned); },
    [](Block block, Size) { ::operator delete(block, aligned, std::nothrow); },
};
const std::vector<void (*)(Block, Size)> aligned_array{
    [](Block block, Size) { ::operator delete[](block, aligned); },
    [](Block block, Size size) { ::operator delete[](block, size, aligned); },
    [](Block block, Size) { ::operator delete[](block, aligned, std::nothrow); },
};

const Form forms[] = {
    {"new", [](Size size) { return ::operator new(size); }, false, single},
    {"new[]", [](Size size) { return ::operator new[](size); }, false, array},
    {"new nothrow", [](Size size) { return ::operator new(size, std::nothrow); }, true, single},
    {"new[] nothrow", [](Size size) { return ::operator new[](size, std::nothrow); }, true, array},
    {"new aligned", [](Size size) { return ::operator new(size, aligned); }, false,
     aligned_single},
    {"new[] aligned", [](Size size) { return ::operator new[](size, aligned); }, false,
     aligned_array},
    {"new aligned nothrow",
     [](Size size) { return ::operator new(size, aligned, std::nothrow); }, true, aligned_single},
    {"new[] aligned nothrow",
     [](Size size) { return ::operator new[](size, aligned, std::nothrow); }, true, aligned_array},
};

void every_form_allocates_and_releases() {
    for (const Form &form : forms) {
        for (Size size = 0; size < 3000000; size += size < 1100 ? 7 : size / 3) {
            for (auto release : form.releases) {
                void *one = form.allocate(size);
                void *two = form.allocate(size);
                CHECK(one != nullptr && two != nullptr && one != two);
                bool is_wide = form.releases[0] == aligned_single[0] ||
                               form.releases[0] == aligned_array[0];
                CHECK(is_aligned(one, is_wide ? 64 : 16) && is_aligned(two, is_wide ? 64 : 16));
                CHECK(malloc_usable_size(one) >= size);
                write_pattern(one, size, 1);
                write_pattern(two, size, 2);
                CHECK(holds_pattern(one, size, 1));
                release(one, size);
                release(two, size);
                release(nullptr, size);
            }
        }
    }
}

int handler_calls;

// Else the compiler leaves out an allocation that nobody uses.
void *volatile used;

// A frame between the operator and the catch, with something to destroy in it.
template <typename Action> bool throws_bad_alloc(Action action) {
    static int destroyed;
    struct Counter {
        ~Counter() { destroyed++; }
    };
    int before = destroyed;
    try {
        Counter counter;
        action();
    } catch (const std::bad_alloc &) {
        CHECK_EQUAL(destroyed, before + 1);
        return true;
    }
    return false;
}

void without_a_handler_it_throws_or_returns_null() {
    CHECK(std::get_new_handler() == nullptr);
    for (const Form &form : forms) {
        for (Size size : {too_much, too_much + 1, SIZE_MAX}) {
#ifdef ANY_ALLOCATOR
            // libstdc++ 12 rounds this size up to 0.
            size -= size == SIZE_MAX ? 4096 : 0;
#endif
            void *block = &handler_calls;
            bool thrown = throws_bad_alloc([&] { block = form.allocate(unknown(size)); });
            CHECK_EQUAL(thrown, !form.nothrow);
            CHECK(block == (form.nothrow ? nullptr : &handler_calls));
            CHECK_EQUAL(std::uncaught_exceptions(), 0);
        }
    }
}

// The handler is called until it gives up: by removing itself, here.
void a_handler_is_called_until_it_gives_up() {
    for (const Form &form : forms) {
        handler_calls = 0;
        std::set_new_handler([] {
            if (++handler_calls == 5) {
                std::set_new_handler(nullptr);
            }
        });
        bool thrown = throws_bad_alloc([&] { CHECK(form.allocate(unknown(too_much)) == nullptr); });
        CHECK_EQUAL(thrown, !form.nothrow);
        CHECK_EQUAL(handler_calls, 5);
    }
}

// The one block that the handler can give up.
void *reserve;

void a_handler_that_finds_memory_lets_the_request_succeed() {
    constexpr Size size = Size{100} << 20;
    std::vector<void *> taken;
    while (void *block = ::operator new(size, std::nothrow)) {
        taken.push_back(block);
    }
    CHECK(!taken.empty());
    reserve = taken.back();
    taken.pop_back();
    for (const Form &form : forms) {
        handler_calls = 0;
        std::set_new_handler([] {
            handler_calls++;
            CHECK(reserve != nullptr);
            ::operator delete(reserve);
            reserve = nullptr;
        });
        void *block = form.allocate(size);
        CHECK(block != nullptr);
        CHECK_EQUAL(handler_calls, 1);
        std::set_new_handler(nullptr);
        form.releases[1](block, size);
        reserve = ::operator new(size);
    }
    ::operator delete(reserve);
    for (void *block : taken) {
        ::operator delete(block);
    }
}

struct Unrelated {
    std::string text;
};

// Out of the throwing forms comes what the handler has thrown; the others hold it back.
void a_handler_may_throw() {
    for (const Form &form : forms) {
        std::set_new_handler([] { throw std::bad_alloc(); });
        bool thrown = throws_bad_alloc([&] { CHECK(form.allocate(unknown(too_much)) == nullptr); });
        CHECK_EQUAL(thrown, !form.nothrow);

        std::set_new_handler([] { throw Unrelated{std::string(100, 'x')}; });
        thrown = false;
        try {
            CHECK(form.allocate(unknown(too_much)) == nullptr);
        } catch (const Unrelated &caught) {
            CHECK(caught.text == std::string(100, 'x'));
            thrown = true;
        }
        CHECK_EQUAL(thrown, !form.nothrow);
        CHECK_EQUAL(std::uncaught_exceptions(), 0);
        CHECK(std::current_exception() == nullptr);
    }
    std::set_new_handler(nullptr);
}

// An exception that is being handled stays the current one while others come and go inside.
void exceptions_nest() {
    try {
        throw std::runtime_error("outer");
    } catch (...) {
        CHECK(::operator new(unknown(too_much), std::nothrow) == nullptr);
        CHECK(throws_bad_alloc([] { used = ::operator new(unknown(too_much)); }));
        try {
            throw;
        } catch (const std::runtime_error &outer) {
            CHECK(std::string(outer.what()) == "outer");
        }
    }
}

// No alignment, so that no handler could help: it is not asked.
void a_wrong_alignment_throws_at_once() {
    std::set_new_handler([] { CHECK(!"called"); });
    for (Size alignment : {Size{0}, Size{3}, Size{48}, SIZE_MAX}) {
        const auto wrong = static_cast<std::align_val_t>(unknown(alignment));
        CHECK(throws_bad_alloc([=] { used = ::operator new(100, wrong); }));
        CHECK(throws_bad_alloc([=] { used = ::operator new[](100, wrong); }));
        CHECK(::operator new(100, wrong, std::nothrow) == nullptr);
        CHECK(::operator new[](100, wrong, std::nothrow) == nullptr);
    }
    std::set_new_handler(nullptr);
}

void every_alignment_is_served() {
    for (Size alignment = 1; alignment <= 4 << 20; alignment *= 2) {
        const auto asked = static_cast<std::align_val_t>(alignment);
        for (Size size : {0, 1, 100, 5000, 100000}) {
            void *block = ::operator new(size, asked);
            CHECK(is_aligned(block, alignment) && is_aligned(block, 16));
            write_pattern(block, size, size);
            ::operator delete(block, size, asked);
        }
    }
}

// What ends a thread unwinds it too, but is not an exception: nothrow must let it pass.
void a_handler_may_end_its_thread() {
    for (const Form &form : forms) {
#ifdef ANY_ALLOCATOR
        // libstdc++'s catches it, and ends the process.
        if (form.nothrow) {
            continue;
        }
#endif
        static bool destroyed;
        destroyed = false;
        std::set_new_handler([] { pthread_exit(nullptr); });
        std::thread([&form] {
            struct Witness {
                ~Witness() { destroyed = true; }
            } witness;
            form.allocate(unknown(too_much));
            CHECK(!"alive");
        }).join();
        CHECK(destroyed);
        std::set_new_handler(nullptr);
    }
}

struct alignas(256) Wide {
    char bytes[700];
};

void the_library_of_c_plus_plus_lives_on_it() {
    std::map<std::string, std::vector<std::string>> words;
    for (int i = 0; i < 20000; i++) {
        words[std::to_string(i % 1000)].push_back(std::string(static_cast<Size>(i % 50), 'a'));
    }
    Size total = 0;
    for (const auto &entry : words) {
        for (const auto &word : entry.second) {
            total += word.size();
        }
    }
    CHECK_EQUAL(total, 490000);
    Wide *wide = new Wide[3];
    CHECK(is_aligned(wide, 256));
    delete[] wide;
    delete new Wide;
    delete new std::string("text");
}

} // namespace

int main(int, char **argv) {
    check_that_malloc_is_ours();
    if (getenv("MALLOC_OPERATORS_LIMITED") != nullptr) {
        a_handler_that_finds_memory_lets_the_request_succeed();
        return 0;
    }
#ifndef ANY_ALLOCATOR
    CHECK(is_ours("_Znwm") && is_ours("_ZdlPvm"));
#endif
    every_form_allocates_and_releases();
    without_a_handler_it_throws_or_returns_null();
    a_handler_is_called_until_it_gives_up();
    a_handler_may_throw();
    exceptions_nest();
    a_wrong_alignment_throws_at_once();
    every_alignment_is_served();
    a_handler_may_end_its_thread();
    the_library_of_c_plus_plus_lives_on_it();

    // Once more from the start, with so little address space that it can be used up.
    CHECK_EQUAL(setenv("MALLOC_OPERATORS_LIMITED", "1", 1), 0);
    const rlimit limit{rlim_t{512} << 20, rlim_t{512} << 20};
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    execv("/proc/self/exe", argv);
    CHECK(!"executed");
}
