// One claim about the hardened mode, chosen by the argument: an error that is told, after the pointer it is
// about, or something that has to work.
#include "malloc_check.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

// Of malloc_hardened_library.c: from before the pool was hardened.
extern "C" void *early_block, *early_block_to_grow;

namespace {

constexpr std::size_t small = 40, large = 200000, page = 4096;
constexpr std::align_val_t wide{64};

// How many blocks wait before memory is used again.
constexpr int waiting = 128;

// Tells what is about to be misused.
char *told(void *pointer) {
    printf("%p\n", pointer);
    fflush(stdout);
    return static_cast<char *>(pointer);
}

char *block_of(std::size_t size) { return told(malloc(unknown(size))); }

// Another byte than is there: a canary may be any.
void write_at(char *block, std::ptrdiff_t offset) {
    volatile char *byte = block + offset;
    *byte = static_cast<char>(*byte ^ 'A');
}

void read_at(char *block, std::ptrdiff_t offset) {
    (void)*reinterpret_cast<volatile char *>(block + offset);
}

void in_other_thread(void *(*action)(void *), void *argument) {
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, nullptr, action, argument), 0);
    CHECK_EQUAL(pthread_join(thread, nullptr), 0);
}

void free_in_other_thread(void *block) {
    in_other_thread([](void *block) -> void * { return free(block), nullptr; }, block);
}

// --- Out of bounds ---

void overflow_by_one() {
    char *block = block_of(small);
    write_at(block, small);
    free(block);
}

void overflow_by_one_large() {
    char *block = block_of(large);
    write_at(block, large);
    free(block);
}

void overflow_found_by_realloc() {
    char *block = block_of(small);
    write_at(block, small + 1);
    CHECK_FAILS(realloc(block, 1000), EINVAL);
}

void overflow_found_by_other_thread() {
    char *block = block_of(small);
    write_at(block, small + 3);
    free_in_other_thread(block);
}

void underflow_found_at_exit() { write_at(block_of(small), -1); }
void overflow_found_at_exit() { write_at(block_of(small), small); }

// Its standard output is a stream that is no more by then.
void overflow_found_at_exit_without_output() {
    overflow_found_at_exit();
    std::atexit([] {
        stdout = std::fopen("/dev/null", "w");
        std::fclose(stdout);
    });
}

// A thread that is to be cancelled ends the program, with output to write.
void overflow_found_at_exit_of_cancelled_thread() {
    overflow_found_at_exit();
    auto end = [](void *argument) {
        std::puts("went on");
        pthread_cancel(pthread_self());
        std::exit(0);
        return argument;
    };
    pthread_t thread;
    pthread_create(&thread, nullptr, end, nullptr);
    pthread_join(thread, nullptr);
}

void underflow() {
    char *block = block_of(small);
    write_at(block, -1);
    free(block);
}

void underflow_aligned() {
    char *block = told(aligned_alloc(256, small));
    write_at(block, -40);
    free(block);
}

void far_overflow_large() { write_at(block_of(large), large + page); }
void far_read_large() { read_at(block_of(large), large + page); }
void far_underflow_large() { write_at(block_of(large), -2 * static_cast<std::ptrdiff_t>(page)); }
void zero_size_written() { write_at(block_of(0), 0); }
void zero_size_read() { read_at(block_of(0), 0); }

void zero_size_new_and_free() { free(told(::operator new(0))); }
void zero_size_new_array_and_free() { free(told(::operator new[](0))); }
void zero_size_malloc_and_delete() { ::operator delete(block_of(0)); }
void zero_size_new_and_realloc() { CHECK_FAILS(realloc(told(::operator new(0)), 10), EINVAL); }

// Also with sizes.
void zero_size_allocated_and_released() {
    ::operator delete(::operator new(0), std::size_t{0});
    ::operator delete[](::operator new[](0));
    ::operator delete(::operator new(0, wide), wide);
    free(malloc(0));
    free(realloc(malloc(0), 10));
}

void zero_size_released_twice() {
    char *block = block_of(0);
    free(block);
    free(block);
}

// Although there is no memory for it.
void zero_size_released_and_resized() {
    char *block = block_of(0);
    free(block);
    CHECK_FAILS(realloc(block, PTRDIFF_MAX / 2), EINVAL);
}

void strings_end_at_the_canary() {
    for (std::size_t size = 1; size < 20000; size += size / 7 + 1) {
        char *block = static_cast<char *>(memset(malloc(size), 'A', size));
        CHECK_EQUAL(strlen(block), size);
        free(block);
    }
}

// --- After the release ---

void use_after_release_large() {
    char *block = block_of(large);
    free(block);
    read_at(block, 1000);
}

