"""Threads make objects that other threads release: none is lost, none is altered."""
import queue
import threading

PRODUCERS, CONSUMERS, EACH = 4, 4, 50_000

channel = queue.SimpleQueue()
sums = queue.SimpleQueue()


def produce(first):
    for number in range(first, first + EACH):
        channel.put((number, str(number) * (number % 40 + 1), [number] * (number % 20)))


def consume():
    total = 0
    while (item := channel.get()) is not None:
        number, text, copies = item
        assert text == str(number) * (number % 40 + 1)
        assert sum(copies) == number * (number % 20)
        total += number
    sums.put(total)


producers = [threading.Thread(target=produce, args=(index * EACH,)) for index in range(PRODUCERS)]
consumers = [threading.Thread(target=consume) for _ in range(CONSUMERS)]
for thread in producers + consumers:
    thread.start()
for thread in producers:
    thread.join()
for _ in consumers:
    channel.put(None)
for thread in consumers:
    thread.join()

print(sum(sums.get() for _ in consumers))
