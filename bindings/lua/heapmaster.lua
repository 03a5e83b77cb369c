--- HeapMaster for LuaJIT: blocks of memory out of buffers that you hand in.
--
-- The shared library is the one that the environment variable HEAPMASTER_LIBRARY names, else the one that the
-- system's loader finds as libheapmaster.so.0.
--
-- Errors are tables: `name` is the status's name, "HL_ERR_...", `status` its number, `message` the library's line.
-- A closed pool and an argument of the wrong kind are plain error strings.

local ffi = require("ffi")

ffi.cdef([[
typedef struct hl_pool hl_pool;
typedef int32_t hl_status;

typedef struct hl_config {
    size_t struct_size;
    uint32_t flags;
    size_t limit;
} hl_config;

typedef struct hl_pool_statistics {
    size_t struct_size;
    size_t heaps;
    size_t capacity_bytes;
    size_t metadata_bytes;
    size_t used_bytes;
    size_t peak_used_bytes;
    size_t free_bytes;
    size_t largest_free_block;
    size_t live_blocks;
    size_t live_bytes;
    uint64_t allocations;
    uint64_t releases;
    uint64_t failures;
    uint64_t misuses;
    size_t limit;
} hl_pool_statistics;

typedef struct hl_block_info {
    size_t struct_size;
    void *address;
    size_t size;
    int32_t state;
} hl_block_info;
typedef bool (*hl_visit_fn)(const hl_block_info *block, void *context);

const char *hl_version(void);
const char *hl_status_name(int32_t status);
const char *hl_status_message(int32_t status);
hl_status hl_last_error(void);
const char *hl_last_error_message(void);

hl_pool *hl_pool_new_with(const hl_config *config);
hl_status hl_pool_delete(hl_pool *pool);
hl_status hl_pool_set_limit(hl_pool *pool, size_t bytes);
hl_status hl_pool_stats(hl_pool *pool, hl_pool_statistics *statistics);
hl_status hl_pool_check(hl_pool *pool);
hl_status hl_pool_walk(hl_pool *pool, hl_visit_fn visit, void *context);

hl_status hl_add_heap(hl_pool *pool, void *memory, size_t size);
hl_status hl_add_system_heap(hl_pool *pool, size_t max_size);

void *hl_alloc(hl_pool *pool, size_t size);
void *hl_alloc_zeroed(hl_pool *pool, size_t count, size_t size);
void *hl_alloc_aligned(hl_pool *pool, size_t alignment, size_t size);
void *hl_resize(hl_pool *pool, void *block, size_t size);
hl_status hl_release(hl_pool *pool, void *block);
size_t hl_usable_size(hl_pool *pool, const void *block);
bool hl_owns(hl_pool *pool, const void *address);
]])

local POOL_HARDENED = 2
local BLOCK_LIVE = 1

local path = os.getenv("HEAPMASTER_LIBRARY")
if not path or path == "" then
    path = "libheapmaster.so.0"
end
local loaded, library = pcall(ffi.load, path)
if not loaded then
    error("can't load HeapMaster's library, see HEAPMASTER_LIBRARY: " .. library)
end

local heapmaster = {}

--- The library's statuses, by their names.
heapmaster.status = {}
do
    local number = 0
    local name = ffi.string(library.hl_status_name(number))
    while name ~= "HL_ERR_UNKNOWN" do
        heapmaster.status[name] = number
        number = number + 1
        name = ffi.string(library.hl_status_name(number))
    end
end
local ALREADY_RELEASED = heapmaster.status.HL_ERR_ALREADY_RELEASED
local SYSTEM = heapmaster.status.HL_ERR_SYSTEM

local Error = {}
Error.__index = Error

function Error:__tostring()
    return self.name .. ": " .. self.message
end

local function new_error(status, message)
    local name = ffi.string(library.hl_status_name(status))
    return setmetatable({ status = status, name = name, message = ffi.string(message) }, Error)
end

local function last_error()
    return new_error(library.hl_last_error(), library.hl_last_error_message())
end

local function succeed(status)
    if status ~= 0 then
        error(last_error())
    end
end

local function not_null(pointer)
    if pointer == nil then
        error(last_error())
    end
    return pointer
end

