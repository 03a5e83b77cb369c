package heapmaster;

import static heapmaster.HeapMasterException.unlessNull;
import static heapmaster.HeapMasterException.unlessSucceeded;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/**
 * A set of heaps, out of which blocks are allocated. Any thread may use it.
 *
 * <p>What is never released lives until the pool is closed, at the latest when it is garbage: a block keeps its
 * pool. Every method throws {@link IllegalStateException} once it is closed, and {@link HeapMasterException} for
 * what the library refuses.
 */
public final class Pool implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    /** What must outlive a pool that nobody has closed. */
    private static final class Remains implements Runnable {
        final Pointer handle;
        final List<ByteBuffer> buffers = new ArrayList<>();

        Remains(int flags) {
            handle = unlessNull(Library.hl_pool_new_with(new Library.Config(flags)));
        }

        @Override
        public void run() {
            Library.hl_pool_delete(handle);
            buffers.clear();
        }
    }

    // All that touches the library is synchronized: a pool is closed when no call is inside, and is no garbage
    // while one is.
    private final Remains remains;
    private final Cleaner.Cleanable deletion;
    private boolean closed;

    /** Makes a pool without heaps. */
    public Pool() {
        this(0);
    }

    private Pool(int flags) {
        remains = new Remains(flags);
        deletion = CLEANER.register(this, remains);
    }

    /**
     * Makes a pool without heaps that finds what was written beside a block, or after its release. It takes more memory
     * and time for that.
     */
    public static Pool hardened() {
        return new Pool(Library.Config.HARDENED);
    }

    /** The library's version, such as "1.2.3". */
    public static String version() {
        return Library.hl_version();
    }

    /** Ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed. */
    @Override
    public synchronized void close() {
        closed = true;
        deletion.clean();
    }

    public synchronized boolean isClosed() {
        return closed;
    }

    /** The library's handle. The caller has the pool's monitor. */
    Pointer open() {
        if (closed) {
            throw new IllegalStateException("the pool is closed");
        }
        return remains.handle;
    }

    /** A size or an alignment, as C has it. */
    static long size(long number) {
        if (number < 0) {
            throw HeapMasterException.negative(number);
        }
        return number;
    }

    /**
     * Adds what remains of a direct buffer that can be written to as a heap. The pool keeps it, but can't keep the
     * memory of one that a closeable scope has made: an {@code Arena} must be closed after the pool, or the program
     * reaches memory that is no more.
     */
    public synchronized void addHeap(ByteBuffer buffer) {
        Pointer handle = open();
        if (!buffer.isDirect() || buffer.isReadOnly()) {
            throw new IllegalArgumentException("a heap is a direct buffer that can be written to");
        }
        ByteBuffer memory = buffer.slice();
        unlessSucceeded(Library.hl_add_heap(handle, Native.getDirectBufferPointer(memory), memory.capacity()));
        remains.buffers.add(memory);
    }

    /** Adds a heap that grows to maxSize bytes of the system's memory; 0 stands for all that can be had. */
    public synchronized void addSystemHeap(long maxSize) {
        int status = Library.hl_add_system_heap(open(), size(maxSize));
        if (status == Status.SYSTEM.ordinal()) {
            // The collector does not know how much of the system's memory forgotten pools have.
            System.gc();
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(100));
            status = Library.hl_add_system_heap(open(), maxSize);
        }
        unlessSucceeded(status);
    }

    /** Allocates a block. What its bytes are is not defined. */
    public synchronized Block alloc(long size) {
        return new Block(this, unlessNull(Library.hl_alloc(open(), size(size))), size);
    }

    /** Allocates a block of zeros. */
    public synchronized Block allocZeroed(long size) {
        return new Block(this, unlessNull(Library.hl_alloc_zeroed(open(), 1, size(size))), size);
    }

    /** Allocates a block whose address is a multiple of alignment, a power of two. */
    public synchronized Block allocAligned(long alignment, long size) {
        Pointer memory = Library.hl_alloc_aligned(open(), size(alignment), size(size));
        return new Block(this, unlessNull(memory), size);
    }

    /** Whether an address lies in one of the pool's heaps. */
    public synchronized boolean owns(long address) {
        return Library.hl_owns(open(), new Pointer(address)) != 0;
    }

    /** Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit. */
    public synchronized void setLimit(long size) {
        unlessSucceeded(Library.hl_pool_set_limit(open(), size(size)));
    }

    /** What the pool has now, and has done. */
    public synchronized Statistics statistics() {
        Library.PoolStatistics raw = new Library.PoolStatistics();
        raw.write();
        unlessSucceeded(Library.hl_pool_stats(open(), raw.getPointer()));
        raw.read();
        return new Statistics(raw);
    }

    /** Throws {@link Status#CORRUPTED} if an invariant of the pool's books does not hold. */
    public synchronized void check() {
        unlessSucceeded(Library.hl_pool_check(open()));
    }

    /** All blocks, live and free, in the order of their addresses. */
    public List<BlockInfo> walk() {
        List<BlockInfo> blocks = new ArrayList<>();
        walk(blocks::add);
        return blocks;
    }

    /** Hands each block to a visitor, which must not use the pool. */
    synchronized void walk(Consumer<BlockInfo> visitor) {
        List<Throwable> thrown = new ArrayList<>(1);
        Library.Visit visit = (pointer, context) -> {
            // Nothing is thrown through C: JNA would print and forget it.
            try {
                Library.BlockInfo block = new Library.BlockInfo(pointer);
                boolean live = block.state == Library.BlockInfo.LIVE;
                visitor.accept(new BlockInfo(Pointer.nativeValue(block.address), block.size, live));
                return 1;
            } catch (Throwable error) {
                thrown.add(error);
                return 0;
            }
        };
        unlessSucceeded(Library.hl_pool_walk(open(), visit, null));
        for (Throwable error : thrown) {
            Pool.<RuntimeException>rethrow(error);
        }
    }

    /** Throws anything, which the compiler takes for a T. */
    @SuppressWarnings("unchecked")
    private static <T extends Throwable> void rethrow(Throwable error) throws T {
        throw (T) error;
    }

    @Override
    public synchronized String toString() {
        return closed ? "HeapMaster pool (closed)" : "HeapMaster pool";
    }
}
