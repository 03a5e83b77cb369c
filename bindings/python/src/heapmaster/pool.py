"""Pools and their blocks."""

import ctypes
import operator
import sys
from contextlib import contextmanager
from threading import RLock
from typing import NamedTuple

from . import library
from .errors import AlreadyReleased, HeapMasterError


class Statistics(NamedTuple):
    """What a pool has, and has done. Sizes are in bytes."""

    heaps: int
    capacity_bytes: int
    metadata_bytes: int
    used_bytes: int
    peak_used_bytes: int
    free_bytes: int
    largest_free_block: int
    live_blocks: int
    live_bytes: int
    allocations: int
    releases: int
    failures: int
    misuses: int
    limit: int


class BlockInfo(NamedTuple):
    """A block as Pool.walk() shows it."""

    address: int
    size: int
    live: bool


#: Pools that nobody has any more but who has a part of a view of theirs.
_forgotten = []


def version() -> str:
    """The library's version, such as "1.2.3"."""
    return library.hl_version().decode()


#: The largest number of bytes, and the last address.
_MOST = ctypes.c_size_t(-1).value


def _whole(number, what):
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{number!r} is not {what}") from None


def _size(number):
    size = _whole(number, "a number of bytes")
    # ctypes would cut off what does not fit.
    if not 0 <= size <= _MOST:
        raise OverflowError(f"{size} is not a number of bytes")
    return size


class _Single:
    """What the library has one of, so that there is no second one to release it."""

    def __reduce_ex__(self, _):
        raise TypeError(f"a {type(self).__name__.lower()} can't be copied or pickled")


class Pool(_Single):
    """A set of heaps, out of which blocks are allocated.

    Any thread may use it. What is never released lives until the pool is closed, at the latest when it is
    garbage: a block and its view keep their pool.

    One that is hardened finds what was written beside a block, or after its release. It takes more memory and
    time for that.
    """

    def __init__(self, *, hardened: bool = False):
        self._handle = None
        # A pool is closed under it, so that no call of another thread can be inside. A thread's own can be: the
        # collector and signal handlers come at any time.
        self._lock = RLock()
        self._calls = 0
        self._buffers = []
        self._blocks = set()
        flags = library.HARDENED if hardened else 0
        config = library.Config(struct_size=ctypes.sizeof(library.Config), flags=flags)
        self._handle = library.hl_pool_new_with(config)
        for pool in _forgotten[:]:
            pool._close_forgotten()

    def close(self) -> None:
        """Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.

        BufferError while something uses a part of a block's view: the pool is as it was, but for the views of which
        nothing is used, which have ended.
        """
        with self._lock:
            if self._handle is None:
                return
            if self._calls:
                raise RuntimeError("the pool can't be closed in the midst of one of its calls")
            for block in list(self._blocks):
                block._end_view()
            # First: an exception may come from a signal handler as soon as the call returns.
            handle, self._handle = self._handle, None
            library.hl_pool_delete(handle)
            self._blocks.clear()
            self._buffers.clear()

    def _close_forgotten(self):
        try:
            self.close()
        except BufferError:
            return
        if self in _forgotten:
            _forgotten.remove(self)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        try:
            self.close()
        except BufferError:
            # The collector found it together with who uses a view, and may let that go on.
            _forgotten.append(self)

    def __repr__(self):
        return f"<{'closed' if self.closed else 'open'} pool>"

    @property
    def closed(self) -> bool:
        return self._handle is None

    @contextmanager
    def _open(self):
        with self._lock:
            if self._handle is None:
                raise ValueError("the pool is closed")
            calls = self._calls
            try:
                self._calls = calls + 1
                yield self._handle
            finally:
                self._calls = calls

    def add_heap(self, buffer):
        """Adds a writable buffer, such as a bytearray or an mmap, as a heap. It can't be resized from then on."""
        with self._open() as handle:
            memory = (ctypes.c_ubyte * memoryview(buffer).nbytes).from_buffer(buffer)
            library.hl_add_heap(handle, ctypes.addressof(memory), len(memory))
            self._buffers.append(memory)

    def add_system_heap(self, max_size: int = 0):
        """Adds a heap that grows to max_size bytes of the system's memory; 0 stands for all that can be had."""
        with self._open() as handle:
            library.hl_add_system_heap(handle, _size(max_size))

    def alloc(self, size: int) -> "Block":
        """Allocates a block. What its bytes are is not defined."""
        size = _size(size)
        with self._open() as handle:
            return Block._of(self, library.hl_alloc(handle, size), size)

    def alloc_zeroed(self, size: int) -> "Block":
        """Allocates a block of zeros."""
        size = _size(size)
        with self._open() as handle:
            return Block._of(self, library.hl_alloc_zeroed(handle, 1, size), size)

    def alloc_aligned(self, alignment: int, size: int) -> "Block":
        """Allocates a block whose address is a multiple of alignment, a power of two."""
        alignment, size = _size(alignment), _size(size)
        with self._open() as handle:
            return Block._of(self, library.hl_alloc_aligned(handle, alignment, size), size)

    def owns(self, address: int) -> bool:
        """Whether an address lies in one of the pool's heaps."""
        address = _whole(address, "an address")
        with self._open() as handle:
            return 0 <= address <= _MOST and library.hl_owns(handle, address)

    def set_limit(self, size: int):
        """Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit."""
        with self._open() as handle:
            library.hl_pool_set_limit(handle, _size(size))

    def statistics(self) -> Statistics:
        """What the pool has now, and has done."""
        raw = library.PoolStatistics(struct_size=ctypes.sizeof(library.PoolStatistics))
        with self._open() as handle:
            library.hl_pool_stats(handle, raw)
        return Statistics._make(getattr(raw, name) for name in Statistics._fields)

    def check(self):
        """Raises Corrupted if an invariant of the pool's books does not hold."""
        with self._open() as handle:
            library.hl_pool_check(handle)

    def walk(self) -> "list[BlockInfo]":
        """All blocks, live and free, in the order of their addresses."""
        blocks = []
        raised = []

        # What a signal handler raises must not be lost in the library. A function could be interrupted before its
        # first line; a generator waits in its try.
        def visitor():
            try:
                while True:
                    block = (yield True).contents
                    blocks.append(BlockInfo(block.address, block.size, block.state == library.LIVE))
            except GeneratorExit:
                return
            except BaseException as error:
                raised.append(error)
            yield False

        visits = visitor()
        next(visits)
        with self._open() as handle:
            library.hl_pool_walk(handle, library.Visit(visits.send), None)
        if raised:
            raise raised[0]
        return blocks


