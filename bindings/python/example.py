"""A pool over a bytearray: see README.md for how to run it."""

from heapmaster import AlreadyReleased, Pool

buffer = bytearray(64 * 1024)
with Pool() as pool:
    pool.add_heap(buffer)

    greeting = pool.alloc(100)
    greeting.view[:5] = b"hello"
    zeros = pool.alloc_zeroed(1000)
    print("read back:", greeting.view[:5].tobytes().decode())
    print("in the buffer:", "yes" if b"hello" in buffer else "no")
    print("sum of the zeroed bytes:", sum(zeros.view))

    zeros.release()
    try:
        zeros.release()
    except AlreadyReleased as error:
        print(f"second release: {error.name}: {error}")

    statistics = pool.statistics()
    print("heaps:", statistics.heaps)
    print("live blocks:", statistics.live_blocks)
    print("allocations:", statistics.allocations)
    print("releases:", statistics.releases)
    print("misuses:", statistics.misuses)

    greeting.resize(5000)
    print("after a resize to 5000:", greeting.view[:5].tobytes().decode())
    pool.check()
