// A pool from the system, through the C header and whichever library it is linked with.
#include <heapmaster.h>

#include <memory>

namespace {

struct Delete {
    void operator()(hl_pool *pool) const { hl_pool_delete(pool); }
};

struct Release {
    hl_pool *pool;
    void operator()(void *block) const { hl_release(pool, block); }
};

} // namespace

int main() {
    const std::unique_ptr<hl_pool, Delete> pool{hl_pool_new()};
    if (hl_add_system_heap(pool.get(), 64 << 20) != HL_OK) {
        return 1;
    }
    const std::unique_ptr<void, Release> block{hl_alloc(pool.get(), 1 << 20), Release{pool.get()}};
    return hl_owns(pool.get(), block.get()) ? 0 : 2;
}
