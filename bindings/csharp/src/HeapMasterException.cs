using System;
using System.Runtime.InteropServices;

namespace HeapMaster
{
    /// <summary>A call that the library refused.</summary>
    public sealed class HeapMasterException : Exception
    {
        HeapMasterException(Status status, string message) : base(message)
        {
            Status = status;
        }

        /// <summary>Why it was refused.</summary>
        public Status Status { get; }

        /// <summary>The status's name, such as "HL_ERR_OUT_OF_MEMORY".</summary>
        public string StatusName => Marshal.PtrToStringAnsi(Library.C.hl_status_name(Status));

        /// <summary>The exception for a status, with what the library says of it in general.</summary>
        internal static HeapMasterException Of(Status status)
        {
            return new HeapMasterException(status, Marshal.PtrToStringAnsi(Library.C.hl_status_message(status)));
        }

        /// <summary>The exception for a size that C would take for a large one.</summary>
        internal static HeapMasterException Negative(long size)
        {
            return new HeapMasterException(
                Status.SizeOverflow, $"size overflow: {size} is not a number of bytes");
        }

        /// <summary>Why the last call of this thread failed.</summary>
        internal static HeapMasterException Last()
        {
            string message = Marshal.PtrToStringAnsi(Library.C.hl_last_error_message());
            return new HeapMasterException(Library.C.hl_last_error(), message);
        }

        internal static void UnlessOk(Status status)
        {
            if (status != Status.Ok)
                throw Last();
        }

        internal static IntPtr UnlessNull(IntPtr pointer)
        {
            return pointer != IntPtr.Zero ? pointer : throw Last();
        }
    }
}
