// What the C++ programs share that test heapmaster.hpp.
#ifndef CHECK_HPP
#define CHECK_HPP

#include "check_basics.h"

#include <cstdlib>
#include <heapmaster.hpp>

// The expression throws an exception of this very type, which is what the program goes on to look at.
#define CHECK_THROWS(Exception, expression) \
    check_throws<Exception>(__FILE__, __LINE__, #expression " throws " #Exception, \
                            [&] { static_cast<void>(expression); })

static inline void check_failed(const char *file, int line, const char *what, const char *values) {
    std::fprintf(stderr, "%s:%d: %s%s\n    last error: %s\n", file, line, what, values,
                 hl_last_error_message());
    std::exit(1);
}

#if defined(__cpp_exceptions)
template <class Exception, class Action>
Exception check_throws(const char *file, int line, const char *what, Action action) {
    try {
        action();
    } catch (const Exception &thrown) {
        if (typeid(thrown) != typeid(Exception)) {
            check_failed(file, line, what, ", but one derived of it was thrown");
        }
        return thrown;
    } catch (...) {
        check_failed(file, line, what, ", but another was thrown");
    }
    check_failed(file, line, what, ", but nothing was thrown");
    std::abort();
}
#endif

// Whether all that a pool handed out has come back, and its books are in order.
inline bool is_whole(heapmaster::pool_ref pool) {
    pool.check();
    return pool.stats().live_blocks == 0;
}

#endif
