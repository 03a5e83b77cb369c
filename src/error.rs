//! Why a call was refused: one enum with the pointer or value at fault, mapped once to the C statuses.

use core::fmt;

/// Status of a call, as the C ABI reports it (`HL_OK`, `HL_ERR_...`).
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The call did what it was asked to.
    Ok = 0,
    /// An argument that no call accepts: a null pool or result pointer, an unknown flag.
    InvalidArgument = 1,
    /// No heap of the pool has the room.
    OutOfMemory = 2,
    /// The pool's limit forbids it.
    LimitReached = 3,
    /// The size, or count times size, is larger than any block or heap can be.
    SizeOverflow = 4,
    /// The alignment is not a power of two.
    BadAlignment = 5,
    /// The heap's address is null.
    HeapNull = 6,
    /// The heap has no room for one block beside its metadata.
    HeapTooSmall = 7,
    /// The heap's end lies beyond the end of the address space.
    HeapWraps = 8,
    /// The heap overlaps one that this pool has, or another.
    HeapOverlaps = 9,
    /// No heap of the pool holds the address.
    HeapUnknown = 10,
    /// The heap can't be removed: it has live blocks.
    HeapInUse = 11,
    /// The pointer was never handed out: no pool's heap holds it, or it is bookkeeping.
    NotInPool = 12,
    /// The pointer is inside a live block, but not its start.
    InteriorPointer = 13,
    /// The pointer is in free memory of the pool: its block was released already.
    AlreadyReleased = 14,
    /// The pointer is in a heap of another pool.
    OtherPool = 15,
    /// The block can't have been allocated with the size given.
    SizeMismatch = 16,
    /// The pool's books contradict themselves: something wrote over them.
    Corrupted = 17,
    /// The operating system refused.
    System = 18,
    /// Of a hardened pool: something wrote behind the end of the block.
    Overrun = 19,
    /// Of a hardened pool: something wrote before the start of the block.
    Underrun = 20,
    /// Of a hardened pool: something wrote to memory that had been released.
    WrittenAfterRelease = 21,
    /// Of a hardened pool: the block was allocated by what this can't release.
    OriginMismatch = 22,
}

impl Status {
    /// Every status, in the order of their numbers.
    ///
    /// cbindgen:ignore
    pub const ALL: &[Status] = &[
        Status::Ok,
        Status::InvalidArgument,
        Status::OutOfMemory,
        Status::LimitReached,
        Status::SizeOverflow,
        Status::BadAlignment,
        Status::HeapNull,
        Status::HeapTooSmall,
        Status::HeapWraps,
        Status::HeapOverlaps,
        Status::HeapUnknown,
        Status::HeapInUse,
        Status::NotInPool,
        Status::InteriorPointer,
        Status::AlreadyReleased,
        Status::OtherPool,
        Status::SizeMismatch,
        Status::Corrupted,
        Status::System,
        Status::Overrun,
        Status::Underrun,
        Status::WrittenAfterRelease,
        Status::OriginMismatch,
    ];
}

const _: () = {
    let mut index = 0;
    while index < Status::ALL.len() {
        assert!(Status::ALL[index] as usize == index);
        index += 1;
    }
};

/// What a block was allocated by, which is what has to release it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `malloc` and its family, and the functions of pools.
    Malloc = 0,
    /// `operator new`.
    New = 1,
    /// `operator new[]`.
    NewArray = 2,
}

impl Origin {
    /// The one with the number in the lowest two bits.
    pub(crate) fn numbered(number: u8) -> Origin {
        match number & 3 {
            1 => Origin::New,
            2 => Origin::NewArray,
            _ => Origin::Malloc,
        }
    }

    /// What allocates so.
    pub const fn allocator(self) -> &'static str {
        match self {
            Origin::Malloc => "malloc",
            Origin::New => "operator new",
            Origin::NewArray => "operator new[]",
        }
    }

    /// What has to release it.
    pub const fn releaser(self) -> &'static str {
        match self {
            Origin::Malloc => "free",
            Origin::New => "operator delete",
            Origin::NewArray => "operator delete[]",
        }
    }
}