// Nothing small was allocated before.
void use_after_release_large_by_a_new_thread() {
    in_other_thread(
        [](void *) -> void * {
            use_after_release_large();
            return nullptr;
        },
        nullptr);
}

void write_after_release() {
    char *block = block_of(small);
    free(block);
    write_at(block, 8);
    for (int i = 0; i < 2 * waiting; i++) {
        free(malloc(1000));
    }
}

void write_after_release_found_at_exit() {
    char *block = block_of(small);
    free(block);
    write_at(block, 8);
}

// What an ended thread has released waits with what the pool has.
void write_after_release_by_ended_thread_found_at_exit() {
    char *block = block_of(small);
    free_in_other_thread(block);
    write_at(block, 8);
}

// It has left quarantine, and lies in a span that is full but for it.
void write_after_release_among_live_found_at_exit() {
    constexpr std::size_t size = 100;
    CHECK(malloc(size) != nullptr);
    char *block = block_of(size);
    CHECK(malloc(size) != nullptr);
    free(block);
    write_at(block, 0);
    for (int i = 0; i < waiting + 2; i++) {
        free(malloc(size));
    }
}

void write_after_release_and_wait() {
    char *block = block_of(small);
    free(block);
    for (int i = 0; i < waiting; i++) {
        free(malloc(1000));
    }
    write_at(block, 8);
    // One of so many gets the memory.
    for (int i = 0; i < 5000; i++) {
        CHECK(malloc(small) != nullptr);
    }
}

void write_after_release_before_large() {
    char *block = block_of(large);
    free(block);
    write_at(block, -static_cast<std::ptrdiff_t>(page));
    for (int i = 0; i < waiting; i++) {
        free(malloc(large));
    }
}

void double_free_while_it_waits() {
    char *block = block_of(small);
    free(block);
    for (int i = 0; i < waiting / 2; i++) {
        free(malloc(small));
    }
    free(block);
}

void double_free_by_other_thread() {
    char *block = block_of(small);
    free(block);
    free_in_other_thread(block);
}

void double_free_after_other_thread() {
    char *block = block_of(small);
    free_in_other_thread(block);
    free(block);
}

void quarantine_delays_reuse() {
    for (std::size_t size : {std::size_t{16}, small, std::size_t{1000}}) {
        void *block = malloc(size);
        free(block);
        for (int i = 0; i < waiting - 1; i++) {
            void *other = malloc(size);
            CHECK(other != block);
            free(other);
        }
    }
}

// Not one after the other, as they would lie else.
void placement_is_random() {
    constexpr int blocks = 64;
    int ascents = 0;
    char *last = static_cast<char *>(malloc(small));
    for (int i = 0; i < blocks; i++) {
        char *next = static_cast<char *>(malloc(small));
        ascents += next > last;
        last = next;
    }
    CHECK(ascents > 5 && ascents < blocks - 5);
}

// --- By the wrong function ---

void malloc_and_delete() { ::operator delete(block_of(small)); }
void malloc_and_delete_array() { ::operator delete[](block_of(small)); }
void new_and_free() { free(told(::operator new(small))); }
void new_and_realloc() { CHECK_FAILS(realloc(told(::operator new(small)), 10), EINVAL); }
void new_and_delete_array() { ::operator delete[](told(::operator new(small))); }
void new_array_and_delete() { ::operator delete(told(::operator new[](small))); }
void new_array_and_free() { free(told(::operator new[](small))); }
void aligned_new_and_free() { free(told(::operator new(small, wide))); }
void aligned_new_and_delete_array() { ::operator delete[](told(::operator new(small, wide)), wide); }
void aligned_alloc_and_delete() { ::operator delete(told(aligned_alloc(64, small)), wide); }
void nothrow_new_and_free() { free(told(::operator new(small, std::nothrow))); }

void sized_delete() { ::operator delete(told(::operator new(small)), unknown(small - 1)); }
void sized_delete_array() { ::operator delete[](told(::operator new[](small)), unknown(small * 2)); }

void sized_delete_aligned() {
    ::operator delete(told(::operator new(small, wide)), unknown(small + 1), wide);
}

// The second call is the right one. Volatile, so that the compiler doesn't know what either is about.
void refused_deletes() {
    void *volatile block = told(::operator new(small));
    ::operator delete(block, unknown(small * 100));
    ::operator delete(block);
    block = ::operator new(small);
    ::operator delete[](block);
    ::operator delete(block);
}

void sized_delete_far_off() { ::operator delete(told(::operator new(small)), unknown(small * 100)); }

