// A walk shows any callable every block, and an exception of it comes out where the walk was begun.
#include "check.hpp"

#include <set>
#include <stdexcept>
#include <string>

namespace {

alignas(64) unsigned char region[256 * 1024];

void every_live_block_is_shown(heapmaster::pool_ref pool, const std::set<void *> &blocks) {
    std::set<void *> shown;
    std::size_t free_bytes = 0;
    pool.walk([&](const hl_block_info &block) {
        if (block.state == HL_BLOCK_LIVE) {
            shown.insert(block.address);
        } else {
            free_bytes += block.size;
        }
    });
    CHECK(shown == blocks);
    CHECK(free_bytes > 0);
}

void false_ends_the_walk(heapmaster::pool_ref pool) {
    int visits = 0;
    pool.walk([&](const hl_block_info &) { return ++visits < 3; });
    CHECK_EQUAL(visits, 3);
}

struct stopped {
    std::string reason;
    int visits;
};

void an_exception_ends_the_walk_and_comes_out(heapmaster::pool_ref pool) {
    for (int last = 1; last < 100; last++) {
        int visits = 0;
        const auto thrown = CHECK_THROWS(stopped, pool.walk([&](const hl_block_info &) {
            if (++visits == last) {
                throw stopped{"a reason that is too long for the object itself", visits};
            }
        }));
        CHECK_EQUAL(thrown.visits, last);
        CHECK_EQUAL(visits, last);
        CHECK_EQUAL(thrown.reason.size(), 47);
    }
    pool.check();
}

void a_visitor_may_use_the_pool_and_throw_what_it_throws(heapmaster::pool_ref pool) {
    CHECK_THROWS(std::bad_alloc, pool.walk([&](const hl_block_info &) {
        pool.release(pool.allocate(sizeof region));
    }));
    const auto nested = [&] {
        pool.walk([&](const hl_block_info &) {
            pool.walk([](const hl_block_info &) -> bool { throw std::logic_error("inner"); });
        });
    };
    CHECK_THROWS(std::logic_error, nested());
}

void a_visitor_that_can_only_be_moved_is_not_copied(heapmaster::pool_ref pool) {
    struct counter {
        std::unique_ptr<int> visits = std::make_unique<int>(0);
        void operator()(const hl_block_info &) const { ++*visits; }
    };
    const counter visitor;
    pool.walk(visitor);
    CHECK(*visitor.visits > 100);
}

} // namespace

int main() {
    heapmaster::pool pool;
    pool.add_heap(region);
    std::set<void *> blocks;
    for (std::size_t size = 1; size <= 300; size++) {
        blocks.insert(pool.allocate(size));
    }
    every_live_block_is_shown(pool, blocks);
    false_ends_the_walk(pool);
    an_exception_ends_the_walk_and_comes_out(pool);
    a_visitor_may_use_the_pool_and_throw_what_it_throws(pool);
    a_visitor_that_can_only_be_moved_is_not_copied(pool);
    every_live_block_is_shown(pool, blocks);
}
