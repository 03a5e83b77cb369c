// A program that replaces the two basic operators gets the others too: all forms of new and delete end
// in its own. So it is with libstdc++'s; and whoever replaces operator delete(void*), but not the sized
// one that compilers call since C++14, depends on it.
#include "malloc_check.h"

#include <memory>
#include <new>
#include <string>

namespace {

int allocations, releases, aligned_allocations, aligned_releases;

// What no other allocator would recognise as a block of its own.
constexpr std::size_t header = 64;

} // namespace

// It should, but many don't.
#pragma GCC diagnostic ignored "-Wsized-deallocation"

void *operator new(std::size_t size) {
    allocations++;
    void *block = malloc(size + header);
    if (block == nullptr) {
        throw std::bad_alloc();
    }
    return static_cast<char *>(block) + header;
}

void operator delete(void *block) noexcept {
    if (block != nullptr) {
        releases++;
        free(static_cast<char *>(block) - header);
    }
}

void *operator new(std::size_t size, std::align_val_t alignment) {
    const auto distance = static_cast<std::size_t>(alignment);
    aligned_allocations++;
    void *block = aligned_alloc(distance, size + distance);
    if (block == nullptr) {
        throw std::bad_alloc();
    }
    return static_cast<char *>(block) + distance;
}

void operator delete(void *block, std::align_val_t alignment) noexcept {
    if (block != nullptr) {
        aligned_releases++;
        free(static_cast<char *>(block) - static_cast<std::size_t>(alignment));
    }
}

int main() {
    check_that_malloc_is_ours();
    constexpr std::size_t size = 100;
    constexpr std::align_val_t wide{128};

    ::operator delete(::operator new(size), size);
    ::operator delete(::operator new(size, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](size));
    ::operator delete[](::operator new[](size), size);
    ::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
    CHECK_EQUAL(allocations, 5);
    CHECK_EQUAL(releases, 5);

    ::operator delete(::operator new(size, wide), size, wide);
    ::operator delete(::operator new(size, wide, std::nothrow), wide, std::nothrow);
    ::operator delete[](::operator new[](size, wide), wide);
    ::operator delete[](::operator new[](size, wide), size, wide);
    ::operator delete[](::operator new[](size, wide, std::nothrow), wide, std::nothrow);
    CHECK_EQUAL(aligned_allocations, 5);
    CHECK_EQUAL(aligned_releases, 5);

    // And what the nothrow forms call may throw here too.
    CHECK(::operator new(unknown(PTRDIFF_MAX - header), std::nothrow) == nullptr);
    CHECK(::operator new[](unknown(PTRDIFF_MAX - header), std::nothrow) == nullptr);
    CHECK(::operator new(unknown(PTRDIFF_MAX / 2), wide, std::nothrow) == nullptr);

    auto text = std::make_unique<std::string>(1000, 'x');
    CHECK(text->size() == 1000);
    text.reset();
    CHECK_EQUAL(allocations - 2, releases);
    return 0;
}
