import copy
import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import unittest

import heapmaster
from heapmaster import (
    AlreadyReleased,
    BadAlignment,
    Block,
    HeapMasterError,
    HeapOverlaps,
    HeapTooSmall,
    LimitReached,
    OutOfMemory,
    Overrun,
    Pool,
    SizeOverflow,
    library,
)

KIB = 1024


class PoolTest(unittest.TestCase):
    def setUp(self):
        self.buffer = bytearray(64 * KIB)
        self.pool = Pool()
        self.pool.add_heap(self.buffer)

    def tearDown(self):
        self.pool.check()
        self.pool.close()


class Abi(unittest.TestCase):
    """What is written here by hand is what the library has."""

    def test_each_status_has_its_class(self):
        ours = {}
        for name in set(heapmaster.errors.__all__) - {"HeapMasterError"}:
            ours[getattr(heapmaster, name).status] = name.replace("SystemRefused", "System")
        theirs = {}
        while (name := library.hl_status_name(len(theirs) + 1)) != b"HL_ERR_UNKNOWN":
            words = name.decode().removeprefix("HL_ERR_").split("_")
            theirs[len(theirs) + 1] = "".join(map(str.capitalize, words))
        self.assertEqual(ours, theirs)

    def test_an_exception_says_what_the_library_says_of_its_status(self):
        for status in (1, 2, 18, 99):
            error = library.error_of(status)
            self.assertEqual(error.status, status)
            self.assertEqual(error.name.encode(), library.hl_status_name(status))
            self.assertEqual(str(error).encode(), library.hl_status_message(status))

    def test_statistics_are_as_large_as_the_librarys(self):
        # The library fills in as much as it knows of a struct that is larger.
        memory = (ctypes.c_ubyte * 1024)(*b"\xaa" * 1024)
        raw = library.PoolStatistics.from_buffer(memory)
        raw.struct_size = len(memory)
        pool = library.hl_pool_new_with(None)
        library.hl_pool_stats(pool, raw)
        library.hl_pool_delete(pool)
        self.assertEqual(len(bytes(memory).rstrip(b"\xaa")), ctypes.sizeof(raw))

    def test_a_walked_block_is_as_large_as_the_librarys(self):
        sizes = []
        visit = library.Visit(lambda block: sizes.append(block.contents.struct_size) or True)
        pool = library.hl_pool_new_with(None)
        library.hl_add_system_heap(pool, 1 << 20)
        library.hl_alloc(pool, 1)
        library.hl_pool_walk(pool, visit, None)
        library.hl_pool_delete(pool)
        self.assertEqual(set(sizes), {ctypes.sizeof(library.BlockInfo)})

    def test_the_version_is_the_librarys(self):
        self.assertRegex(heapmaster.version(), r"^\d+\.\d+\.\d+$")

    def test_a_library_that_is_not_there_is_named(self):
        environment = dict(os.environ, HEAPMASTER_LIBRARY="/nowhere/libheapmaster.so")
        command = [sys.executable, "-c", "import heapmaster"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertNotEqual(run.returncode, 0)
        self.assertRegex(run.stderr, "OSError: .*HEAPMASTER_LIBRARY: /nowhere/libheapmaster.so")


class Blocks(PoolTest):
    def test_data_lie_in_the_buffer_and_survive_a_resize(self):
        block = self.pool.alloc(11)
        block.view[:] = b"hello world"
        self.assertIn(b"hello world", self.buffer)
        neighbour = self.pool.alloc(11)
        block.resize(5000)
        self.assertEqual(block.view[:11].tobytes(), b"hello world")
        self.assertEqual(len(block.view), 5000)
        neighbour.release()

    def test_zeroed_blocks_are_zero(self):
        with self.pool.alloc(3000) as dirty:
            dirty.view[:] = b"\xff" * 3000
        with self.pool.alloc_zeroed(3000) as block:
            self.assertEqual(bytes(block.view), bytes(3000))

    def test_aligned_blocks_are_aligned(self):
        with self.pool.alloc_aligned(4096, 10) as block:
            self.assertEqual(block.address % 4096, 0)
        with self.assertRaisesRegex(BadAlignment, "48 is not a power of two"):
            self.pool.alloc_aligned(48, 10)

    def test_a_block_of_no_bytes_has_an_address(self):
        with self.pool.alloc(0) as one, self.pool.alloc(0) as other:
            self.assertNotEqual(one.address, other.address)
            self.assertEqual(len(one.view), 0)

    def test_usable_size_holds_what_was_asked_for(self):
        with self.pool.alloc(1000) as block:
            self.assertGreaterEqual(block.usable_size, len(block))

    def test_addresses_of_blocks_are_the_pools(self):
        with self.pool.alloc(1) as block:
            self.assertTrue(self.pool.owns(block.address))
        self.assertFalse(self.pool.owns(id(self)))

    def test_sizes_that_nothing_can_have_are_refused(self):
        with self.assertRaises(SizeOverflow):
            self.pool.alloc(2**63)
        for size in (-1, 2**64 + 8):
            with self.assertRaises(OverflowError):
                self.pool.alloc(size)

    def test_what_is_no_whole_number_is_named(self):
        for size in (8.0, "8", None):
            with self.assertRaisesRegex(TypeError, f"^{size!r} is not a number of bytes"):
                self.pool.alloc(size)
        with self.assertRaisesRegex(TypeError, "'x' is not an address"):
            self.pool.owns("x")
        with self.pool.alloc(0) as block:
            self.assertFalse(self.pool.owns(block.address + 2**64))
            self.assertTrue(block)

    def test_a_refused_resize_leaves_the_block_live(self):
        block = self.pool.alloc(8)
        view = block.view
        with self.assertRaises(OverflowError):
            block.resize(-1)
        view[0] = 1
        with self.assertRaises(OutOfMemory):
            block.resize(1 << 20)
        self.assertTrue(block.live)
        self.assertEqual(block.view[0], 1)

    def test_classes_of_errors_can_be_derived_from(self):
        class Mine(OutOfMemory):
            pass

        self.assertEqual(Mine.status, OutOfMemory.status)
        with self.assertRaises(OutOfMemory) as caught:
            self.pool.alloc(1 << 20)
        self.assertNotIsInstance(caught.exception, Mine)


class Misuse(PoolTest):
    def test_a_byte_behind_a_block_is_found_if_the_pool_is_hardened(self):
        for hardened in (False, True):
            buffer = bytearray(64 * KIB)
            with Pool(hardened=hardened) as pool:
                pool.add_heap(buffer)
                block = pool.alloc(11)
                block.view[:] = b"hello world"
                buffer[buffer.index(b"hello world") + 11] = ord("!")
                if hardened:
                    with self.assertRaisesRegex(Overrun, "^overrun: byte 0 "):
                        block.release()
                else:
                    block.release()

    def test_a_second_release_is_refused_in_the_librarys_words(self):
        block = self.pool.alloc(100)
        block.release()
        with self.assertRaises(AlreadyReleased) as caught:
            block.release()
        self.assertEqual(caught.exception.name, "HL_ERR_ALREADY_RELEASED")
        self.assertRegex(str(caught.exception), "^already released: 0x[0-9a-f]+ ")
        self.assertEqual(self.pool.statistics().misuses, 1)

    def test_a_second_release_spares_the_block_that_lies_there_now(self):
        stale = self.pool.alloc(100)
        address = stale.address
        stale.release()
        with self.pool.alloc(100) as block:
            self.assertEqual(block.address, address)
            with self.assertRaisesRegex(AlreadyReleased, "released already"):
                stale.release()
            self.assertTrue(block.live)
            self.assertEqual(self.pool.statistics().live_blocks, 1)

    def test_released_blocks_are_of_no_use(self):
        block = self.pool.alloc(100)
        view = block.view
        block.release()
        self.assertFalse(block.live)
        with self.assertRaises(ValueError):
            view[0]
        uses = [
            lambda: block.view,
            lambda: block.address,
            lambda: block.usable_size,
            lambda: block.resize(10),
        ]
        for use in uses:
            with self.assertRaises(AlreadyReleased):
                use()

    def test_a_block_whose_view_is_in_use_stays(self):
        block = self.pool.alloc(100)
        part = block.view[10:20]
        for end in (block.release, lambda: block.resize(5000), self.pool.close):
            with self.assertRaises(BufferError):
                end()
        part[0] = 1
        del part
        block.release()

    def test_a_view_keeps_its_pool(self):
        def view_of_a_pool_that_goes():
            pool = Pool()
            pool.add_heap(bytearray(64 * KIB))
            return pool.alloc(100).view

        view = view_of_a_pool_that_goes()
        gc.collect()
        view[:] = b"x" * 100
        self.assertEqual(view[99], ord("x"))


class Limits(PoolTest):
    def test_a_full_pool_raises_out_of_memory(self):
        with self.assertRaises(OutOfMemory) as caught:
            self.pool.alloc(1 << 20)
        self.assertIsInstance(caught.exception, MemoryError)
        self.assertEqual(caught.exception.status, 2)
        self.assertIn("room for 1048576 bytes", str(caught.exception))

    def test_the_limit_holds(self):
        self.pool.set_limit(4096)
        with self.assertRaises(LimitReached):
            self.pool.alloc(5000)
        self.pool.set_limit(0)
        self.pool.alloc(5000).release()


class Heaps(PoolTest):
    def test_a_buffer_is_kept_and_locked_until_the_pool_is_closed(self):
        with self.assertRaises(BufferError):
            self.buffer.clear()
        self.pool.close()
        self.buffer.clear()
        self.pool = Pool()

    def test_a_pool_of_the_system_serves_large_blocks(self):
        self.pool.add_system_heap(64 << 20)
        with self.pool.alloc(8 << 20) as block:
            block.view[-1] = 7
            self.assertEqual(block.view[-1], 7)

    def test_what_can_be_no_heap_is_refused(self):
        with self.assertRaises(HeapOverlaps):
            self.pool.add_heap(self.buffer)
        with self.assertRaises(HeapTooSmall):
            self.pool.add_heap(bytearray(16))
        with self.assertRaises(TypeError):
            self.pool.add_heap(bytes(64 * KIB))


class Closing(unittest.TestCase):
    def test_a_closed_pool_refuses_everything_but_another_close(self):
        pool = Pool()
        pool.add_heap(bytearray(64 * KIB))
        block = pool.alloc(100)
        view = block.view
        pool.close()
        pool.close()
        self.assertTrue(pool.closed)
        uses = [
            lambda: pool.alloc(1),
            lambda: pool.statistics(),
            lambda: pool.check(),
            lambda: pool.walk(),
            lambda: pool.add_heap(bytearray(64 * KIB)),
            lambda: block.release(),
            lambda: block.view,
            lambda: view[0],
        ]
        for use in uses:
            with self.assertRaises(ValueError):
                use()

    def test_a_forgotten_pool_gives_its_buffer_back(self):
        buffer = bytearray(64 * KIB)
        pool = Pool()
        pool.add_heap(buffer)
        pool.alloc(100).view[0] = 1
        del pool
        gc.collect()
        with Pool() as pool:
            pool.add_heap(buffer)

    def test_threads_that_use_a_pool_see_it_close(self):
        pool = Pool()
        pool.add_heap(bytearray(256 * KIB))
        seen = []

        def work():
            try:
                while True:
                    pool.alloc(64).release()
            except ValueError as error:
                seen.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        pool.close()
        for thread in threads:
            thread.join()
        self.assertEqual(seen, ["the pool is closed"] * 4)


class Insight(PoolTest):
    def test_each_statistic_counts_what_its_name_says(self):
        self.pool.add_system_heap(1 << 20)
        blocks = [self.pool.alloc(size) for size in (100, 1000, 2000, 3000, 4000, 5000)]
        for block in blocks[:2]:
            block.release()
        for _ in range(3):
            with self.assertRaises(AlreadyReleased):
                blocks[0].release()
        with self.assertRaises(OutOfMemory):
            self.pool.alloc(1 << 30)
        self.pool.set_limit(1 << 19)

        now = self.pool.statistics()
        self.assertEqual(now.heaps, 2)
        self.assertEqual(now.live_blocks, 4)
        self.assertEqual(now.live_bytes, sum(block.usable_size for block in blocks[2:]))
        self.assertEqual(now.allocations, 6)
        self.assertEqual(now.releases, 2)
        self.assertEqual(now.misuses, 3)
        self.assertEqual(now.failures, 1)
        self.assertEqual(now.limit, 1 << 19)
        self.assertEqual(now.capacity_bytes, now.used_bytes + now.free_bytes)
        self.assertGreater(now.peak_used_bytes, now.used_bytes)
        self.assertGreater(now.used_bytes, 14000)
        self.assertGreater(now.free_bytes, now.largest_free_block)
        self.assertGreater(now.largest_free_block, now.used_bytes)
        self.assertGreater(now.metadata_bytes, 0)
        self.assertLess(now.metadata_bytes, now.capacity_bytes)

    def test_a_walk_shows_live_blocks_in_the_order_of_their_addresses(self):
        blocks = [self.pool.alloc(size) for size in (10, 200, 3000)]
        walked = self.pool.walk()
        live = [block.address for block in walked if block.live]
        self.assertEqual(live, sorted(block.address for block in blocks))
        total = sum(block.size for block in walked)
        self.assertEqual(total, self.pool.statistics().capacity_bytes)


class Collecting(unittest.TestCase):
    """What the collector and signal handlers do in the midst of everything."""

    def pool(self):
        pool = Pool()
        pool.add_system_heap(64 << 20)
        return pool

    def run_apart(self, program):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_a_view_that_is_found_with_its_pool_outlives_it(self):
        self.run_apart("""
import gc, heapmaster
class Header:
    def __init__(self, pool):
        self.field = pool.alloc(1000).view[:8]
    def __del__(self):
        self.field[:] = b"goodbye!"
def forget():
    pool = heapmaster.Pool()
    pool.add_system_heap(1 << 30)
    pool.header = Header(pool)
forget()
gc.collect()
""")

    def test_a_pool_in_a_block_of_another_goes_first(self):
        self.run_apart("""
import gc
from heapmaster import Pool, pool
for _ in range(100):
    outer, inner = Pool(), Pool()
    outer.add_system_heap(64 << 20)
    inner.add_heap(outer.alloc(1 << 20).view)
    inner.alloc(100)
    del outer, inner
    gc.collect()
Pool()
assert not pool._forgotten
""")

    def test_garbage_releases_its_block_in_the_midst_of_a_walk(self):
        class Owner:
            def __init__(self, pool):
                self.block, self.me = pool.alloc(16), self

            def __del__(self):
                self.block.release()

        with self.pool() as pool:
            for _ in range(2000):
                Owner(pool)
                pool.alloc(16)
            for _ in range(20):
                pool.walk()
            # What is left of them finds the pool open.
            gc.collect()

    def test_a_handler_that_raises_leaves_no_block_that_looks_live(self):
        class Stop(Exception):
            pass

        armed = False

        def stop(*_):
            # A signal may be heard of when all is over.
            if armed:
                raise Stop

        before = signal.signal(signal.SIGALRM, stop)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with self.pool() as pool:
            for microseconds in range(2000):
                block = pool.alloc(100)
                live = pool.statistics().live_blocks
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, (1 + microseconds % 60) / 1e6)
                    block.release()
                    armed = False
                except Stop:
                    armed = False
                if block.live:
                    self.assertEqual(pool.statistics().live_blocks, live)

    def test_a_walk_keeps_what_a_handler_raises(self):
        class Stop(Exception):
            pass

        def stop(*_):
            raise Stop

        before = signal.signal(signal.SIGALRM, stop)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        with self.pool() as pool:
            blocks = [pool.alloc(16) for _ in range(20_000)]
            for _ in range(10):
                with self.assertRaises(Stop):
                    signal.setitimer(signal.ITIMER_REAL, 0.002)
                    while True:
                        self.assertEqual(sum(block.live for block in pool.walk()), len(blocks))

    def test_a_pool_is_not_closed_by_what_comes_in_the_midst_of_its_calls(self):
        with self.pool() as pool, pool._open():
            with self.assertRaisesRegex(RuntimeError, "in the midst"):
                pool.close()

    def test_there_is_no_second_pool_or_block(self):
        with self.pool() as pool, pool.alloc(1) as block:
            for single in (pool, block):
                for double in (copy.copy, copy.deepcopy, pickle.dumps):
                    with self.assertRaisesRegex(TypeError, "can't be copied"):
                        double(single)
            with self.assertRaisesRegex(TypeError, "alloc methods"):
                Block(pool, block.address, 1)


if __name__ == "__main__":
    unittest.main()