-- A conversion to size_t would make something of any number.
local function size_of(number)
    if type(number) ~= "number" or number < 0 or number > 2 ^ 53 or number % 1 ~= 0 then
        error(tostring(number) .. " is not a number of bytes", 3)
    end
    return number
end

--- The library's version, such as "1.2.3".
function heapmaster.version()
    return ffi.string(library.hl_version())
end

-- The key of what a pool or block knows: none can set it by a name, to reach other memory.
local STATE = {}

local function refuse_to_set(_, key)
    error(("the field %s can't be set"):format(tostring(key)), 2)
end

local Pool = {}
local pool_type = { __index = Pool, __newindex = refuse_to_set }

local Block = {}
local block_type = { __newindex = refuse_to_set }

--- Makes a pool without heaps. What is allocated from it lives until it is released or the pool closed, at the
-- latest when the pool is garbage: a block keeps its pool. With the options `{ hardened = true }` it finds what was
-- written beside a block, or after its release, and takes more memory and time for that.
function heapmaster.new(options)
    -- The buffers must outlive the heaps in them, also where the collector finds both at once, and at the program's
    -- end other finalizers find the pool after its deleter has run. What that knows must not keep the handle.
    local life = { open = true, buffers = {} }
    local function delete(handle)
        life.open = false
        library.hl_pool_delete(handle)
        life.buffers = nil
    end
    local config = ffi.new("hl_config", { struct_size = ffi.sizeof("hl_config") })
    if options and options.hardened then
        config.flags = POOL_HARDENED
    end
    local handle = ffi.gc(not_null(library.hl_pool_new_with(config)), delete)
    return setmetatable({ [STATE] = { handle = handle, life = life } }, pool_type)
end

--- Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.
function Pool:close()
    local state = self[STATE]
    if state.life.open then
        state.life.open = false
        succeed(library.hl_pool_delete(ffi.gc(state.handle, nil)))
        state.life.buffers = nil
    end
end

local function open(pool)
    local state = pool[STATE]
    return state.life.open and state.handle or error("the pool is closed", 3)
end

function pool_type:__tostring()
    return self[STATE].life.open and "HeapMaster pool" or "HeapMaster pool (closed)"
end

-- Whether a ctype is an array: the name of a pointer or reference to one has its brackets behind a parenthesis.
local function is_array(ctype)
    return tostring(ctype):find("[^)]%[") ~= nil
end

