"""Pools and their blocks."""

import ctypes
import gc
import os
import sys
from operator import index
from threading import RLock
from typing import Any, List, NamedTuple, SupportsIndex, TypeVar

from . import library
from .errors import AlreadyReleased, HeapMasterError

_Self = TypeVar("_Self")

# One call at a time, so that no call of another thread can be inside of a pool that is closed. It is one for all
# pools, as finalizers of any run within the calls of any: each with its own could wait for each other.
_lock = RLock()
# No other thread is inside of the library when a child begins, which has that thread's locks, but not the thread.
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)

# The handles of closed pools that are still to be deleted, and the buffers of each, which must not go before.
# An exception of a signal handler's leaves what it interrupted here for good: better than a second delete.
_doomed: "list[int]" = []
_doomed_buffers: "dict[int, list[Any]]" = {}


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


_LARGEST = ctypes.c_size_t(-1).value


def _whole(number, meaning):
    # A bool is an int of Python's, but hardly meant as one here.
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"{number!r} is not {meaning}")
    return index(number)


def _size(number):
    size = _whole(number, "a number of bytes")
    # ctypes would cut off what does not fit.
    if not 0 <= size <= _LARGEST:
        raise OverflowError(f"{number} is not a number of bytes")
    return size


def _delete_doomed():
    while _doomed:
        handle = _doomed.pop()
        library.hl_pool_delete(handle)
        _doomed_buffers.pop(handle)


class _Single:
    """What there can't be two of: each would take the memory away from the other."""

    def __reduce_ex__(self, _: SupportsIndex) -> Any:
        raise TypeError(f"a {type(self).__name__} can't be copied or pickled")