void new_array_and_sized_delete() { ::operator delete(told(::operator new[](small)), small); }
void new_and_sized_delete_array() { ::operator delete[](told(::operator new(small)), small); }
void malloc_and_sized_delete() { ::operator delete(block_of(small), small); }

void overflow_found_by_sized_delete() {
    void *block = ::operator new(small);
    write_at(told(block), small);
    ::operator delete(block, small);
}

void overflow_found_by_delete_array() {
    void *block = ::operator new[](small);
    write_at(told(block), small);
    ::operator delete[](block);
}

void sized_delete_twice() {
    void *volatile block = told(::operator new(small));
    ::operator delete(block, small);
    ::operator delete(block, small);
}

void delete_array_twice() {
    void *volatile block = told(::operator new[](small));
    ::operator delete[](block);
    ::operator delete[](block);
}

// --- What has to work ---

// Whichever two go together, of blocks that are at hand and of others.
void operators_go_together() {
    for (std::size_t size = 1; size < 300000; size += size / 5 + 1) {
        for (int i = 0; i < 3; i++) {
            ::operator delete(::operator new(size), size);
            ::operator delete[](::operator new[](size));
            ::operator delete[](::operator new[](size), size);
            ::operator delete[](::operator new[](size, std::nothrow));
            ::operator delete[](::operator new[](size, wide), size, wide);
            ::operator delete[](::operator new[](size, std::align_val_t{8}), std::align_val_t{8});
        }
    }
    ::operator delete(nullptr, size_t{1});
    ::operator delete[](nullptr);
}

void sizes_are_exact() {
    for (std::size_t size = 1; size < 300000; size += size / 5 + 1) {
        void *block = malloc(size);
        CHECK_EQUAL(malloc_usable_size(block), size);
        block = realloc(block, size * 2 + 1);
        CHECK_EQUAL(malloc_usable_size(block), size * 2 + 1);
        free(block);
    }
    void *nothing[] = {malloc(0), malloc(0)};
    CHECK(nothing[0] != nullptr && nothing[0] != nothing[1]);
    CHECK_EQUAL(malloc_usable_size(nothing[0]), 0);
    nothing[0] = realloc(nothing[0], 100);
    CHECK_EQUAL(malloc_usable_size(memset(nothing[0], 1, 100)), 100);
    free(nothing[0]);
    free(nothing[1]);
}

void early_blocks_are_released_and_resized() {
    CHECK(early_block != nullptr && early_block_to_grow != nullptr);
    CHECK(malloc_usable_size(early_block) >= 100);
    free(early_block);
    auto *grown = static_cast<unsigned char *>(realloc(early_block_to_grow, 5000));
    for (int i = 0; i < 1000; i++) {
        CHECK_EQUAL(grown[i], 7);
    }
    CHECK_EQUAL(malloc_usable_size(grown), 5000);
    free(grown);
}

void early_block_released_twice() {
    free(told(early_block));
    free(early_block);
}

struct Exchange {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    void *blocks[200] = {};
    unsigned threads = 0;
};

// Blocks of all sizes, small and guarded, that one thread allocates, another resizes and a third releases.
void *exchange(void *argument) {
    auto *shared = static_cast<Exchange *>(argument);
    pthread_mutex_lock(&shared->lock);
    uint64_t random = ++shared->threads;
    pthread_mutex_unlock(&shared->lock);
    for (int round = 0; round < 4000; round++) {
        std::size_t size = random_size(&random, round % 50 == 0 ? 18 : 11) + 1;
        void *block = memset(malloc(size), round, size);
        pthread_mutex_lock(&shared->lock);
        std::swap(block, shared->blocks[random_below(&random, 200)]);
        pthread_mutex_unlock(&shared->lock);
        if (block != nullptr && round % 3 == 0) {
            block = realloc(block, size);
            CHECK(block != nullptr);
            memset(block, round, size);
        }
        free(block);
    }
    return nullptr;
}

// Some end while the others still work; what the program's end looks at may be changing.
void threads_that_share_blocks() {
    static Exchange shared;
    pthread_t threads[4];
    for (pthread_t &thread : threads) {
        CHECK_EQUAL(pthread_create(&thread, nullptr, exchange, &shared), 0);
    }
    CHECK_EQUAL(pthread_join(threads[0], nullptr), 0);
    CHECK_EQUAL(pthread_join(threads[1], nullptr), 0);
}

void children_go_on() {
    char *inherited = static_cast<char *>(memset(malloc(large), 1, large));
    free(malloc(small));
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            free(inherited);
            for (std::size_t size = 1; size < large; size *= 2) {
                free(memset(malloc(size), 1, size));
            }
            exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    free(inherited);
}

