// A program with some operators of its own, which ones the compiler is told. What they allocate and what the
// library's release, or the other way about, goes together only as the program knows.
#include "malloc_check.h"

#include <new>

#pragma GCC diagnostic ignored "-Wsized-deallocation"

namespace {

int calls;

} // namespace

#if defined NEW || defined LARGER_NEW
void *operator new(std::size_t size) {
    calls++;
#ifdef LARGER_NEW
    size += 100;
#endif
    void *block = malloc(size);
    return block != nullptr ? block : throw std::bad_alloc();
}
#endif

#ifdef DELETE
void operator delete(void *block) noexcept {
    calls++;
    free(block);
}
#endif

#ifdef NEW_ARRAY
void *operator new[](std::size_t size) {
    calls++;
    return ::operator new(size);
}
#endif

#ifdef DELETE_ARRAY
void operator delete[](void *block) noexcept {
    calls++;
    ::operator delete(block);
}
#endif

int main() {
    check_that_malloc_is_ours();
    const std::size_t sizes[] = {1, 40, 1000, 200000};
    for (std::size_t size : sizes) {
        ::operator delete(::operator new(size));
        ::operator delete(::operator new(size), size);
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](size));
        ::operator delete[](::operator new[](size), size);
        ::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
    }
    CHECK(calls > 0);
    return 0;
}