/// Why a call was refused, with the pointer or value at fault. A refused call changed nothing but the counts of
/// failures and misuses.
///
/// ```
/// use heapmaster::{Error, Pool, Status};
///
/// let error = Pool::new().block(100).unwrap_err();
/// assert_eq!(error, Error::OutOfMemory { size: 100 });
/// assert_eq!(error.status(), Status::OutOfMemory);
/// assert_eq!(error.to_string(), "out of memory: no heap of the pool has room for 100 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument that no call accepts; the text says which, and why.
    InvalidArgument(&'static str),
    /// No heap of the pool has room for so many bytes.
    OutOfMemory {
        /// Bytes asked for.
        size: usize,
    },
    /// The pool's limit forbids it.
    LimitReached {
        /// Bytes asked for.
        size: usize,
        /// Bytes of a heap that this takes.
        needed: usize,
        /// Bytes in use.
        used: usize,
        /// The limit.
        limit: usize,
    },
    /// More bytes than any block can have.
    SizeOverflow {
        /// Number of elements asked for.
        count: usize,
        /// Bytes of an element.
        size: usize,
    },
    /// A larger alignment than any block can have beside its armour.
    AlignmentOverflow {
        /// The alignment asked for.
        alignment: usize,
        /// Bytes asked for.
        size: usize,
    },
    /// Not a power of two.
    BadAlignment {
        /// The alignment asked for.
        alignment: usize,
    },
    /// The heap's address is null.
    HeapNull,
    /// The heap has no room for one block beside its metadata.
    HeapTooSmall {
        /// Address of the heap.
        address: usize,
        /// Bytes of the heap.
        size: usize,
    },
    /// The heap's end lies beyond the end of the address space.
    HeapWraps {
        /// Address of the heap.
        address: usize,
        /// Bytes of the heap.
        size: usize,
    },
    /// The heap overlaps one that this pool has, or another.
    HeapOverlaps {
        /// Address of the heap.
        address: usize,
        /// Bytes of the heap.
        size: usize,
        /// Address of the heap that is there.
        other: usize,
        /// Bytes of the heap that is there.
        other_size: usize,
    },
    /// No heap of the pool holds the address.
    HeapUnknown {
        /// The address.
        address: usize,
    },
    /// The heap can't be removed: it has live blocks, or threads' caches know it.
    HeapInUse {
        /// Address of the heap.
        address: usize,
        /// Live blocks in it.
        blocks: usize,
        /// Bytes of them.
        bytes: usize,
    },
    /// The pointer was never handed out.
    NotInPool {
        /// The pointer.
        pointer: usize,
    },
    /// The pointer is inside a live block.
    InteriorPointer {
        /// The pointer.
        pointer: usize,
        /// Start of the block.
        block: usize,
        /// Bytes of the block.
        size: usize,
    },
    /// The pointer is in free memory.
    AlreadyReleased {
        /// The pointer.
        pointer: usize,
        /// Bytes of the freed object that starts at or before it; 0 if its block has been merged since.
        size: usize,
    },
    /// The pointer is in a heap of another pool.
    OtherPool {
        /// The pointer.
        pointer: usize,
    },
    /// The block can't have been allocated with that size.
    SizeMismatch {
        /// The block.
        pointer: usize,
        /// The size given.
        given: usize,
        /// Bytes of the block.
        size: usize,
    },
    /// The pool's books contradict themselves.
    Corrupted {
        /// Where in the heap.
        address: usize,
        /// The invariant that does not hold.
        invariant: &'static str,
    },
    /// The operating system refused.
    System {
        /// What was asked of it.
        call: &'static str,
        /// Its error number.
        errno: i32,
    },
    /// Something wrote behind the end of a block.
    Overrun {
        /// The block.
        pointer: usize,
        /// Bytes asked for.
        size: usize,
        /// The first byte that was written to, counted from the end.
        offset: usize,
    },
    /// Something wrote before the start of a block.
    Underrun {
        /// The block; the pointer that was given, if something wrote over the block's header.
        pointer: usize,
        /// Bytes asked for; 0 with an offset of 0.
        size: usize,
        /// The first byte that was written to, counted from the start downwards; 0 if it can't be told, because
        /// something wrote over the block's header.
        offset: usize,
    },
    /// Something wrote to memory that had been released.
    WrittenAfterRelease {
        /// The first byte that was written to.
        pointer: usize,
        /// Start of the block that it was in, as its user knew it; or of its bookkeeping, if that was written to.
        block: usize,
    },
    /// The block was allocated by what this can't release.
    OriginMismatch {
        /// The block.
        pointer: usize,
        /// What it was allocated by.
        origin: Origin,
    },
}

