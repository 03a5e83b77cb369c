// What the programs of misuse share: blocks with neighbours, and how a program ends.
//
// Each makes one error in its use of memory, which its arguments choose, and goes on as a program does that does not
// know of it. None writes to standard error: what is said there comes from the allocator.

#ifndef MISUSE_H
#define MISUSE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <new>

// How a block is allocated, and what releases it.
struct Api {
    const char *name;
    void *(*allocate)(size_t);
    void (*release)(void *);
};

// What the program does with one word of its command line.
template <typename T> struct Choice {
    const char *name;
    T meaning;
};

constexpr std::align_val_t wide{64};

static void *grown(size_t size) { return realloc(malloc(size / 2 + 1), size); }
static void *zeroed(size_t size) { return calloc(1, size); }
static void *aligned(size_t size) { return aligned_alloc(static_cast<size_t>(wide), size); }
static void *new_one(size_t size) { return ::operator new(size); }
static void *new_array(size_t size) { return new char[size]; }
static void *new_aligned(size_t size) { return ::operator new(size, wide); }
static void delete_one(void *block) { ::operator delete(block); }
static void delete_array(void *block) { delete[] static_cast<char *>(block); }
static void delete_aligned(void *block) { ::operator delete(block, wide); }

static const Api apis[] = {
    {"malloc", malloc, free},           {"calloc", zeroed, free},
    {"realloc", grown, free},           {"aligned", aligned, free},
    {"new", new_one, delete_one},       {"new[]", new_array, delete_array},
    {"new-aligned", new_aligned, delete_aligned},
};

// The entry of a table that has this name. An unknown name is a mistake of whoever started the program.
template <typename T, size_t N> static const T &named(const T (&table)[N], const char *name) {
    for (const T &entry : table) {
        if (strcmp(entry.name, name) == 0) return entry;
    }
    printf("unknown: %s\n", name);
    exit(2);
}

template <typename T, size_t N>
static T choice(const Choice<T> (&table)[N], const char *name) {
    return named(table, name).meaning;
}

static size_t number(const char *text) { return strtoul(text, nullptr, 10); }

// What becomes of it is nobody's business, but the compiler can't know.
static volatile unsigned char sink;

static void read_byte(const void *byte) { sink = *static_cast<const volatile unsigned char *>(byte); }

// A block with others about it that hold something, as in a program at work.
struct Scene {
    const Api &api;
    size_t size;
    char *before[3];
    char *block;
    char *behind[3];

    Scene(const Api &api, size_t size) : api(api), size(size) {
        for (char *&other : before) other = filled(size);
        block = filled(size);
        for (char *&other : behind) other = filled(size);
    }

    char *filled(size_t bytes) const {
        void *made = api.allocate(bytes);
        return static_cast<char *>(memset(made, 'a', bytes));
    }

    void release() { api.release(block); }

    void release_others() {
        for (char *other : before) api.release(other);
        for (char *other : behind) api.release(other);
    }
};

// The program's other work: blocks of many sizes come and go.
static void work_on() {
    char *blocks[200];
    for (size_t i = 0; i < 200; i++) {
        size_t size = 8 + i * 37 % 500;
        blocks[i] = static_cast<char *>(memset(malloc(size), 'b', size));
    }
    for (char *block : blocks) free(block);
}

static void in_other_thread(void (*action)(void *), void *argument) {
    struct Task {
        void (*action)(void *);
        void *argument;
    } task{action, argument};
    auto run = [](void *task) -> void * {
        auto *it = static_cast<Task *>(task);
        it->action(it->argument);
        return nullptr;
    };
    pthread_t thread;
    if (pthread_create(&thread, nullptr, run, &task) != 0) exit(2);
    pthread_join(thread, nullptr);
}

// To be called first. A program that hangs is killed; one that aborts leaves no file behind.
static void begin() {
    alarm(5);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
}

#endif
