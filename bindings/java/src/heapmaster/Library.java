package heapmaster;

import com.sun.jna.Callback;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.Structure.FieldOrder;

/**
 * The C ABI by JNA. The shared library is the one that the environment variable HEAPMASTER_LIBRARY names, else the
 * one that the system's loader finds. HeapMaster has 64-bit platforms alone, so that size_t is long.
 */
final class Library {
    static {
        String path = System.getenv("HEAPMASTER_LIBRARY");
        try {
            Native.register(Library.class, NativeLibrary.getInstance(
                    path == null || path.isEmpty() ? "libheapmaster.so.0" : path));
        } catch (UnsatisfiedLinkError error) {
            throw new UnsatisfiedLinkError(
                    "can't load HeapMaster's library, see HEAPMASTER_LIBRARY: " + error.getMessage());
        }
    }

    private Library() {}

    @FieldOrder({"struct_size", "flags", "limit"})
    public static final class Config extends Structure {
        static final int HARDENED = 2;

        public long struct_size = size();
        public int flags;
        public long limit;

        Config(int flags) {
            this.flags = flags;
        }
    }

    @FieldOrder({
        "struct_size", "heaps", "capacity_bytes", "metadata_bytes", "used_bytes", "peak_used_bytes", "free_bytes",
        "largest_free_block", "live_blocks", "live_bytes", "allocations", "releases", "failures", "misuses", "limit"
    })
    public static final class PoolStatistics extends Structure {
        public long struct_size = size();
        public long heaps;
        public long capacity_bytes;
        public long metadata_bytes;
        public long used_bytes;
        public long peak_used_bytes;
        public long free_bytes;
        public long largest_free_block;
        public long live_blocks;
        public long live_bytes;
        public long allocations;
        public long releases;
        public long failures;
        public long misuses;
        public long limit;
    }

    @FieldOrder({"struct_size", "address", "size", "state"})
    public static final class BlockInfo extends Structure {
        static final int LIVE = 1;

        public long struct_size;
        public Pointer address;
        public long size;
        public int state;

        BlockInfo(Pointer memory) {
            super(memory);
            read();
        }
    }

    interface Visit extends Callback {
        /** C's bool is a byte, 0 or 1; Java's would be an int. */
        byte visit(Pointer block, Pointer context);
    }

    static native String hl_version();
    static native String hl_status_name(int status);
    static native String hl_status_message(int status);
    static native int hl_last_error();
    static native String hl_last_error_message();

    static native Pointer hl_pool_new_with(Config config);
    static native int hl_pool_delete(Pointer pool);
    static native int hl_pool_set_limit(Pointer pool, long bytes);
    static native int hl_pool_stats(Pointer pool, Pointer statistics);
    static native int hl_pool_check(Pointer pool);
    static native int hl_pool_walk(Pointer pool, Visit visit, Pointer context);

    static native int hl_add_heap(Pointer pool, Pointer memory, long size);
    static native int hl_add_system_heap(Pointer pool, long maxSize);

    static native Pointer hl_alloc(Pointer pool, long size);
    static native Pointer hl_alloc_zeroed(Pointer pool, long count, long size);
    static native Pointer hl_alloc_aligned(Pointer pool, long alignment, long size);
    static native Pointer hl_resize(Pointer pool, Pointer block, long size);
    static native int hl_release(Pointer pool, Pointer block);
    static native long hl_usable_size(Pointer pool, Pointer block);
    static native byte hl_owns(Pointer pool, Pointer address);
}
