using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace HeapMaster
{
    /// <summary>A pool of the library and the arrays that are its heaps, until no call uses it any more.</summary>
    sealed class PoolHandle : SafeHandle
    {
        readonly List<GCHandle> buffers = new List<GCHandle>();

        internal unsafe PoolHandle(uint flags) : base(IntPtr.Zero, ownsHandle: true)
        {
            var config = new Library.Config { StructSize = (UIntPtr)sizeof(Library.Config), Flags = flags };
            Library.Unbroken(
                () => SetHandle(HeapMasterException.UnlessNull(Library.C.hl_pool_new_with(ref config))));
        }

        public override bool IsInvalid => handle == IntPtr.Zero;

        internal void AddHeap(byte[] buffer)
        {
            GCHandle pinned = GCHandle.Alloc(buffer, GCHandleType.Pinned);
            Status status = Library.C.hl_add_heap(this, pinned.AddrOfPinnedObject(), (UIntPtr)buffer.Length);
            if (status != Status.Ok)
            {
                pinned.Free();
                throw HeapMasterException.Last();
            }
            buffers.Add(pinned);
        }

        protected override bool ReleaseHandle()
        {
            bool deleted = Library.C.hl_pool_delete(handle) == Status.Ok;
            foreach (GCHandle buffer in buffers)
                buffer.Free();
            return deleted;
        }
    }
}
