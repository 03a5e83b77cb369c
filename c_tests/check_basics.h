/*
 * The checks that all C programs share. What becomes of a failure differs: whoever includes this says so
 * by defining check_failed().
 */
#ifndef CHECK_BASICS_H
#define CHECK_BASICS_H

#include <stdint.h>
#include <stdio.h>

/* The condition holds, or the program ends here. */
#define CHECK(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, ""))

/* Two numbers are equal; a failure prints both. */
#define CHECK_EQUAL(actual, expected) \
    check_equal(__FILE__, __LINE__, #actual " == " #expected, (uintmax_t)(actual), \
                (uintmax_t)(expected))

/* Says where the program failed, at what and with which values, and ends it. */
static inline void check_failed(const char *file, int line, const char *what, const char *values);

static inline void check_equal(const char *file, int line, const char *what, uintmax_t actual,
                               uintmax_t expected) {
    if (actual != expected) {
        char values[64];
        snprintf(values, sizeof values, ", but it is %ju, not %ju", actual, expected);
        check_failed(file, line, what, values);
    }
}

#endif
