using System;
using System.Runtime.InteropServices;
using static HeapMaster.HeapMasterException;

namespace HeapMaster
{
    /// <summary>A block of a pool. Every use of a released one throws Status.AlreadyReleased.</summary>
    public sealed class Block : IDisposable
    {
        readonly Pool pool;
        // The pool's lock guards these.
        IntPtr memory;
        long size;
        bool live = true;

        internal Block(Pool pool, IntPtr memory, long size)
        {
            this.pool = pool;
            this.memory = memory;
            this.size = size;
        }

        /// <summary>Whether it was not released, nor its pool disposed of.</summary>
        public bool IsLive
        {
            get
            {
                lock (pool.Lock)
                    return live && !pool.IsDisposed;
            }
        }

        /// <summary>How many bytes were asked for.</summary>
        public long Size
        {
            get
            {
                lock (pool.Lock)
                {
                    Use();
                    return size;
                }
            }
        }

        public IntPtr Address
        {
            get
            {
                lock (pool.Lock)
                {
                    Use();
                    return memory;
                }
            }
        }

        /// <summary>How many bytes the pool has set aside for it: at least those asked for.</summary>
        public long UsableSize
        {
            get
            {
                lock (pool.Lock)
                    return (long)Library.C.hl_usable_size(Use(), memory);
            }
        }

        /// <summary>A copy of some of its bytes.</summary>
        public byte[] Read(long offset, int length)
        {
            lock (pool.Lock)
            {
                IntPtr start = Range(offset, length);
                var bytes = new byte[length];
                Marshal.Copy(start, bytes, 0, length);
                return bytes;
            }
        }

        /// <summary>Copies bytes into it.</summary>
        public void Write(long offset, byte[] bytes)
        {
            if (bytes == null)
                throw new ArgumentNullException(nameof(bytes));
            lock (pool.Lock)
                Marshal.Copy(bytes, 0, Range(offset, bytes.Length), bytes.Length);
        }

        /// <summary>
        /// Makes it hold so many bytes, if need be at another address, with its contents as far as they fit.
        /// </summary>
        public void Resize(long newSize)
        {
            lock (pool.Lock)
                Library.Unbroken(() =>
                {
                    memory = UnlessNull(Library.C.hl_resize(Use(), memory, Pool.Size(newSize)));
                    size = newSize;
                });
        }

        /// <summary>Gives it back to its pool.</summary>
        public void Release()
        {
            lock (pool.Lock)
                Library.Unbroken(() =>
                {
                    UnlessOk(Library.C.hl_release(Use(), memory));
                    live = false;
                });
        }

        /// <summary>As Release, but harmless if it is not live.</summary>
        public void Dispose()
        {
            lock (pool.Lock)
            {
                if (IsLive)
                    Release();
            }
        }

        public override string ToString()
        {
            lock (pool.Lock)
            {
                string state = IsLive ? $"at 0x{memory.ToInt64():x}" : "(released)";
                return $"HeapMaster block of {size} bytes {state}";
            }
        }

        /// <summary>The handle of the pool, if the block is live.</summary>
        PoolHandle Use()
        {
            PoolHandle handle = pool.Open();
            return live ? handle : throw Refusal(handle);
        }

        /// <summary>
        /// What the library says about a released block, in general terms if another block lies there by now.
        /// </summary>
        HeapMasterException Refusal(PoolHandle handle)
        {
            // Harmless whatever lies there, which hl_release() is not.
            if (Library.C.hl_usable_size(handle, memory) == UIntPtr.Zero)
            {
                HeapMasterException last = Last();
                if (last.Status == Status.AlreadyReleased)
                    return last;
            }
            return Of(Status.AlreadyReleased);
        }

        IntPtr Range(long offset, int length)
        {
            Use();
            if (offset < 0 || length < 0 || offset > size - length)
            {
                throw new ArgumentOutOfRangeException(
                    null, $"{length} bytes at {offset} are not in a block of {size} bytes");
            }
            return new IntPtr(memory.ToInt64() + offset);
        }
    }
}
