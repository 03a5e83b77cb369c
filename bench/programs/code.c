// Functions of every kind for a compiler to chew on.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FUNCTIONS(n)                                                                     \
    struct record##n {                                                                   \
        uint32_t key;                                                                    \
        double values[n % 7 + 1];                                                        \
        struct record##n *next;                                                          \
    };                                                                                   \
    double sum##n(const struct record##n *list, uint32_t key) {                          \
        double sum = 0;                                                                  \
        for (; list; list = list->next)                                                  \
            if (list->key % (key + n) == n)                                              \
                for (size_t i = 0; i < n % 7 + 1; i++) sum += list->values[i] * n;       \
        return sum;                                                                      \
    }                                                                                    \
    int sort##n(uint32_t *keys, size_t count) {                                          \
        int swaps = 0;                                                                   \
        for (size_t i = 1; i < count; i++)                                               \
            for (size_t j = i; j > 0 && keys[j - 1] > keys[j]; j--, swaps++) {           \
                uint32_t key = keys[j];                                                  \
                keys[j] = keys[j - 1];                                                   \
                keys[j - 1] = key;                                                       \
            }                                                                            \
        return swaps;                                                                    \
    }                                                                                    \
    uint64_t hash##n(const char *text) {                                                 \
        uint64_t hash = UINT64_C(14695981039346656037) + n;                              \
        switch (*text) {                                                                 \
        case 'a' + n % 26: hash ^= n; break;                                             \
        case '0' + n % 10: hash *= n; break;                                             \
        default: hash += strlen(text);                                                   \
        }                                                                                \
        while (*text) hash = (hash ^ (uint64_t)*text++) * UINT64_C(1099511628211);       \
        return hash;                                                                     \
    }

#define TEN(n) FUNCTIONS(n##0) FUNCTIONS(n##1) FUNCTIONS(n##2) FUNCTIONS(n##3) FUNCTIONS(n##4) \
    FUNCTIONS(n##5) FUNCTIONS(n##6) FUNCTIONS(n##7) FUNCTIONS(n##8) FUNCTIONS(n##9)

TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11) TEN(12)