// They are of a pool of their own, which other threads may be in the midst of.
void children_can_have_blocks_without_bytes() {
    static std::atomic<bool> is_over{false};
    pthread_t threads[2];
    for (pthread_t &thread : threads) {
        auto busy = [](void *) -> void * {
            while (!is_over) {
                free(malloc(0));
            }
            return nullptr;
        };
        CHECK_EQUAL(pthread_create(&thread, nullptr, busy, nullptr), 0);
    }
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0) {
            // Or it would wait for ever.
            alarm(30);
            free(malloc(0));
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    is_over = true;
    for (pthread_t thread : threads) {
        CHECK_EQUAL(pthread_join(thread, nullptr), 0);
    }
}

// By the program that started this one.
void ignored_signals_stay_ignored() {
    struct sigaction action;
    CHECK_EQUAL(sigaction(SIGSEGV, nullptr, &action), 0);
    if (getenv("IGNORES_SIGNALS") == nullptr) {
        CHECK(action.sa_handler != SIG_DFL);
        CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR);
        CHECK_EQUAL(setenv("IGNORES_SIGNALS", "yes", 1), 0);
        execl("/proc/self/exe", "malloc_hardened", __func__, nullptr);
    }
    CHECK(action.sa_handler == SIG_IGN);
}

const struct {
    const char *name;
    void (*run)();
} cases[] = {
#define CASE(name) {#name, name}
    CASE(overflow_by_one),
    CASE(overflow_by_one_large),
    CASE(overflow_found_by_realloc),
    CASE(overflow_found_by_other_thread),
    CASE(overflow_found_at_exit),
    CASE(overflow_found_at_exit_without_output),
    CASE(overflow_found_at_exit_of_cancelled_thread),
    CASE(underflow_found_at_exit),
    CASE(underflow),
    CASE(underflow_aligned),
    CASE(far_overflow_large),
    CASE(far_read_large),
    CASE(far_underflow_large),
    CASE(zero_size_written),
    CASE(zero_size_read),
    CASE(zero_size_new_and_free),
    CASE(zero_size_new_array_and_free),
    CASE(zero_size_malloc_and_delete),
    CASE(zero_size_new_and_realloc),
    CASE(zero_size_allocated_and_released),
    CASE(zero_size_released_twice),
    CASE(zero_size_released_and_resized),
    CASE(strings_end_at_the_canary),
    CASE(use_after_release_large),
    CASE(use_after_release_large_by_a_new_thread),
    CASE(write_after_release),
    CASE(write_after_release_found_at_exit),
    CASE(write_after_release_by_ended_thread_found_at_exit),
    CASE(write_after_release_among_live_found_at_exit),
    CASE(write_after_release_and_wait),
    CASE(write_after_release_before_large),
    CASE(double_free_while_it_waits),
    CASE(double_free_by_other_thread),
    CASE(double_free_after_other_thread),
    CASE(quarantine_delays_reuse),
    CASE(placement_is_random),
    CASE(malloc_and_delete),
    CASE(malloc_and_delete_array),
    CASE(new_and_free),
    CASE(new_and_realloc),
    CASE(new_and_delete_array),
    CASE(new_array_and_delete),
    CASE(new_array_and_free),
    CASE(aligned_new_and_free),
    CASE(aligned_new_and_delete_array),
    CASE(aligned_alloc_and_delete),
    CASE(nothrow_new_and_free),
    CASE(sized_delete),
    CASE(sized_delete_array),
    CASE(sized_delete_aligned),
    CASE(refused_deletes),
    CASE(sized_delete_far_off),
    CASE(new_array_and_sized_delete),
    CASE(new_and_sized_delete_array),
    CASE(malloc_and_sized_delete),
    CASE(overflow_found_by_sized_delete),
    CASE(overflow_found_by_delete_array),
    CASE(sized_delete_twice),
    CASE(delete_array_twice),
    CASE(operators_go_together),
    CASE(sizes_are_exact),
    CASE(early_blocks_are_released_and_resized),
    CASE(early_block_released_twice),
    CASE(threads_that_share_blocks),
    CASE(children_go_on),
    CASE(children_can_have_blocks_without_bytes),
    CASE(ignored_signals_stay_ignored),
};

} // namespace

int main(int argc, char **argv) {
    // Printing must not allocate.
    static char buffer[256];
    CHECK_EQUAL(setvbuf(stdout, buffer, _IOFBF, sizeof buffer), 0);
    check_that_malloc_is_ours();
    CHECK_EQUAL(argc, 2);
    for (const auto &one : cases) {
        if (strcmp(one.name, argv[1]) == 0) {
            one.run();
            puts("went on");
            return 0;
        }
    }
    return 2;
}