impl Error {
    /// The status that the C ABI reports.
    pub const fn status(&self) -> Status {
        match self {
            Error::InvalidArgument(_) => Status::InvalidArgument,
            Error::OutOfMemory { .. } => Status::OutOfMemory,
            Error::LimitReached { .. } => Status::LimitReached,
            Error::SizeOverflow { .. } | Error::AlignmentOverflow { .. } => Status::SizeOverflow,
            Error::BadAlignment { .. } => Status::BadAlignment,
            Error::HeapNull => Status::HeapNull,
            Error::HeapTooSmall { .. } => Status::HeapTooSmall,
            Error::HeapWraps { .. } => Status::HeapWraps,
            Error::HeapOverlaps { .. } => Status::HeapOverlaps,
            Error::HeapUnknown { .. } => Status::HeapUnknown,
            Error::HeapInUse { .. } => Status::HeapInUse,
            Error::NotInPool { .. } => Status::NotInPool,
            Error::InteriorPointer { .. } => Status::InteriorPointer,
            Error::AlreadyReleased { .. } => Status::AlreadyReleased,
            Error::OtherPool { .. } => Status::OtherPool,
            Error::SizeMismatch { .. } => Status::SizeMismatch,
            Error::Corrupted { .. } => Status::Corrupted,
            Error::System { .. } => Status::System,
            Error::Overrun { .. } => Status::Overrun,
            Error::Underrun { .. } => Status::Underrun,
            Error::WrittenAfterRelease { .. } => Status::WrittenAfterRelease,
            Error::OriginMismatch { .. } => Status::OriginMismatch,
        }
    }

    /// The same of a request for so many bytes, which was made larger before it was refused.
    pub(crate) const fn about(self, size: usize) -> Error {
        match self {
            Error::OutOfMemory { .. } => Error::OutOfMemory { size },
            Error::LimitReached { needed, used, limit, .. } => {
                Error::LimitReached { size, needed, used, limit }
            }
            Error::SizeOverflow { .. } => Error::SizeOverflow { count: 1, size },
            error => error,
        }
    }

