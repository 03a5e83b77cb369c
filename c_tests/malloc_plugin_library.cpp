// A plugin in C++, to be loaded by a program that knows nothing of C++.
#include <new>
#include <cstddef>
#include <cstdint>

namespace {

int handler_calls;

void handler() {
    if (++handler_calls == 3) {
        throw std::bad_alloc();
    }
}

void *volatile used;

} // namespace

// A bit for each thing that went as it should.
extern "C" int plugin_run(std::size_t too_much) {
    int good = 0;
    try {
        used = ::operator new(too_much);
    } catch (const std::bad_alloc &) {
        good |= 1;
    }
    used = &good;
    used = ::operator new(too_much, std::nothrow);
    good |= used == nullptr ? 2 : 0;

    std::set_new_handler(handler);
    used = ::operator new[](too_much, std::nothrow);
    good |= used == nullptr && handler_calls == 3 ? 4 : 0;
    handler_calls = 0;
    try {
        used = ::operator new[](too_much);
    } catch (const std::bad_alloc &) {
        good |= handler_calls == 3 ? 8 : 0;
    }
    std::set_new_handler(nullptr);

    used = ::operator new(100);
    ::operator delete(used, std::size_t{100});
    return good;
}