class Block(_Single):
    """A block of a pool, made by its alloc methods. Leaving its `with` block releases it."""

    def __new__(cls, *_):
        raise TypeError("blocks are made by the alloc methods of a pool")

    @classmethod
    def _of(cls, pool, address, size):
        self = object.__new__(cls)
        self._pool = pool
        self._address = address
        self._size = size
        self._view = None
        # What all views share.
        self._memory = None
        pool._blocks.add(self)
        return self

    def __enter__(self) -> "Block":
        return self

    def __exit__(self, *_):
        if self.live:
            self.release()

    def __len__(self):
        return self._size

    def __bool__(self):
        # Also one of no bytes is a block.
        return True

    def __repr__(self):
        state = "live" if self.live else "released"
        return f"<{state} block of {self._size} bytes at {self._address:#x}>"

    @property
    def live(self) -> bool:
        """Whether it was not released, nor its pool closed."""
        return self in self._pool._blocks

    @property
    def address(self) -> int:
        with self._use():
            return self._address

    @property
    def usable_size(self) -> int:
        """How many bytes the pool has set aside for it: at least those asked for."""
        with self._use() as handle:
            return library.hl_usable_size(handle, self._address)

    @property
    def view(self) -> memoryview:
        """Its bytes. The view ends when the block is released, resized or its pool closed."""
        with self._use():
            if self._view is None:
                if self._memory is None:
                    self._memory = (ctypes.c_ubyte * self._size).from_address(self._address)
                    # Whoever has a view has the pool, whose finalizer would take the memory away.
                    self._memory.block = self
                self._view = memoryview(self._memory).cast("B")
            return self._view

    def resize(self, size: int) -> None:
        """Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.

        BufferError while something uses a part of its view, which ends otherwise, also if there is no memory.
        """
        size = _size(size)
        with self._use() as handle, self._given_up():
            self._address = library.hl_resize(handle, self._address, size)
            self._size = size
            self._pool._blocks.add(self)

    def release(self) -> None:
        """Gives it back to its pool. BufferError while something uses a part of its view, which ends otherwise."""
        with self._use() as handle, self._given_up():
            library.hl_release(handle, self._address)

    @contextmanager
    def _given_up(self):
        """It is not live while a call may end it, nor if an exception comes from a signal handler then; but is again
        if the library refuses."""
        self._end_view()
        self._pool._blocks.remove(self)
        try:
            yield
        except HeapMasterError:
            self._pool._blocks.add(self)
            raise

    @contextmanager
    def _use(self):
        with self._pool._open() as handle:
            if not self.live:
                raise self._refusal(handle)
            yield handle

    def _refusal(self, handle):
        """What the library says about a released block, in general terms if another block lies there by now."""
        # Harmless whatever lies there, which hl_release() is not.
        refused = library.hl_usable_size(handle, self._address) == 0
        if refused and library.hl_last_error() == AlreadyReleased.status:
            return library.last_error()
        return library.error_of(AlreadyReleased.status)

    def _end_view(self):
        if self._view is not None:
            self._view.release()
            self._view = None
        # The attribute's, and getrefcount's own. A weak reference would not do: the collector clears it when it finds
        # the block and who uses a view together, and calls finalizers then.
        if self._memory is not None and sys.getrefcount(self._memory) > 2:
            raise BufferError("something still uses the block's view")
        self._memory = None
