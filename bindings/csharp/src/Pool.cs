using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using static HeapMaster.HeapMasterException;

namespace HeapMaster
{
    /// <summary>What a pool has, and has done. Sizes are in bytes.</summary>
    public sealed class Statistics
    {
        readonly Library.PoolStatistics raw;

        internal Statistics(Library.PoolStatistics raw)
        {
            this.raw = raw;
        }

        public long Heaps => (long)raw.Heaps;
        public long CapacityBytes => (long)raw.CapacityBytes;
        public long MetadataBytes => (long)raw.MetadataBytes;
        public long UsedBytes => (long)raw.UsedBytes;
        public long PeakUsedBytes => (long)raw.PeakUsedBytes;
        public long FreeBytes => (long)raw.FreeBytes;
        public long LargestFreeBlock => (long)raw.LargestFreeBlock;
        public long LiveBlocks => (long)raw.LiveBlocks;
        public long LiveBytes => (long)raw.LiveBytes;
        public long Allocations => (long)raw.Allocations;
        public long Releases => (long)raw.Releases;
        public long Failures => (long)raw.Failures;
        public long Misuses => (long)raw.Misuses;
        public long Limit => (long)raw.Limit;
    }

    /// <summary>A block as Pool.Walk shows it.</summary>
    public sealed class BlockInfo
    {
        internal BlockInfo(Library.BlockInfo raw)
        {
            Address = raw.Address;
            Size = (long)raw.Size;
            Live = raw.State == Library.BlockInfo.Live;
        }

        public IntPtr Address { get; }
        public long Size { get; }
        public bool Live { get; }
    }

    /// <summary>
    /// A set of heaps, out of which blocks are allocated. Any thread may use it. What is never released lives until
    /// the pool is disposed of, at the latest when it is garbage: a block keeps its pool. Every method throws
    /// ObjectDisposedException after that, and HeapMasterException for what the library refuses.
    /// </summary>
    public sealed class Pool : IDisposable
    {
        readonly PoolHandle handle;

        /// <summary>
        /// Makes a pool without heaps. One that is hardened finds what was written beside a block, or after its release.
        /// It takes more memory and time for that.
        /// </summary>
        public Pool(bool hardened = false)
        {
            handle = new PoolHandle(hardened ? Library.Config.Hardened : 0);
        }

        /// <summary>The library's version, such as "1.2.3".</summary>
        public static string Version => Marshal.PtrToStringAnsi(Library.C.hl_version());

        /// <summary>Ends the pool and its blocks; its heaps are the caller's again. Harmless the second time.</summary>
        public void Dispose()
        {
            // Under the lock, so that no block is read or written meanwhile.
            lock (handle)
                handle.Dispose();
        }

        public bool IsDisposed => handle.IsClosed;

        internal PoolHandle Open()
        {
            return !IsDisposed ? handle : throw new ObjectDisposedException(nameof(Pool));
        }

        internal object Lock => handle;

        /// <summary>A size or an alignment, as C has it.</summary>
        internal static UIntPtr Size(long number)
        {
            return number >= 0 ? (UIntPtr)(ulong)number : throw Negative(number);
        }

        /// <summary>Adds an array as a heap. The pool keeps and pins it.</summary>
        public void AddHeap(byte[] buffer)
        {
            if (buffer == null)
                throw new ArgumentNullException(nameof(buffer));
            lock (Lock)
                Library.Unbroken(() => Open().AddHeap(buffer));
        }

        /// <summary>
        /// Adds a heap that grows to maxSize bytes of the system's memory; 0 stands for all that can be had.
        /// </summary>
        public void AddSystemHeap(long maxSize = 0)
        {
            Status status = Library.C.hl_add_system_heap(Open(), Size(maxSize));
            if (status == Status.System)
            {
                // The collector does not know how much of the system's memory forgotten pools have.
                GC.Collect();
                GC.WaitForPendingFinalizers();
                status = Library.C.hl_add_system_heap(Open(), Size(maxSize));
            }
            UnlessOk(status);
        }

        /// <summary>Allocates a block. What its bytes are is not defined.</summary>
        public Block Alloc(long size)
        {
            return new Block(this, UnlessNull(Library.C.hl_alloc(Open(), Size(size))), size);
        }

        /// <summary>Allocates a block of zeros.</summary>
        public Block AllocZeroed(long size)
        {
            return new Block(this, UnlessNull(Library.C.hl_alloc_zeroed(Open(), (UIntPtr)1, Size(size))), size);
        }

        /// <summary>Allocates a block whose address is a multiple of alignment, a power of two.</summary>
        public Block AllocAligned(long alignment, long size)
        {
            IntPtr memory = Library.C.hl_alloc_aligned(Open(), Size(alignment), Size(size));
            return new Block(this, UnlessNull(memory), size);
        }

        /// <summary>Whether an address lies in one of the pool's heaps.</summary>
        public bool Owns(IntPtr address)
        {
            return Library.C.hl_owns(Open(), address);
        }

        /// <summary>Lets the blocks take at most so many bytes of the heaps; 0 lifts the limit.</summary>
        public void SetLimit(long size)
        {
            UnlessOk(Library.C.hl_pool_set_limit(Open(), Size(size)));
        }

        /// <summary>What the pool has now, and has done.</summary>
        public unsafe Statistics Statistics()
        {
            var raw = new Library.PoolStatistics { StructSize = (UIntPtr)sizeof(Library.PoolStatistics) };
            UnlessOk(Library.C.hl_pool_stats(Open(), &raw));
            return new Statistics(raw);
        }

        /// <summary>Throws Status.Corrupted if an invariant of the pool's books does not hold.</summary>
        public void Check()
        {
            UnlessOk(Library.C.hl_pool_check(Open()));
        }

        /// <summary>All blocks, live and free, in the order of their addresses.</summary>
        public List<BlockInfo> Walk()
        {
            var blocks = new List<BlockInfo>();
            Library.Visit visit = (ref Library.BlockInfo block, IntPtr context) =>
            {
                blocks.Add(new BlockInfo(block));
                return true;
            };
            UnlessOk(Library.C.hl_pool_walk(Open(), visit, IntPtr.Zero));
            GC.KeepAlive(visit);
            return blocks;
        }

        public override string ToString()
        {
            return IsDisposed ? "HeapMaster pool (disposed of)" : "HeapMaster pool";
        }
    }
}
