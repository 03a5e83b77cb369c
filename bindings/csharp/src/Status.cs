namespace HeapMaster
{
    /// <summary>Why a call was refused, by the library's numbers.</summary>
    public enum Status
    {
        /// <summary>The call did what it was asked to.</summary>
        Ok = 0,
        /// <summary>An argument that no call accepts.</summary>
        InvalidArgument = 1,
        /// <summary>No heap of the pool has the room.</summary>
        OutOfMemory = 2,
        /// <summary>The pool's limit forbids it.</summary>
        LimitReached = 3,
        /// <summary>The size is larger than any block or heap can be.</summary>
        SizeOverflow = 4,
        /// <summary>The alignment is not a power of two.</summary>
        BadAlignment = 5,
        /// <summary>The heap's address is null.</summary>
        HeapNull = 6,
        /// <summary>The heap has no room for one block beside its metadata.</summary>
        HeapTooSmall = 7,
        /// <summary>The heap's end lies beyond the end of the address space.</summary>
        HeapWraps = 8,
        /// <summary>The heap overlaps one that this pool has, or another.</summary>
        HeapOverlaps = 9,
        /// <summary>No heap of the pool holds the address.</summary>
        HeapUnknown = 10,
        /// <summary>The heap has live blocks.</summary>
        HeapInUse = 11,
        /// <summary>The pointer was never handed out.</summary>
        NotInPool = 12,
        /// <summary>The pointer is inside a live block, but not its start.</summary>
        InteriorPointer = 13,
        /// <summary>The block was released already.</summary>
        AlreadyReleased = 14,
        /// <summary>The pointer is in a heap of another pool.</summary>
        OtherPool = 15,
        /// <summary>The block can't have been allocated with the size given.</summary>
        SizeMismatch = 16,
        /// <summary>The pool's books contradict themselves: something wrote over them.</summary>
        Corrupted = 17,
        /// <summary>The operating system refused.</summary>
        System = 18,
        /// <summary>Of a hardened pool: something wrote behind the end of the block.</summary>
        Overrun = 19,
        /// <summary>Of a hardened pool: something wrote before the start of the block.</summary>
        Underrun = 20,
        /// <summary>Of a hardened pool: something wrote to memory that had been released.</summary>
        WrittenAfterRelease = 21,
        /// <summary>Of a hardened pool: the block was allocated by what this can't release.</summary>
        OriginMismatch = 22,
    }
}