    /// The pointer that was misused, where that is what the error says.
    pub const fn misused_pointer(&self) -> Option<usize> {
        match *self {
            Error::NotInPool { pointer }
            | Error::InteriorPointer { pointer, .. }
            | Error::AlreadyReleased { pointer, .. }
            | Error::OtherPool { pointer }
            | Error::SizeMismatch { pointer, .. }
            | Error::Overrun { pointer, .. }
            | Error::Underrun { pointer, .. }
            | Error::WrittenAfterRelease { pointer, .. }
            | Error::OriginMismatch { pointer, .. } => Some(pointer),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::InvalidArgument(what) => f.write_str(what),
            Error::OutOfMemory { size } => {
                write!(f, "out of memory: no heap of the pool has room for {size} bytes")
            }
            Error::LimitReached { size, needed, used, limit } => write!(
                f,
                "limit reached: {size} bytes take {needed} of a heap, more than the limit of {limit} leaves beside \
                 the {used} in use"
            ),
            Error::SizeOverflow { count: 1, size } => {
                write!(f, "size overflow: no block or heap can have {size} bytes")
            }
            Error::SizeOverflow { count, size } => {
                write!(f, "size overflow: no block can have {count} times {size} bytes")
            }
            Error::AlignmentOverflow { alignment, size } => write!(
                f,
                "size overflow: no heap can have room for {size} bytes at a multiple of {alignment}"
            ),
            Error::BadAlignment { alignment } => {
                write!(f, "bad alignment: {alignment} is not a power of two")
            }
            Error::HeapNull => f.write_str("heap is null: no memory was handed in"),
            Error::HeapTooSmall { address: 0, size } => {
                write!(f, "heap too small: a system heap has at least 1 MiB, not {size} bytes")
            }
            Error::HeapTooSmall { address, size } => write!(
                f,
                "heap too small: {size} bytes at {address:#x} have no room for one block beside the metadata"
            ),
            Error::HeapWraps { address, size } => write!(
                f,
                "heap wraps: {size} bytes at {address:#x} reach the end of the address space, or beyond"
            ),
            Error::HeapOverlaps { address, size, other, other_size } => write!(
                f,
                "heap overlaps: {size} bytes at {address:#x} share memory with the heap of \
                 {other_size} bytes at {other:#x}"
            ),
            Error::HeapUnknown { address } => {
                write!(f, "unknown heap: {address:#x} is in no heap of this pool")
            }
            Error::HeapInUse { address, blocks: 0, .. } => {
                write!(f, "heap in use: threads have caches of the heap at {address:#x}")
            }
            Error::HeapInUse { address, blocks, bytes } => write!(
                f,
                "heap in use: the heap at {address:#x} has {blocks} live blocks of {bytes} bytes"
            ),
            Error::NotInPool { pointer } => {
                write!(f, "not in the pool: {pointer:#x} was never handed out by this pool")
            }
            Error::InteriorPointer { pointer, block, size } => write!(
                f,
                "interior pointer: {pointer:#x} is at offset {} in the live block of {size} bytes at {block:#x}",
                pointer.wrapping_sub(block)
            ),
            Error::AlreadyReleased { pointer, size: 0 } => {
                write!(f, "already released: {pointer:#x} is in free memory of the pool")
            }
            Error::AlreadyReleased { pointer, size } => write!(
                f,
                "already released: {pointer:#x} is in a freed object of size class {size}"
            ),
            Error::OtherPool { pointer } => {
                write!(f, "other pool: {pointer:#x} is in a heap of another pool")
            }
            Error::SizeMismatch { pointer, given, size } => write!(
                f,
                "size mismatch: the block of {size} bytes at {pointer:#x} can't have been allocated with \
                 a size of {given}"
            ),
            Error::Corrupted { address, invariant } => {
                write!(f, "corrupted: near {address:#x} it does not hold that {invariant}")
            }
            Error::System { call, errno } => {
                write!(f, "system: {call} failed with error number {errno}")
            }
            Error::Overrun { pointer, size, offset } => write!(
                f,
                "overrun: byte {offset} behind the end of the block of {size} bytes at {pointer:#x} was \
                 written to"
            ),
            Error::Underrun { pointer, offset: 0, .. } => {
                write!(f, "underrun: the bytes before the block at {pointer:#x} were written to")
            }
            Error::Underrun { pointer, offset, .. } => {
                write!(f, "underrun: byte {offset} before the block at {pointer:#x} was written to")
            }
            Error::WrittenAfterRelease { pointer, block } => write!(
                f,
                "written after release: {pointer:#x} was written to, at offset {} in the freed block at \
                 {block:#x}",
                pointer.wrapping_sub(block)
            ),
            Error::OriginMismatch { pointer, origin } => write!(
                f,
                "origin mismatch: the block at {pointer:#x} was allocated by {} and has to be released by {}",
                origin.allocator(),
                origin.releaser()
            ),
        }
    }
}

impl core::error::Error for Error {}
