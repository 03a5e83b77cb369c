// A program that has the C++ runtime inside, of which it makes no name known by itself: memory that runs out is an
// exception all the same, or null.
#include "malloc_check.h"

#include <new>

namespace {

int calls;

void give_up() {
    if (++calls == 3) throw std::bad_alloc();
}

template <class New>
bool throws(New allocate) {
    try {
        allocate();
        return false;
    } catch (const std::bad_alloc &) {
        return true;
    }
}

} // namespace

int main() {
    check_that_malloc_is_ours();
    const std::size_t huge = unknown(std::size_t{1} << 60);
    CHECK(throws([=] { return ::operator new(huge); }));
    CHECK(throws([=] { return ::operator new[](huge); }));
    CHECK(throws([=] { return ::operator new(huge, std::align_val_t{64}); }));
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    std::set_new_handler(give_up);
    CHECK(throws([=] { return ::operator new(huge); }));
    CHECK_EQUAL(calls, 3);
    calls = 0;
    CHECK(::operator new(huge, std::align_val_t{64}, std::nothrow) == nullptr);
    CHECK_EQUAL(calls, 3);
    return 0;
}
