"""Pools and their blocks."""

import ctypes
from collections import namedtuple
from contextlib import contextmanager
from threading import Lock
from weakref import ref

from . import library
from .errors import AlreadyReleased

#: What a pool has, and has done. Sizes are in bytes.
Statistics = namedtuple("Statistics", [name for name, _ in library.PoolStatistics._fields_[1:]])

#: A block as Pool.walk() shows it.
BlockInfo = namedtuple("BlockInfo", "address size live")


def version() -> str:
    """The library's version, such as "1.2.3"."""
    return library.hl_version().decode()


def _size(number):
    # ctypes would cut off what does not fit.
    if not 0 <= number <= ctypes.c_size_t(-1).value:
        raise OverflowError(f"{number} is not a number of bytes")
    return number


class Pool:
    """A set of heaps, out of which blocks are allocated.

    Any thread may use it. What is never released lives until the pool is closed, at the latest when it is
    garbage: a block and its view keep their pool.

    One that is hardened finds what was written beside a block, or after its release. It takes more memory and
    time for that.
    """

    def __init__(self, *, hardened: bool = False):
        self._handle = None
        # A pool is closed under it, so that no call of another thread can be inside.
        self._lock = Lock()
        self._buffers = []
        self._blocks = set()
        flags = library.HARDENED if hardened else 0
        config = library.Config(struct_size=ctypes.sizeof(library.Config), flags=flags)
        self._handle = library.hl_pool_new_with(config)

    def close(self):
        """Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.

        BufferError, with nothing changed, while something uses a block's view.
        """
        with self._lock:
            if self._handle is None:
                return
            for block in self._blocks:
                block._end_view()
            library.hl_pool_delete(self._handle)
            self._handle = None
            self._blocks.clear()
            self._buffers.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    @property
    def closed(self) -> bool:
        return self._handle is None

    @contextmanager
    def _open(self):
        with self._lock:
            if self._handle is None:
                raise ValueError("the pool is closed")
            yield self._handle

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
        with self._open() as handle:
            return Block(self, library.hl_alloc(handle, _size(size)), size)

    def alloc_zeroed(self, size: int) -> "Block":
        """Allocates a block of zeros."""
        with self._open() as handle:
            return Block(self, library.hl_alloc_zeroed(handle, 1, _size(size)), size)

    def alloc_aligned(self, alignment: int, size: int) -> "Block":
        """Allocates a block whose address is a multiple of alignment, a power of two."""
        with self._open() as handle:
            address = library.hl_alloc_aligned(handle, _size(alignment), _size(size))
            return Block(self, address, size)

    def owns(self, address: int) -> bool:
        """Whether an address lies in one of the pool's heaps."""
        with self._open() as handle:
            return library.hl_owns(handle, address)

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

        def visit(pointer, _):
            block = pointer.contents
            blocks.append(BlockInfo(block.address, block.size, block.state == library.LIVE))
            return True

        with self._open() as handle:
            library.hl_pool_walk(handle, library.Visit(visit), None)
        return blocks


class Block:
    """A block of a pool, made by its alloc methods. Leaving its `with` block releases it."""

    def __init__(self, pool, address, size):
        self._pool = pool
        self._address = address
        self._size = size
        self._view = None
        # What all views share. It is gone when none of them is left.
        self._memory = lambda: None
        pool._blocks.add(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.live:
            self.release()

    def __len__(self):
        return self._size

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
                memory = self._memory()
                if memory is None:
                    memory = (ctypes.c_ubyte * self._size).from_address(self._address)
                    # Whoever has a view has the pool, whose finalizer would take the memory away.
                    memory.block = self
                    self._memory = ref(memory)
                self._view = memoryview(memory).cast("B")
            return self._view

    def resize(self, size: int):
        """Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.

        BufferError while something uses its view.
        """
        with self._use() as handle:
            self._end_view()
            self._address = library.hl_resize(handle, self._address, _size(size))
            self._size = size

    def release(self):
        """Gives it back to its pool. BufferError while something uses its view."""
        with self._use() as handle:
            self._end_view()
            library.hl_release(handle, self._address)
            self._pool._blocks.remove(self)

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
        if self._memory() is not None:
            raise BufferError("something still uses the block's view")
