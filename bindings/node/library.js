'use strict';

// The C ABI by koffi. HEAPMASTER_LIBRARY names the shared library, else the system's loader finds it.

const koffi = require('koffi');

const path = process.env.HEAPMASTER_LIBRARY || 'libheapmaster.so.0';
let library;
try {
    library = koffi.load(path);
} catch (cause) {
    throw new Error(`can't load HeapMaster's library ${path}, see HEAPMASTER_LIBRARY`, { cause });
}

exports.Config = koffi.struct('hl_config', { struct_size: 'size_t', flags: 'uint32_t', limit: 'size_t' });
exports.PoolStatistics = koffi.struct('hl_pool_statistics', {
    struct_size: 'size_t',
    heaps: 'size_t',
    capacity_bytes: 'size_t',
    metadata_bytes: 'size_t',
    used_bytes: 'size_t',
    peak_used_bytes: 'size_t',
    free_bytes: 'size_t',
    largest_free_block: 'size_t',
    live_blocks: 'size_t',
    live_bytes: 'size_t',
    allocations: 'uint64_t',
    releases: 'uint64_t',
    failures: 'uint64_t',
    misuses: 'uint64_t',
    limit: 'size_t',
});
exports.BlockInfo = koffi.struct('hl_block_info', {
    struct_size: 'size_t',
    address: 'void *',
    size: 'size_t',
    state: 'int32_t',
});
koffi.proto('bool hl_visit_fn(const hl_block_info *block, void *context)');

const functions = [
    'const char *hl_version()',
    'const char *hl_status_name(int32_t status)',
    'const char *hl_status_message(int32_t status)',
    'int32_t hl_last_error()',
    'const char *hl_last_error_message()',
    'void *hl_pool_new_with(const hl_config *config)',
    'int32_t hl_pool_delete(void *pool)',
    'int32_t hl_pool_set_limit(void *pool, size_t bytes)',
    'int32_t hl_pool_stats(void *pool, _Inout_ hl_pool_statistics *statistics)',
    'int32_t hl_pool_check(void *pool)',
    'int32_t hl_pool_walk(void *pool, hl_visit_fn *visit, void *context)',
    'int32_t hl_add_heap(void *pool, void *memory, size_t size)',
    'int32_t hl_add_system_heap(void *pool, size_t max_size)',
    'void *hl_alloc(void *pool, size_t size)',
    'void *hl_alloc_zeroed(void *pool, size_t count, size_t size)',
    'void *hl_alloc_aligned(void *pool, size_t alignment, size_t size)',
    'void *hl_resize(void *pool, void *block, size_t size)',
    'int32_t hl_release(void *pool, void *block)',
    'size_t hl_usable_size(void *pool, void *block)',
    'bool hl_owns(void *pool, void *address)',
];
for (const prototype of functions) {
    const [name] = prototype.match(/hl_\w+(?=\()/);
    exports[name] = library.func(prototype);
}

exports.HL_POOL_HARDENED = 2;
exports.HL_BLOCK_LIVE = 1;
exports.view = (address, size) => new Uint8Array(koffi.view(address, size));
exports.blockInfo = (pointer) => koffi.decode(pointer, exports.BlockInfo);
