/** The library's statuses, by their names: Status.HL_ERR_OUT_OF_MEMORY. */
export const Status: Readonly<Record<string, number>>;

/** The library's version, such as "1.2.3". */
export function version(): string;

/** A call that the library refused. */
export class HeapMasterError extends Error {
    private constructor();
    /** The status's name, such as "HL_ERR_OUT_OF_MEMORY". */
    readonly code: string;
    /** The status's number. */
    readonly status: number;
}

/** What a pool has, and has done. Sizes are in bytes. */
export interface Statistics {
    heaps: number;
    capacityBytes: number;
    metadataBytes: number;
    usedBytes: number;
    peakUsedBytes: number;
    freeBytes: number;
    largestFreeBlock: number;
    liveBlocks: number;
    liveBytes: number;
    allocations: number;
    releases: number;
    failures: number;
    misuses: number;
    limit: number;
}

/** A block as Pool.walk() shows it. */
export interface BlockInfo {
    address: bigint;
    size: number;
    live: boolean;
}

/**
 * A set of heaps, out of which blocks are allocated. What is never released lives until the pool is closed, at the
 * latest when it is garbage. Every method throws an Error once the pool is closed. A copy of it, by structuredClone()
 * or in a message, is no pool.
 */
export class Pool implements Disposable {
    /**
     * Makes a pool without heaps. One that is hardened finds what was written beside a block, or after its release. It
     * takes more memory and time for that.
     */
    constructor(options?: { hardened?: boolean });

    /** Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed. */
    close(): void;
    [Symbol.dispose](): void;
    readonly closed: boolean;

    /**
     * Adds a buffer as a heap. The pool keeps it, and it can't be transferred to a worker from then on. It must not be
     * detached otherwise, as by ArrayBuffer.prototype.transfer() or the growth of a WebAssembly.Memory: every method
     * throws an Error from then on, and other pools may fail once its memory is freed.
     */
    addHeap(buffer: NodeJS.ArrayBufferView): void;
    /** Adds a heap that grows to maxSize bytes of the system's memory; 0 stands for all that can be had. */
    addSystemHeap(maxSize?: number): void;

    /** Allocates a block. What its bytes are is not defined. */
    alloc(size: number): Block;
    /** Allocates a block of zeros. */
    allocZeroed(size: number): Block;
    /** Allocates a block whose address is a multiple of alignment, a power of two. */
    allocAligned(alignment: number, size: number): Block;

    /** Whether an address lies in one of the pool's heaps. */
    owns(address: bigint): boolean;
    /** Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit. */
    setLimit(size: number): void;
    /** What the pool has now, and has done. */
    statistics(): Statistics;
    /** Throws HL_ERR_CORRUPTED if an invariant of the pool's books does not hold. */
    check(): void;
    /** All blocks, live and free, in the order of their addresses. */
    walk(): BlockInfo[];
}

/** A block of a pool, made by its alloc methods. Every use of a released one throws HL_ERR_ALREADY_RELEASED. */
export class Block implements Disposable {
    private constructor();

    /** Whether it was not released, nor its pool closed. */
    readonly live: boolean;
    readonly address: bigint;
    readonly size: number;
    /** How many bytes the pool has set aside for it: at least those asked for. */
    readonly usableSize: number;

    /**
     * A copy of its bytes, of all behind offset if no length is given. Throws a RangeError if they are more than
     * buffer.constants.MAX_LENGTH.
     */
    read(offset?: number, length?: number): Buffer;
    /** Copies bytes, or a string as UTF-8, into it. */
    write(data: Uint8Array | string, offset?: number): void;

    /** Makes it hold so many bytes, if need be at another address, with its contents as far as they fit. */
    resize(size: number): void;
    /** Gives it back to its pool. */
    release(): void;
    /** As release(), but harmless if it is not live. */
    [Symbol.dispose](): void;
}