class Pool(_Single):
    """A set of heaps, out of which blocks are allocated.

    Any thread may use it, and so may finalizers and signal handlers. What is never released lives until the pool is
    closed, at the latest when it is garbage: a block and its view keep their pool.

    One that is hardened finds what was written beside a block, or after its release. It takes more memory and
    time for that.

    The child of a fork has a copy of the pool, but shares the heaps that lie in shared memory, as an mmap of
    Python's does unless it is MAP_PRIVATE: of parent and child only one may use such a pool from then on.
    """

    # That of a pool whose construction failed.
    _handle = None

    def __init__(self, *, hardened: bool = False):
        self._buffers: "list[Any]" = []
        self._blocks: "set[Block]" = set()
        flags = library.HARDENED if hardened else 0
        config = library.Config(struct_size=ctypes.sizeof(library.Config), flags=flags)
        outermost = not _lock._is_owned()
        with _lock:
            if outermost:
                _delete_doomed()
            self._handle = library.hl_pool_new_with(config)

    def close(self) -> None:
        """Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.

        BufferError, with nothing changed, while something uses a block's view. Where a finalizer or a signal handler
        closes it in the middle of a call, its heaps are the caller's again with the next Pool() or close().
        """
        outermost = not _lock._is_owned()
        with _lock:
            # Closed from here on for whatever interrupts this.
            handle, self._handle = self._handle, None
            try:
                if handle is not None:
                    for block in self._blocks:
                        block._check_view()
                    for block in self._blocks:
                        block._end_view()
                    _doomed_buffers[handle] = self._buffers
            except BaseException:
                self._handle = handle
                raise
            if handle is not None:
                _doomed.append(handle)
            self._buffers = []
            self._blocks.clear()
            # The call that this one interrupts, if it does, still has its pool.
            if outermost:
                _delete_doomed()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self):
        try:
            self.close()
        except BufferError:
            # A view goes down with the pool, and its holder's finalizer may use it yet.
            self._heir = _Heir(self)

    def __repr__(self) -> str:
        if self.closed:
            return "<closed pool>"
        return f"<open pool of {len(self._blocks)} blocks at {self._handle:#x}>"

    @property
    def closed(self) -> bool:
        return self._handle is None

    def _open(self):
        if self._handle is None:
            raise ValueError("the pool is closed")
        return self._handle

    def add_heap(self, buffer: Any) -> None:
        """Adds a writable buffer, such as a bytearray or an mmap, as a heap. It can't be resized from then on."""
        memory = (ctypes.c_ubyte * memoryview(buffer).nbytes).from_buffer(buffer)
        with _lock:
            handle, buffers = self._open(), self._buffers
            buffers.append(memory)
            try:
                library.hl_add_heap(handle, ctypes.addressof(memory), len(memory))
            except HeapMasterError:
                buffers.remove(memory)
                raise

    def add_system_heap(self, max_size: SupportsIndex = 0) -> None:
        """Adds a heap that grows to max_size bytes of the system's memory; 0 stands for all that can be had."""
        max_size = _size(max_size)
        with _lock:
            library.hl_add_system_heap(self._open(), max_size)

    def alloc(self, size: SupportsIndex) -> "Block":
        """Allocates a block. What its bytes are is not defined."""
        size = _size(size)
        with _lock:
            return Block._of(self, library.hl_alloc(self._open(), size), size)

    def alloc_zeroed(self, size: SupportsIndex) -> "Block":
        """Allocates a block of zeros."""
        size = _size(size)
        with _lock:
            return Block._of(self, library.hl_alloc_zeroed(self._open(), 1, size), size)

    def alloc_aligned(self, alignment: SupportsIndex, size: SupportsIndex) -> "Block":
        """Allocates a block whose address is a multiple of alignment, a power of two."""
        alignment, size = _size(alignment), _size(size)
        with _lock:
            return Block._of(self, library.hl_alloc_aligned(self._open(), alignment, size), size)

    def owns(self, address: SupportsIndex) -> bool:
        """Whether an address lies in one of the pool's heaps."""
        address = _whole(address, "an address")
        with _lock:
            handle = self._open()
            return 0 <= address <= _LARGEST and library.hl_owns(handle, address)

    def set_limit(self, size: SupportsIndex) -> None:
        """Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit."""
        size = _size(size)
        with _lock:
            library.hl_pool_set_limit(self._open(), size)

    def statistics(self) -> Statistics:
        """What the pool has now, and has done."""
        raw = library.PoolStatistics(struct_size=ctypes.sizeof(library.PoolStatistics))
        with _lock:
            library.hl_pool_stats(self._open(), raw)
        return Statistics._make(getattr(raw, name) for name in Statistics._fields)

    def check(self) -> None:
        """Raises Corrupted if an invariant of the pool's books does not hold."""
        with _lock:
            library.hl_pool_check(self._open())

    def walk(self) -> List[BlockInfo]:
        """All blocks, live and free, in the order of their addresses."""
        blocks: List[BlockInfo] = []
        errors: "list[BaseException]" = []

        # A function could be interrupted before its first line, where ctypes would lose the exception of a signal
        # handler. A generator that waits in its try can't.
        def visitor():
            try:
                while True:
                    block = (yield True).contents
                    blocks.append(BlockInfo(block.address, block.size, block.state == library.LIVE))
            except GeneratorExit:
                return
            except BaseException as error:
                errors.append(error)
            yield False

        visits = visitor()
        next(visits)
        with _lock:
            library.hl_pool_walk(self._open(), library.Visit(visits.send), None)
        if errors:
            raise errors[0]
        return blocks


class _Heir:
    """Closes a pool that could not be closed when it was garbage: the collector runs a finalizer only once."""

    def __init__(self, pool):
        self._pool = pool

    def __del__(self):
        self._pool.__del__()


