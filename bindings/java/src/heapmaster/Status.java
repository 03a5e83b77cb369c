package heapmaster;

/** Why a call was refused, in the order of the library's numbers. */
public enum Status {
    /** The call did what it was asked to. */
    OK,
    /** An argument that no call accepts. */
    INVALID_ARGUMENT,
    /** No heap of the pool has the room. */
    OUT_OF_MEMORY,
    /** The pool's limit forbids it. */
    LIMIT_REACHED,
    /** The size is larger than any block or heap can be. */
    SIZE_OVERFLOW,
    /** The alignment is not a power of two. */
    BAD_ALIGNMENT,
    /** The heap's address is null. */
    HEAP_NULL,
    /** The heap has no room for one block beside its metadata. */
    HEAP_TOO_SMALL,
    /** The heap's end lies beyond the end of the address space. */
    HEAP_WRAPS,
    /** The heap overlaps one that this pool has, or another. */
    HEAP_OVERLAPS,
    /** No heap of the pool holds the address. */
    HEAP_UNKNOWN,
    /** The heap has live blocks. */
    HEAP_IN_USE,
    /** The pointer was never handed out. */
    NOT_IN_POOL,
    /** The pointer is inside a live block, but not its start. */
    INTERIOR_POINTER,
    /** The block was released already. */
    ALREADY_RELEASED,
    /** The pointer is in a heap of another pool. */
    OTHER_POOL,
    /** The block can't have been allocated with the size given. */
    SIZE_MISMATCH,
    /** The pool's books contradict themselves: something wrote over them. */
    CORRUPTED,
    /** The operating system refused. */
    SYSTEM,
    /** Of a hardened pool: something wrote behind the end of the block. */
    OVERRUN,
    /** Of a hardened pool: something wrote before the start of the block. */
    UNDERRUN,
    /** Of a hardened pool: something wrote to memory that had been released. */
    WRITTEN_AFTER_RELEASE,
    /** Of a hardened pool: the block was allocated by what this can't release. */
    ORIGIN_MISMATCH,
    /** One that a newer library has. */
    UNKNOWN;

    static Status of(int number) {
        return number >= 0 && number < UNKNOWN.ordinal() ? values()[number] : UNKNOWN;
    }
}
