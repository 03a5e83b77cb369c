package heapmaster;

import static heapmaster.HeapMasterException.unlessNull;
import static heapmaster.HeapMasterException.unlessSucceeded;

import com.sun.jna.Pointer;
import java.util.Objects;

/** A block of a pool. Every use of a released one throws {@link Status#ALREADY_RELEASED}. */
public final class Block implements AutoCloseable {
    private final Pool pool;
    // The pool's monitor guards these.
    private Pointer memory;
    private long size;
    private boolean live = true;

    Block(Pool pool, Pointer memory, long size) {
        this.pool = pool;
        this.memory = memory;
        this.size = size;
    }

    /** Whether it was not released, nor its pool closed. */
    public boolean isLive() {
        synchronized (pool) {
            return live && !pool.isClosed();
        }
    }

    /** How many bytes were asked for. */
    public long size() {
        synchronized (pool) {
            use();
            return size;
        }
    }

    public long address() {
        synchronized (pool) {
            use();
            return Pointer.nativeValue(memory);
        }
    }

    /** How many bytes the pool has set aside for it: at least those asked for. */
    public long usableSize() {
        synchronized (pool) {
            return Library.hl_usable_size(use(), memory);
        }
    }

    /** A copy of some of its bytes. */
    public byte[] read(long offset, int length) {
        synchronized (pool) {
            use();
            Objects.checkFromIndexSize(offset, length, size);
            return memory.getByteArray(offset, length);
        }
    }

    /** Copies bytes into it. */
    public void write(long offset, byte[] bytes) {
        synchronized (pool) {
            use();
            Objects.checkFromIndexSize(offset, bytes.length, size);
            memory.write(offset, bytes, 0, bytes.length);
        }
    }

    /** Makes it hold so many bytes, if need be at another address, with its contents as far as they fit. */
    public void resize(long newSize) {
        synchronized (pool) {
            memory = unlessNull(Library.hl_resize(use(), memory, Pool.size(newSize)));
            size = newSize;
        }
    }

    /** Gives it back to its pool. */
    public void release() {
        synchronized (pool) {
            unlessSucceeded(Library.hl_release(use(), memory));
            live = false;
        }
    }

    /** As release, but harmless if it is not live. */
    @Override
    public void close() {
        synchronized (pool) {
            if (isLive()) {
                release();
            }
        }
    }

    @Override
    public String toString() {
        synchronized (pool) {
            String state = isLive() ? "at 0x" + Long.toHexString(Pointer.nativeValue(memory)) : "(released)";
            return "HeapMaster block of " + size + " bytes " + state;
        }
    }

    /** The handle of the pool, if the block is live. */
    private Pointer use() {
        Pointer handle = pool.open();
        if (!live) {
            throw refusal(handle);
        }
        return handle;
    }

    /** What the library says about a released block, in general terms if another block lies there by now. */
    private HeapMasterException refusal(Pointer handle) {
        // Harmless whatever lies there, which hl_release() is not.
        if (Library.hl_usable_size(handle, memory) == 0) {
            HeapMasterException last = HeapMasterException.last();
            if (last.status() == Status.ALREADY_RELEASED) {
                return last;
            }
        }
        return HeapMasterException.of(Status.ALREADY_RELEASED);
    }
}
