// What a thread destroys when it ends allocates and releases: C++ objects that are local to it, and the values
// of keys, made before ours and after it, once more when ours has run already, and then with thread-local
// objects that did not exist until then.
#include "default_pool.h"

#include <pthread.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int threads_at_once = 4, generations = 50, rounds = 3;

std::atomic<int> objects_destroyed, values_destroyed;

using Blocks = std::map<int, std::string>;

Blocks some_blocks(int seed) {
    Blocks blocks;
    for (int i = 0; i < 200; i++) {
        blocks[i * seed % 211] = std::string(static_cast<std::size_t>(i * 13 % 2000), 'x');
    }
    return blocks;
}

void check(const Blocks &blocks) {
    for (const auto &[key, text] : blocks) {
        CHECK(text.find_first_not_of('x') == std::string::npos);
        CHECK(key < 211);
    }
}

// Allocates, and releases what its thread has allocated before, in its destructor.
struct Object {
    Blocks blocks = some_blocks(3);
    std::unique_ptr<Object> inner;

    ~Object() {
        check(blocks);
        blocks = some_blocks(5);
        check(blocks);
        objects_destroyed++;
    }
};

thread_local Object first, second;

// Not touched before the destructors of keys run: then it is too late for its own destructor.
thread_local Blocks *late;

struct Value {
    pthread_key_t key;
    int rounds_left;
    Blocks blocks;
};

void destroy(void *pointer) {
    auto *value = static_cast<Value *>(pointer);
    check(value->blocks);
    if (late == nullptr) {
        late = new Blocks(some_blocks(11));
    }
    values_destroyed++;
    if (--value->rounds_left > 0) {
        value->blocks = some_blocks(7);
        CHECK_EQUAL(pthread_setspecific(value->key, value), 0);
        return;
    }
    delete value;
    delete late;
    late = nullptr;
}

void set(pthread_key_t key) {
    CHECK_EQUAL(pthread_setspecific(key, new Value{key, rounds, some_blocks(2)}), 0);
}

} // namespace

int main() {
    check_that_malloc_is_ours();
    // Ours was made by the first malloc. Some lie behind it, others in the second table, for which the first
    // value that a thread sets allocates.
    std::vector<pthread_key_t> keys(50);
    for (auto &key : keys) {
        CHECK_EQUAL(pthread_key_create(&key, destroy), 0);
    }
    std::size_t live = 0;
    for (int generation = 0; generation < generations; generation++) {
        objects_destroyed = values_destroyed = 0;
        {
            std::vector<std::thread> threads;
            for (int i = 0; i < threads_at_once; i++) {
                threads.emplace_back([&] {
                    first.inner = std::make_unique<Object>();
                    second.blocks.clear();
                    set(keys.front());
                    set(keys.back());
                });
            }
            for (auto &thread : threads) {
                thread.join();
            }
        }
        CHECK_EQUAL(objects_destroyed.load(), 3 * threads_at_once);
        CHECK_EQUAL(values_destroyed.load(), 2 * rounds * threads_at_once);
        // The first stacks are kept for those who come later, with what belongs to them.
        live = generation == 1 ? default_pool_stats().live_blocks : live;
        CHECK(generation <= 1 || default_pool_stats().live_blocks == live);
    }
    check_default_pool();
    return 0;
}
