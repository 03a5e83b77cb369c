"""The C ABI by ctypes: declarations, and failures turned into exceptions."""

import ctypes
import os
from ctypes import POINTER, c_bool, c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

from .errors import HeapMasterError


class Config(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("flags", c_uint32), ("limit", c_size_t)]


class PoolStatistics(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("heaps", c_size_t),
        ("capacity_bytes", c_size_t),
        ("metadata_bytes", c_size_t),
        ("used_bytes", c_size_t),
        ("peak_used_bytes", c_size_t),
        ("free_bytes", c_size_t),
        ("largest_free_block", c_size_t),
        ("live_blocks", c_size_t),
        ("live_bytes", c_size_t),
        ("allocations", c_uint64),
        ("releases", c_uint64),
        ("failures", c_uint64),
        ("misuses", c_uint64),
        ("limit", c_size_t),
    ]


class BlockInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("address", c_void_p),
        ("size", c_size_t),
        ("state", c_int32),
    ]


HARDENED = 2
LIVE = 1
#: Without the context, which C hands over behind it.
Visit = ctypes.CFUNCTYPE(c_bool, POINTER(BlockInfo))


def _load():
    path = os.environ.get("HEAPMASTER_LIBRARY") or "libheapmaster.so.0"
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise OSError(f"can't load HeapMaster's library, see HEAPMASTER_LIBRARY: {error}") from None


_library = _load()


def _declare(name, result, *arguments, check=None):
    function = _library[name]
    function.restype = result
    function.argtypes = arguments
    if check:
        function.errcheck = check
    return function


def error_of(status, message=None):
    """The exception for a status, with the library's general message if there is no better one."""
    text = hl_status_message(status) if message is None else message
    return HeapMasterError.of(status, hl_status_name(status).decode(), text.decode())


def last_error():
    return error_of(hl_last_error(), hl_last_error_message())


def _succeeded(status, *_):
    if status != 0:
        raise last_error()


def _not_null(pointer, *_):
    if pointer is None:
        raise last_error()
    return pointer


hl_version = _declare("hl_version", c_char_p)
hl_status_name = _declare("hl_status_name", c_char_p, c_int32)
hl_status_message = _declare("hl_status_message", c_char_p, c_int32)
hl_last_error = _declare("hl_last_error", c_int32)
hl_last_error_message = _declare("hl_last_error_message", c_char_p)

hl_pool_new_with = _declare("hl_pool_new_with", c_void_p, POINTER(Config), check=_not_null)
hl_pool_delete = _declare("hl_pool_delete", c_int32, c_void_p, check=_succeeded)
hl_pool_set_limit = _declare("hl_pool_set_limit", c_int32, c_void_p, c_size_t, check=_succeeded)
hl_pool_stats = _declare(
    "hl_pool_stats", c_int32, c_void_p, POINTER(PoolStatistics), check=_succeeded
)
hl_pool_check = _declare("hl_pool_check", c_int32, c_void_p, check=_succeeded)
hl_pool_walk = _declare("hl_pool_walk", c_int32, c_void_p, Visit, c_void_p, check=_succeeded)

hl_add_heap = _declare("hl_add_heap", c_int32, c_void_p, c_void_p, c_size_t, check=_succeeded)
hl_add_system_heap = _declare(
    "hl_add_system_heap", c_int32, c_void_p, c_size_t, check=_succeeded
)

hl_alloc = _declare("hl_alloc", c_void_p, c_void_p, c_size_t, check=_not_null)
hl_alloc_zeroed = _declare(
    "hl_alloc_zeroed", c_void_p, c_void_p, c_size_t, c_size_t, check=_not_null
)
hl_alloc_aligned = _declare(
    "hl_alloc_aligned", c_void_p, c_void_p, c_size_t, c_size_t, check=_not_null
)
hl_resize = _declare("hl_resize", c_void_p, c_void_p, c_void_p, c_size_t, check=_not_null)
hl_release = _declare("hl_release", c_int32, c_void_p, c_void_p, check=_succeeded)
hl_usable_size = _declare("hl_usable_size", c_size_t, c_void_p, c_void_p)
hl_owns = _declare("hl_owns", c_bool, c_void_p, c_void_p)
