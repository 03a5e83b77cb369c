local ffi = require("ffi")
local heapmaster = require("heapmaster")

local KIB = 1024
local status = heapmaster.status
-- What tests look at behind the module's face.
local library = ffi.load(os.getenv("HEAPMASTER_LIBRARY") or "libheapmaster.so.0")

local function new_buffer()
    return ffi.new("uint8_t[?]", 64 * KIB)
end

-- Behind the module's face as well.
local function handle_of(pool)
    local _, state = next(pool)
    return state.handle
end

local function equal(actual, expected)
    if actual ~= expected then
        error(("%s instead of %s"):format(tostring(actual), tostring(expected)), 2)
    end
end

-- What a call raises: its status's name, or the plain error's text without the position.
local function refused(call, ...)
    local succeeded, failure = pcall(call, ...)
    assert(not succeeded, "it is not refused")
    if type(failure) == "table" then
        equal(failure.status, status[failure.name])
        return failure.name, failure.message
    end
    return (failure:gsub("^[^:]+:%d+: ", ""))
end

local tests = {}

function tests.statuses_are_those_of_the_library(_)
    equal(status.HL_OK, 0)
    equal(status.HL_ERR_ALREADY_RELEASED, 14)
    local unknown = ffi.string(library.hl_status_message(-1))
    local count = 0
    for name, number in pairs(status) do
        equal(ffi.string(library.hl_status_name(number)), name)
        assert(ffi.string(library.hl_status_message(number)) ~= unknown)
        count = count + 1
    end
    equal(ffi.string(library.hl_status_name(count)), "HL_ERR_UNKNOWN")
end

function tests.statistics_are_as_large_as_the_librarys(pool)
    -- The library fills in as much as it knows of a struct that is larger.
    local memory = ffi.new("uint8_t[1024]")
    ffi.fill(memory, 1024, 0xaa)
    local raw = ffi.cast("hl_pool_statistics *", memory)
    raw.struct_size = 1024
    equal(library.hl_pool_stats(handle_of(pool), raw), 0)
    local size = 1024
    while memory[size - 1] == 0xaa do
        size = size - 1
    end
    equal(size, ffi.sizeof("hl_pool_statistics"))
end

function tests.a_walked_block_is_as_large_as_the_librarys(pool)
    local sizes = {}
    local visit = ffi.cast("hl_visit_fn", function(block)
        sizes[tonumber(block.struct_size)] = true
        return true
    end)
    jit.off(true)
    equal(library.hl_pool_walk(handle_of(pool), visit, nil), 0)
    visit:free()
    equal(next(sizes), ffi.sizeof("hl_block_info"))
    equal(next(sizes, ffi.sizeof("hl_block_info")), nil)
end

function tests.the_version_is_the_librarys(_)
    assert(heapmaster.version():match("^%d+%.%d+%.%d+$"))
end

function tests.a_library_that_is_not_there_is_named(_)
    local command = "HEAPMASTER_LIBRARY=/nowhere/libheapmaster.so luajit -e 'require \"heapmaster\"' 2>&1"
    local output = io.popen(command):read("*a")
    assert(output:find("see HEAPMASTER_LIBRARY: /nowhere/libheapmaster.so", 1, true), output)
end

