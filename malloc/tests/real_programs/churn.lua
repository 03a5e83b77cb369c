-- Tables and strings of many sizes under a collector that runs often.
collectgarbage("setpause", 110)

local function check(slot)
    assert(#slot.text == slot.length and slot.text:sub(-1) == slot.letter)
    assert(#slot.list == slot.length % 100)
end

local slots, made = {}, 0
for step = 1, 300000 do
    local index = step * 7919 % 1009
    if slots[index] then check(slots[index]) end
    local length = step * 31 % 2000 + 1
    local letter = string.char(97 + step % 26)
    local list = {}
    for position = 1, length % 100 do list[position] = position end
    slots[index] = { length = length, letter = letter, text = letter:rep(length), list = list }
    made = made + length
end
for _, slot in pairs(slots) do check(slot) end

local parts = {}
for number = 1, 200000 do parts[number] = number .. ";" end
local joined, sum = table.concat(parts), 0
for number in joined:gmatch("(%d+);") do sum = sum + tonumber(number) end
print(made, #joined, sum)