class Block(_Single):
    """A block of a pool, made by its alloc methods. Leaving its `with` block releases it."""

    def __init__(self, *_: Any, **__: Any):
        raise TypeError("blocks are made by a pool's alloc methods")

    @classmethod
    def _of(cls, pool, address, size):
        self = cls.__new__(cls)
        self._pool = pool
        # Replaced as one, and never by an equal one.
        self._place = (address, size)
        self._view = None
        self._live = True
        pool._blocks.add(self)
        return self

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.release()

    def __len__(self) -> int:
        return self._place[1]

    def __bool__(self) -> bool:
        # Also if it is one of no bytes.
        return True

    def __repr__(self) -> str:
        state = "live" if self.live else "released"
        address, size = self._place
        return f"<{state} block of {size} bytes at {address:#x}>"

    @property
    def live(self) -> bool:
        """Whether it was not released, nor its pool closed."""
        return self._live and not self._pool.closed

    @property
    def address(self) -> int:
        with _lock:
            self._use()
            return self._place[0]

    @property
    def usable_size(self) -> int:
        """How many bytes the pool has set aside for it: at least those asked for."""
        with _lock:
            return library.hl_usable_size(self._use(), self._place[0])

    @property
    def view(self) -> memoryview:
        """Its bytes. The view ends when the block is released, resized or its pool closed."""
        with _lock:
            self._use()
            while self._view is None:
                place = self._place
                view = _View(self, *place)
                # What interrupts this may have made one, or resized the block.
                if self._view is None and self._place is place:
                    self._view = view
            view = self._view
            # Or have released it.
            self._use()
            return view.bytes

    def resize(self, size: SupportsIndex) -> None:
        """Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.

        BufferError, with nothing changed, while something uses its view. Where the library refuses, as for want of
        memory, the block is as it was, but its view has ended: take another.
        """
        size = _size(size)
        with _lock:
            handle = self._retire()
            try:
                address = library.hl_resize(handle, self._place[0], size)
            except HeapMasterError:
                self._live = True
                raise
            self._place = (address, size)
            self._live = True

    def release(self) -> None:
        """Gives it back to its pool. BufferError, with nothing changed, while something uses its view."""
        with _lock:
            handle = self._retire()
            try:
                library.hl_release(handle, self._place[0])
            except HeapMasterError:
                self._live = True
                raise
            self._pool._blocks.discard(self)

    def _use(self):
        handle = self._pool._open()
        if not self._live:
            raise self._refusal(handle)
        return handle

    def _retire(self):
        """Ends it for whatever interrupts the call that is to follow, which may move it or release it."""
        handle = self._use()
        try:
            self._live = False
            self._end_view()
        except BaseException:
            self._live = True
            raise
        return handle

    def _refusal(self, handle):
        """What the library says about a released block, in general terms if another block lies there by now."""
        # Harmless whatever lies there, which hl_release() is not.
        refused = library.hl_usable_size(handle, self._place[0]) == 0
        if refused and library.hl_last_error() == AlreadyReleased.status:
            return library.last_error()
        return library.error_of(AlreadyReleased.status)

    def _check_view(self):
        if self._view is not None:
            self._view.check()

    def _end_view(self):
        if self._view is not None:
            self._view.end()
            self._view = None


class _View:
    """What a block hands out of its bytes, and who else has a part of them."""

    def __init__(self, block, address, size):
        memory = (ctypes.c_ubyte * size).from_address(address)
        # Whoever has a view has the pool, whose finalizer would take the memory away.
        memory.block = block
        self._root = memoryview(memory)
        self.bytes = self._root.cast("B")
        del memory
        self._alone = self._references()

    def _references(self):
        # Those to the memory, and to the buffer object, which all views that come of one share. A weak reference to
        # the memory would not do: the collector clears it while finalizers may still use a view.
        buffer = gc.get_referents(self._root)
        return sys.getrefcount(self._root.obj) + sys.getrefcount(buffer[0])

    def check(self):
        if self._references() > self._alone:
            raise BufferError("something still uses the block's view")

    def end(self):
        self.check()
        self.bytes.release()
        # Another thread may have taken a part of it in between, but can't any more.
        self.check()
