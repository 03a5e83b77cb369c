-- A pool over a C array: see README.md for how to run it.

local ffi = require("ffi")
local heapmaster = require("heapmaster")

local buffer = ffi.new("uint8_t[?]", 64 * 1024)
local pool = heapmaster.new()
pool:add_heap(buffer)

local greeting = pool:alloc(100)
greeting:write("hello")
local zeros = pool:alloc_zeroed(1000)
print("read back: " .. greeting:read(0, 5))
print("in the buffer: " .. (ffi.string(buffer, 64 * 1024):find("hello", 1, true) and "yes" or "no"))
local sum = 0
for _, byte in ipairs({ zeros:read():byte(1, -1) }) do
    sum = sum + byte
end
print("sum of the zeroed bytes: " .. sum)

zeros:release()
local _, refusal = pcall(zeros.release, zeros)
print(("second release: %s: %s"):format(refusal.name, refusal.message))

local statistics = pool:statistics()
print("heaps: " .. statistics.heaps)
print("live blocks: " .. statistics.live_blocks)
print("allocations: " .. statistics.allocations)
print("releases: " .. statistics.releases)
print("misuses: " .. statistics.misuses)

greeting:resize(5000)
print("after a resize to 5000: " .. greeting:read(0, 5))
pool:check()
pool:close()