function tests.data_lie_in_the_buffer_and_survive_a_resize(pool, buffer)
    local block = pool:alloc(11)
    block:write("hello ")
    block:write("world", 6)
    assert(ffi.string(buffer, 64 * KIB):find("hello world", 1, true))
    pool:alloc(11)
    block:resize(5000)
    equal(block:read(0, 11), "hello world")
    equal(#block:read(), 5000)
    equal(block:pointer()[4], ("o"):byte())
end

function tests.zeroed_blocks_are_zero(pool)
    local dirty = pool:alloc(3000)
    dirty:write(("\255"):rep(3000))
    dirty:release()
    equal(pool:alloc_zeroed(3000):read(), ("\0"):rep(3000))
end

function tests.aligned_blocks_are_aligned(pool)
    local address = tonumber(ffi.cast("uintptr_t", pool:alloc_aligned(4096, 10):pointer()))
    equal(address % 4096, 0)
    local name, message = refused(pool.alloc_aligned, pool, 48, 10)
    equal(name, "HL_ERR_BAD_ALIGNMENT")
    equal(message, "bad alignment: 48 is not a power of two")
end

function tests.reading_and_writing_end_at_the_end_of_the_block(pool)
    local block = pool:alloc(10)
    equal(refused(block.read, block, 5, 6), "6 bytes at 5 are not in a block of 10 bytes")
    equal(refused(block.read, block, 11), "0 bytes at 11 are not in a block of 10 bytes")
    equal(refused(block.read, block, -1, 1), "-1 is not a number of bytes")
    equal(refused(block.write, block, "12345678901"), "11 bytes at 0 are not in a block of 10 bytes")
    equal(refused(block.write, block, "1", 10), "1 bytes at 10 are not in a block of 10 bytes")
end

function tests.sizes_that_nothing_can_have_are_refused(pool)
    for _, size in ipairs({ -1, 1.5, 2 ^ 64, 0 / 0 }) do
        assert(refused(pool.alloc, pool, size):find("is not a number of bytes$"))
    end
end

function tests.only_strings_are_written(pool)
    local block = pool:alloc(10)
    equal(refused(block.write, block, 5), "5 is not a string")
    equal(refused(block.write, block, nil), "nil is not a string")
end

function tests.fields_can_not_be_set(pool)
    local block = pool:alloc(10)
    for _, name in ipairs({ "size", "live", "memory" }) do
        local function set(object)
            object[name] = 1000
        end
        equal(refused(set, block), "the field " .. name .. " can't be set")
        equal(refused(set, pool), "the field " .. name .. " can't be set")
    end
    equal(block.size, 10)
end

function tests.pools_and_blocks_have_a_text(_)
    local pool = heapmaster.new()
    equal(tostring(pool), "HeapMaster pool")
    pool:add_heap(new_buffer())
    local block = pool:alloc(10)
    equal(tostring(block), "HeapMaster block of 10 bytes at " .. tostring(block:pointer()):match("0x%x+"))
    block:release()
    equal(tostring(block), "HeapMaster block of 10 bytes (released)")
    pool:close()
    equal(tostring(pool), "HeapMaster pool (closed)")
end

function tests.usable_size_holds_what_was_asked_for(pool)
    assert(pool:alloc(1000):usable_size() >= 1000)
end

function tests.addresses_of_blocks_are_the_pools(pool)
    assert(pool:owns(pool:alloc(1):pointer()))
    assert(not pool:owns(ffi.new("int[1]")))
end

function tests.a_byte_behind_a_block_is_found_if_the_pool_is_hardened(_)
    for _, hardened in ipairs({ false, true }) do
        local pool = heapmaster.new({ hardened = hardened })
        pool:add_heap(new_buffer())
        local block = pool:alloc(11)
        block:pointer()[11] = ("!"):byte()
        if hardened then
            local name, message = refused(block.release, block)
            equal(name, "HL_ERR_OVERRUN")
            assert(message:match("^overrun: byte 0 "))
        else
            block:release()
        end
        pool:close()
    end
end

function tests.a_second_release_is_refused_in_the_librarys_words(pool)
    local block = pool:alloc(100)
    block:release()
    local name, message = refused(block.release, block)
    equal(name, "HL_ERR_ALREADY_RELEASED")
    assert(message:match("^already released: 0x%x+ "))
    equal(pool:statistics().misuses, 1)
end

function tests.a_second_release_spares_the_block_that_lies_there_now(pool)
    local stale = pool:alloc(100)
    local address = stale:pointer()
    stale:release()
    local block = pool:alloc(100)
    equal(block:pointer(), address)
    local name, message = refused(stale.release, stale)
    equal(name, "HL_ERR_ALREADY_RELEASED")
    assert(message:find("released already"))
    assert(block.live)
    equal(pool:statistics().live_blocks, 1)
end

function tests.released_blocks_are_of_no_use(pool)
    local block = pool:alloc(100)
    block:release()
    assert(not block.live)
    for _, use in ipairs({ "pointer", "usable_size", "read", "release" }) do
        equal(refused(block[use], block), "HL_ERR_ALREADY_RELEASED")
    end
    equal(refused(block.write, block, "x"), "HL_ERR_ALREADY_RELEASED")
    equal(refused(block.resize, block, 10), "HL_ERR_ALREADY_RELEASED")
end

function tests.a_full_pool_and_a_limit_are_told_apart(pool)
    local name, message = refused(pool.alloc, pool, 2 ^ 20)
    equal(name, "HL_ERR_OUT_OF_MEMORY")
    assert(message:find("room for 1048576 bytes"))
    pool:set_limit(4096)
    equal(refused(pool.alloc, pool, 5000), "HL_ERR_LIMIT_REACHED")
    pool:set_limit(0)
    pool:alloc(5000)
end

function tests.a_pool_of_the_system_serves_large_blocks(pool)
    pool:add_system_heap(64 * KIB * KIB)
    local block = pool:alloc(8 * KIB * KIB)
    block:write("end", block.size - 3)
    equal(block:read(block.size - 3), "end")
end

function tests.what_can_be_no_heap_is_refused(pool, buffer)
    local NO_HEAP = "a heap is a C array of its own, not a part of another"
    equal(refused(pool.add_heap, pool, buffer), "HL_ERR_HEAP_OVERLAPS")
    equal(refused(pool.add_heap, pool, ffi.new("uint8_t[16]")), "HL_ERR_HEAP_TOO_SMALL")
    equal(refused(pool.add_heap, pool, "text"), NO_HEAP)
    equal(refused(pool.add_heap, pool, ffi.cast("uint8_t *", buffer)), NO_HEAP)
    equal(refused(pool.add_heap, pool, ffi.cast("uint8_t (*)[65536]", buffer)), NO_HEAP)
    equal(refused(pool.add_heap, pool, ffi.new("struct { uint8_t bytes[65536]; }").bytes), NO_HEAP)
    equal(refused(pool.add_heap, pool, ffi.new("uint8_t[2][65536]")[1]), NO_HEAP)
end

function tests.arrays_of_anything_are_heaps(pool)
    for _, name in ipairs({ "uint8_t[?]", "void *[?]", "int (*[?])(int)", "int (*[?])[4]" }) do
        pool:add_heap(ffi.new(name, 64 * KIB))
    end
    pool:add_heap(ffi.new("int[64][256]"))
    equal(pool:statistics().heaps, 6)
end

function tests.a_closed_pool_refuses_everything_but_another_close(pool, buffer)
    local block = pool:alloc(100)
    pool:close()
    pool:close()
    for _, use in ipairs({ "statistics", "check", "walk", "add_system_heap" }) do
        equal(refused(pool[use], pool), "the pool is closed")
    end
    equal(refused(pool.alloc, pool, 1), "the pool is closed")
    equal(refused(pool.add_heap, pool, buffer), "the pool is closed")
    equal(refused(block.release, block), "the pool is closed")
    equal(refused(block.read, block), "the pool is closed")
    assert(not block.live)
end

function tests.a_finalizer_at_the_programs_end_finds_the_pool_closed(_)
    local program = [[
        local pool = require("heapmaster").new()
        pool:add_system_heap(2 ^ 20)
        local block, guard = pool:alloc(100), newproxy(true)
        getmetatable(guard).__gc = function()
            print(select(2, pcall(block.release, block)))
        end
    ]]
    local pipe = io.popen("luajit -e '" .. program .. "' 2>&1; echo $?")
    assert(pipe:read("*a"):find("the pool is closed\n0\n$"))
end

function tests.forgotten_pools_make_room_for_a_system_heap(_)
    for _ = 1, 1000 do
        collectgarbage("stop")
        heapmaster.new():add_system_heap()
    end
    collectgarbage("restart")
end

function tests.a_forgotten_pool_gives_its_buffer_back(pool)
    local buffer = new_buffer()
    local forgotten = heapmaster.new()
    forgotten:add_heap(buffer)
    equal(refused(pool.add_heap, pool, buffer), "HL_ERR_HEAP_OVERLAPS")
    forgotten = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    pool:add_heap(buffer)
end

function tests.a_buffer_lives_as_long_as_its_pool(_)
    for _ = 1, 200 do
        local pool = heapmaster.new()
        pool:add_heap(new_buffer())
        local block = pool:alloc(1000)
        collectgarbage()
        block:write("here")
        equal(block:read(0, 4), "here")
    end
end

function tests.each_statistic_counts_what_its_name_says(pool)
    pool:add_system_heap(KIB * KIB)
    local blocks, live_bytes = {}, 0
    for i, size in ipairs({ 100, 1000, 2000, 3000, 4000, 5000 }) do
        blocks[i] = pool:alloc(size)
        live_bytes = live_bytes + (i > 2 and blocks[i]:usable_size() or 0)
    end
    blocks[1]:release()
    blocks[2]:release()
    for _ = 1, 3 do
        equal(refused(blocks[1].release, blocks[1]), "HL_ERR_ALREADY_RELEASED")
    end
    equal(refused(pool.alloc, pool, 2 ^ 30), "HL_ERR_OUT_OF_MEMORY")
    pool:set_limit(2 ^ 19)

    local now = pool:statistics()
    equal(now.heaps, 2)
    equal(now.live_blocks, 4)
    equal(now.live_bytes, live_bytes)
    equal(now.allocations, 6)
    equal(now.releases, 2)
    equal(now.misuses, 3)
    equal(now.failures, 1)
    equal(now.limit, 2 ^ 19)
    equal(now.capacity_bytes, now.used_bytes + now.free_bytes)
    assert(now.peak_used_bytes > now.used_bytes and now.used_bytes > 14000)
    assert(now.free_bytes > now.largest_free_block and now.largest_free_block > now.used_bytes)
    assert(now.metadata_bytes > 0 and now.metadata_bytes < now.capacity_bytes)
end

function tests.a_walk_shows_live_blocks_in_the_order_of_their_addresses(pool)
    local expected = {}
    for i, size in ipairs({ 10, 200, 3000 }) do
        expected[i] = pool:alloc(size):pointer()
    end
    table.sort(expected)
    local live, total = {}, 0
    for _, block in ipairs(pool:walk()) do
        total = total + block.size
        if block.live then
            live[#live + 1] = block.address
        end
    end
    equal(#live, #expected)
    for i = 1, #expected do
        equal(live[i], ffi.cast("void *", expected[i]))
    end
    equal(total, pool:statistics().capacity_bytes)
end

local names = {}
for name in pairs(tests) do
    names[#names + 1] = name
end
table.sort(names)
local failures = 0
for _, name in ipairs(names) do
    local buffer, pool = new_buffer(), heapmaster.new()
    pool:add_heap(buffer)
    local passed, failure = xpcall(tests[name], debug.traceback, pool, buffer)
    if passed then
        print("ok " .. name)
        if tostring(pool) == "HeapMaster pool" then
            pool:check()
        end
    else
        print("FAILED " .. name .. ": " .. tostring(failure))
        failures = failures + 1
    end
    pool:close()
end
print(("%d passed, %d failed"):format(#names - failures, failures))
os.exit(failures == 0 and 0 or 1)