--- Adds an array such as `ffi.new("uint8_t[?]", size)` as a heap. The pool keeps it.
function Pool:add_heap(array)
    local handle = open(self)
    -- A part of another object is a reference, which does not keep that.
    if type(array) ~= "cdata" or not is_array(ffi.typeof(array)) then
        error("a heap is a C array of its own, not a part of another", 2)
    end
    succeed(library.hl_add_heap(handle, array, ffi.sizeof(array)))
    local buffers = self[STATE].life.buffers
    buffers[#buffers + 1] = array
end

--- Adds a heap that grows to max_size bytes of the system's memory; none or 0 stands for all that can be had.
function Pool:add_system_heap(max_size)
    local handle, size = open(self), size_of(max_size or 0)
    local status = library.hl_add_system_heap(handle, size)
    if status == SYSTEM then
        -- The collector does not know how much of the system's memory forgotten pools have.
        collectgarbage()
        collectgarbage()
        status = library.hl_add_system_heap(handle, size)
    end
    succeed(status)
end

local function new_block(pool, pointer, size)
    local state = { pool = pool, memory = not_null(pointer), size = size, live = true }
    return setmetatable({ [STATE] = state }, block_type)
end

--- Allocates a block. What its bytes are is not defined.
function Pool:alloc(size)
    return new_block(self, library.hl_alloc(open(self), size_of(size)), size)
end

--- Allocates a block of zeros.
function Pool:alloc_zeroed(size)
    return new_block(self, library.hl_alloc_zeroed(open(self), 1, size_of(size)), size)
end

--- Allocates a block whose address is a multiple of alignment, a power of two.
function Pool:alloc_aligned(alignment, size)
    local handle = open(self)
    return new_block(self, library.hl_alloc_aligned(handle, size_of(alignment), size_of(size)), size)
end

--- Whether a pointer points into one of the pool's heaps.
function Pool:owns(pointer)
    return library.hl_owns(open(self), pointer)
end

--- Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit.
function Pool:set_limit(size)
    succeed(library.hl_pool_set_limit(open(self), size_of(size)))
end

local STATISTICS = {
    "heaps", "capacity_bytes", "metadata_bytes", "used_bytes", "peak_used_bytes", "free_bytes",
    "largest_free_block", "live_blocks", "live_bytes", "allocations", "releases", "failures", "misuses", "limit",
}

--- What the pool has now, and has done: a table of numbers, named as in heapmaster.h.
function Pool:statistics()
    local raw = ffi.new("hl_pool_statistics")
    raw.struct_size = ffi.sizeof(raw)
    succeed(library.hl_pool_stats(open(self), raw))
    local statistics = {}
    for _, name in ipairs(STATISTICS) do
        statistics[name] = tonumber(raw[name])
    end
    return statistics
end

--- Raises HL_ERR_CORRUPTED if an invariant of the pool's books does not hold.
function Pool:check()
    succeed(library.hl_pool_check(open(self)))
end

--- All blocks, live and free, in the order of their addresses: a list of tables of address, a pointer, size, live.
function Pool:walk()
    local handle = open(self)
    local blocks = {}
    local visit = ffi.cast("hl_visit_fn", function(block)
        blocks[#blocks + 1] = {
            address = block.address,
            size = tonumber(block.size),
            live = block.state == BLOCK_LIVE,
        }
        return true
    end)
    local status = library.hl_pool_walk(handle, visit, nil)
    visit:free()
    succeed(status)
    return blocks
end
-- Compiled code can't be called back.
jit.off(Pool.walk)

-- What the library says about a released block, in general terms if another block lies there by now.
local function refusal(state, handle)
    -- Harmless whatever lies there, which hl_release() is not.
    local refused = library.hl_usable_size(handle, state.memory) == 0
    if refused and library.hl_last_error() == ALREADY_RELEASED then
        return last_error()
    end
    return new_error(ALREADY_RELEASED, library.hl_status_message(ALREADY_RELEASED))
end

-- What a block knows and the handle of its pool, if it is live.
local function use(block)
    local state = block[STATE]
    local handle = open(state.pool)
    if not state.live then
        error(refusal(state, handle))
    end
    return state, handle
end

--- A block has the fields `size`, the bytes asked for, and `live`, whether it was not released, nor its pool closed.
function block_type:__index(key)
    local state = self[STATE]
    if key == "size" then
        return state.size
    elseif key == "live" then
        return state.live and state.pool[STATE].life.open
    end
    return Block[key]
end

function block_type:__tostring()
    local state = self[STATE]
    local text = self.live and "HeapMaster block of %d bytes at %s" or "HeapMaster block of %d bytes (released)"
    return text:format(state.size, tostring(state.memory):match("0x%x+"))
end

--- The address, a `uint8_t *`. Lua can't take it back: it must not be used after the block is released or
-- resized, or its pool closed. read() and write() look.
function Block:pointer()
    return ffi.cast("uint8_t *", use(self).memory)
end

--- How many bytes the pool has set aside for it: at least `size`, those asked for.
function Block:usable_size()
    local state, handle = use(self)
    return tonumber(library.hl_usable_size(handle, state.memory))
end

local function range(block, offset, length)
    local state = use(block)
    if size_of(offset) + size_of(length) > state.size then
        local text = "%d bytes at %d are not in a block of %d bytes"
        error(text:format(length, offset, state.size), 3)
    end
    return ffi.cast("uint8_t *", state.memory) + offset
end

--- Its bytes as a string, all behind offset if no length is given.
function Block:read(offset, length)
    offset = offset or 0
    length = length or math.max(self.size - offset, 0)
    return ffi.string(range(self, offset, length), length)
end

--- Copies a string into it.
function Block:write(text, offset)
    if type(text) ~= "string" then
        error(tostring(text) .. " is not a string", 2)
    end
    ffi.copy(range(self, offset or 0, #text), text, #text)
end

--- Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.
function Block:resize(size)
    local state, handle = use(self)
    state.memory = not_null(library.hl_resize(handle, state.memory, size_of(size)))
    state.size = size
end

--- Gives it back to its pool.
function Block:release()
    local state, handle = use(self)
    succeed(library.hl_release(handle, state.memory))
    state.live = false
end

return heapmaster
