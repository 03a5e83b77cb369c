"""HeapMaster: blocks of memory out of buffers that you hand in.

    with Pool() as pool:
        pool.add_heap(bytearray(64 * 1024))
        with pool.alloc(5) as block:
            block.view[:] = b"bytes"

The shared library is the one that the environment variable HEAPMASTER_LIBRARY names, else the one that the
system's loader finds as libheapmaster.so.0.
"""

from .errors import *
from .errors import __all__ as _errors
from .pool import Block, BlockInfo, Pool, Statistics, version

__all__ = ["Block", "BlockInfo", "Pool", "Statistics", "version", *_errors]
