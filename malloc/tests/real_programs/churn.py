"""Dictionaries, strings, lists and buffers that grow, shrink and die in different orders."""
import random

random.seed(20)

words = [f"{random.getrandbits(40):x}" * (number % 7 + 1) for number in range(120_000)]
positions = {word: index for index, word in enumerate(words)}
assert all(words[index] == word for word, index in positions.items())

ordered = sorted(words, key=lambda word: (len(word), word))
assert all(len(a) <= len(b) for a, b in zip(ordered, ordered[1:]))
assert sorted(ordered) == sorted(words)

for word in words[::2]:
    positions.pop(word, None)
assert all(words[index] == word for word, index in positions.items())

buffers = {}
for step in range(60_000):
    slot = random.randrange(500)
    if slot in buffers and step % 3 == 0:
        seed, buffer = buffers.pop(slot)
        assert set(buffer) == {seed}
    else:
        seed = step % 256
        buffer = bytearray([seed])
        buffer *= random.randrange(1, 6000)
        buffers[slot] = seed, buffer
        buffer += bytes([seed]) * random.randrange(1, 600)
        del buffer[: len(buffer) // 3]
for seed, buffer in buffers.values():
    assert set(buffer) == {seed}

line = ",".join(words)
assert line.split(",") == words
assert len(line) == sum(map(len, words)) + len(words) - 1
print("survived", len(words))
