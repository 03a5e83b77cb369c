"""An exception class for each status of the library."""


class HeapMasterError(Exception):
    """A call that the library refused; its own class for a status that this version does not know."""

    #: The status's number.
    status = 0
    #: The status's name, such as "HL_ERR_OUT_OF_MEMORY".
    name = ""

    _classes = {}

    def __init_subclass__(cls, status=None):
        # Without one it is a class of somebody else's, with the status that it inherits.
        if status is not None:
            cls.status = status
            HeapMasterError._classes[status] = cls

    @classmethod
    def of(cls, status, name, message):
        """The exception for a status."""
        error = cls._classes.get(status, cls)(message)
        error.status = status
        error.name = name
        return error


class InvalidArgument(HeapMasterError, ValueError, status=1):
    """An argument that no call accepts."""


class OutOfMemory(HeapMasterError, MemoryError, status=2):
    """No heap of the pool has the room."""


class LimitReached(HeapMasterError, MemoryError, status=3):
    """The pool's limit forbids it."""


class SizeOverflow(HeapMasterError, OverflowError, status=4):
    """The size is larger than any block or heap can be."""


class BadAlignment(HeapMasterError, ValueError, status=5):
    """The alignment is not a power of two."""


class HeapNull(HeapMasterError, ValueError, status=6):
    """The heap's address is null."""


class HeapTooSmall(HeapMasterError, ValueError, status=7):
    """The heap has no room for one block beside its metadata."""


class HeapWraps(HeapMasterError, ValueError, status=8):
    """The heap's end lies beyond the end of the address space."""


class HeapOverlaps(HeapMasterError, ValueError, status=9):
    """The heap overlaps one that this pool has, or another."""


class HeapUnknown(HeapMasterError, ValueError, status=10):
    """No heap of the pool holds the address."""


class HeapInUse(HeapMasterError, status=11):
    """The heap has live blocks."""


class NotInPool(HeapMasterError, ValueError, status=12):
    """The pointer was never handed out."""


class InteriorPointer(HeapMasterError, ValueError, status=13):
    """The pointer is inside a live block, but not its start."""


class AlreadyReleased(HeapMasterError, ValueError, status=14):
    """The block was released already."""


class OtherPool(HeapMasterError, ValueError, status=15):
    """The pointer is in a heap of another pool."""


class SizeMismatch(HeapMasterError, ValueError, status=16):
    """The block can't have been allocated with the size given."""


class Corrupted(HeapMasterError, status=17):
    """The pool's books contradict themselves: something wrote over them."""


class SystemRefused(HeapMasterError, OSError, status=18):
    """The operating system refused."""


class Overrun(HeapMasterError, status=19):
    """Of a hardened pool: something wrote behind the end of the block."""


class Underrun(HeapMasterError, status=20):
    """Of a hardened pool: something wrote before the start of the block."""


class WrittenAfterRelease(HeapMasterError, status=21):
    """Of a hardened pool: something wrote to memory that had been released."""


class OriginMismatch(HeapMasterError, status=22):
    """Of a hardened pool: the block was allocated by what this can't release."""


__all__ = [
    "HeapMasterError",
    "InvalidArgument",
    "OutOfMemory",
    "LimitReached",
    "SizeOverflow",
    "BadAlignment",
    "HeapNull",
    "HeapTooSmall",
    "HeapWraps",
    "HeapOverlaps",
    "HeapUnknown",
    "HeapInUse",
    "NotInPool",
    "InteriorPointer",
    "AlreadyReleased",
    "OtherPool",
    "SizeMismatch",
    "Corrupted",
    "SystemRefused",
    "Overrun",
    "Underrun",
    "WrittenAfterRelease",
    "OriginMismatch",
]
