using System;
using System.Reflection;
using System.Runtime.InteropServices;

namespace HeapMaster
{
    /// <summary>
    /// The C ABI. Its functions are fields, because attributes can't name the library that the environment variable
    /// HEAPMASTER_LIBRARY does.
    /// </summary>
    sealed class Library
    {
        [StructLayout(LayoutKind.Sequential)]
        internal struct Config
        {
            public const uint Hardened = 2;

            public UIntPtr StructSize;
            public uint Flags;
            public UIntPtr Limit;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct PoolStatistics
        {
            public UIntPtr StructSize;
            public UIntPtr Heaps;
            public UIntPtr CapacityBytes;
            public UIntPtr MetadataBytes;
            public UIntPtr UsedBytes;
            public UIntPtr PeakUsedBytes;
            public UIntPtr FreeBytes;
            public UIntPtr LargestFreeBlock;
            public UIntPtr LiveBlocks;
            public UIntPtr LiveBytes;
            public ulong Allocations;
            public ulong Releases;
            public ulong Failures;
            public ulong Misuses;
            public UIntPtr Limit;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct BlockInfo
        {
            public const int Live = 1;

            public UIntPtr StructSize;
            public IntPtr Address;
            public UIntPtr Size;
            public int State;
        }

        internal delegate IntPtr PointerOfNothing();
        internal delegate IntPtr TextOfStatus(Status status);
        internal delegate Status StatusOfNothing();
        internal delegate IntPtr PoolNewWith(ref Config config);
        internal delegate Status PoolDelete(IntPtr pool);
        internal unsafe delegate Status PoolStats(PoolHandle pool, PoolStatistics* statistics);
        internal delegate Status PoolCheck(PoolHandle pool);
        internal delegate Status PoolWalk(PoolHandle pool, Visit visit, IntPtr context);
        internal delegate Status StatusOfSize(PoolHandle pool, UIntPtr size);
        internal delegate Status AddHeap(PoolHandle pool, IntPtr memory, UIntPtr size);
        internal delegate IntPtr Alloc(PoolHandle pool, UIntPtr size);
        internal delegate IntPtr AllocByTwo(PoolHandle pool, UIntPtr countOrAlignment, UIntPtr size);
        internal delegate IntPtr Resize(PoolHandle pool, IntPtr block, UIntPtr size);
        internal delegate Status Release(PoolHandle pool, IntPtr block);
        internal delegate UIntPtr UsableSize(PoolHandle pool, IntPtr block);
        [return: MarshalAs(UnmanagedType.I1)]
        internal delegate bool Owns(PoolHandle pool, IntPtr address);
        [return: MarshalAs(UnmanagedType.I1)]
        internal delegate bool Visit(ref BlockInfo block, IntPtr context);

#pragma warning disable 649 // The constructor assigns them by their names.
        internal readonly PointerOfNothing hl_version;
        internal readonly TextOfStatus hl_status_name;
        internal readonly TextOfStatus hl_status_message;
        internal readonly StatusOfNothing hl_last_error;
        internal readonly PointerOfNothing hl_last_error_message;

        internal readonly PoolNewWith hl_pool_new_with;
        internal readonly PoolDelete hl_pool_delete;
        internal readonly StatusOfSize hl_pool_set_limit;
        internal readonly PoolStats hl_pool_stats;
        internal readonly PoolCheck hl_pool_check;
        internal readonly PoolWalk hl_pool_walk;

        internal readonly AddHeap hl_add_heap;
        internal readonly StatusOfSize hl_add_system_heap;

        internal readonly Alloc hl_alloc;
        internal readonly AllocByTwo hl_alloc_zeroed;
        internal readonly AllocByTwo hl_alloc_aligned;
        internal readonly Resize hl_resize;
        internal readonly Release hl_release;
        internal readonly UsableSize hl_usable_size;
        internal readonly Owns hl_owns;
#pragma warning restore 649

        static readonly Lazy<Library> loaded = new Lazy<Library>(() => new Library());

        /// <summary>The library; throws DllNotFoundException.</summary>
        internal static Library C => loaded.Value;

        /// <summary>Does something that Thread.Abort does not break off, such as a call and to book it.</summary>
        internal static void Unbroken(Action action)
        {
            try
            {
            }
            finally
            {
                action();
            }
        }

        Library()
        {
            const int RtldNow = 2;
            string path = Environment.GetEnvironmentVariable("HEAPMASTER_LIBRARY");
            IntPtr library = dlopen(string.IsNullOrEmpty(path) ? "libheapmaster.so.0" : path, RtldNow);
            if (library == IntPtr.Zero)
            {
                string reason = Marshal.PtrToStringAnsi(dlerror());
                throw new DllNotFoundException($"can't load HeapMaster's library, see HEAPMASTER_LIBRARY: {reason}");
            }
            foreach (FieldInfo field in GetType().GetFields(BindingFlags.Instance | BindingFlags.NonPublic))
            {
                IntPtr function = dlsym(library, field.Name);
                if (function == IntPtr.Zero)
                    throw new EntryPointNotFoundException($"HeapMaster's library has no {field.Name}");
                field.SetValue(this, Marshal.GetDelegateForFunctionPointer(function, field.FieldType));
            }
        }

        [DllImport("libdl.so.2")] static extern IntPtr dlopen(string path, int flags);
        [DllImport("libdl.so.2")] static extern IntPtr dlsym(IntPtr library, string name);
        [DllImport("libdl.so.2")] static extern IntPtr dlerror();
    }
}
