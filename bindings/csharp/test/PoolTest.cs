using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;
using HeapMaster;

/// <summary>Each public method is a test, of a pool over an array of 64 KiB.</summary>
sealed class PoolTest
{
    const int KiB = 1024;

    readonly byte[] buffer = new byte[64 * KiB];
    readonly Pool pool = new Pool();

    static int Main(string[] arguments)
    {
        if (arguments.Contains("missing-library"))
        {
            new Pool().Dispose();
            return 0;
        }
        int failures = 0;
        const BindingFlags tests = BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly;
        foreach (MethodInfo test in typeof(PoolTest).GetMethods(tests))
        {
            try
            {
                var instance = new PoolTest();
                instance.pool.AddHeap(instance.buffer);
                test.Invoke(instance, null);
                if (!instance.pool.IsDisposed)
                    instance.pool.Check();
                instance.pool.Dispose();
                Console.WriteLine($"ok {test.Name}");
            }
            catch (Exception error)
            {
                Console.WriteLine($"FAILED {test.Name}: {error.InnerException ?? error}");
                ++failures;
            }
        }
        Console.WriteLine($"{typeof(PoolTest).GetMethods(tests).Length - failures} passed, {failures} failed");
        return failures == 0 ? 0 : 1;
    }

    static void IsTrue(bool claim)
    {
        if (!claim)
            throw new Exception("is not so");
    }

    static void AreEqual<T>(T expected, T actual)
    {
        if (!EqualityComparer<T>.Default.Equals(expected, actual))
            throw new Exception($"{actual} instead of {expected}");
    }

    static E Throws<E>(Action call) where E : Exception
    {
        try
        {
            call();
        }
        catch (E error)
        {
            return error;
        }
        throw new Exception($"throws no {typeof(E).Name}");
    }

    static HeapMasterException IsRefused(Status status, Action call)
    {
        var error = Throws<HeapMasterException>(call);
        AreEqual(status, error.Status);
        return error;
    }

    static byte[] Bytes(string text)
    {
        return Encoding.ASCII.GetBytes(text);
    }

    static string Text(byte[] bytes)
    {
        return Encoding.ASCII.GetString(bytes);
    }

    static string NameOf(int status)
    {
        return Marshal.PtrToStringAnsi(Library.C.hl_status_name((Status)status));
    }

    public void StatusesAreThoseOfTheLibrary()
    {
        int number = 0;
        for (; NameOf(number) != "HL_ERR_UNKNOWN"; ++number)
        {
            string words = Regex.Replace(((Status)number).ToString(), "(?<=[a-z])(?=[A-Z])", "_");
            AreEqual((number == 0 ? "HL_" : "HL_ERR_") + words.ToUpperInvariant(), NameOf(number));
            AreEqual(Marshal.PtrToStringAnsi(Library.C.hl_status_message((Status)number)),
                HeapMasterException.Of((Status)number).Message);
        }
        AreEqual(number, Enum.GetValues(typeof(Status)).Length);
    }

    public unsafe void StatisticsAreAsLargeAsTheLibrarys()
    {
        // The library fills in as much as it knows of a struct that is larger.
        byte[] memory = Enumerable.Repeat((byte)0xaa, 1024).ToArray();
        BitConverter.GetBytes((ulong)memory.Length).CopyTo(memory, 0);
        fixed (byte* start = memory)
            AreEqual(Status.Ok, Library.C.hl_pool_stats(pool.Open(), (Library.PoolStatistics*)start));
        AreEqual(sizeof(Library.PoolStatistics), Array.FindLastIndex(memory, octet => octet != 0xaa) + 1);
    }

    public void AWalkedBlockIsAsLargeAsTheLibrarys()
    {
        var sizes = new HashSet<ulong>();
        Library.Visit visit = (ref Library.BlockInfo block, IntPtr context) =>
        {
            sizes.Add((ulong)block.StructSize);
            return true;
        };
        AreEqual(Status.Ok, Library.C.hl_pool_walk(pool.Open(), visit, IntPtr.Zero));
        GC.KeepAlive(visit);
        AreEqual((ulong)Marshal.SizeOf<Library.BlockInfo>(), sizes.Single());
    }

    public void TheVersionIsTheLibrarys()
    {
        IsTrue(Regex.IsMatch(Pool.Version, @"^\d+\.\d+\.\d+$"));
    }

    public void ALibraryThatIsNotThereIsNamed()
    {
        string program = Assembly.GetExecutingAssembly().Location;
        var start = new ProcessStartInfo("mono", $"\"{program}\" missing-library")
        {
            UseShellExecute = false,
            RedirectStandardError = true,
        };
        start.EnvironmentVariables["HEAPMASTER_LIBRARY"] = "/nowhere/libheapmaster.so";
        using (Process process = Process.Start(start))
        {
            string output = process.StandardError.ReadToEnd();
            process.WaitForExit();
            IsTrue(process.ExitCode != 0);
            IsTrue(output.Contains("DllNotFoundException: can't load HeapMaster's library"));
            IsTrue(output.Contains("/nowhere/libheapmaster.so"));
        }
    }

    public void DataLieInTheBufferAndSurviveAResize()
    {
        Block block = pool.Alloc(11);
        block.Write(0, Bytes("hello "));
        block.Write(6, Bytes("world"));
        IsTrue(Text(buffer).Contains("hello world"));
        pool.Alloc(11);
        block.Resize(5000);
        AreEqual("hello world", Text(block.Read(0, 11)));
        AreEqual(5000, block.Size);
    }

    public void ZeroedBlocksAreZero()
    {
        using (Block dirty = pool.Alloc(3000))
            dirty.Write(0, Enumerable.Repeat((byte)0xff, 3000).ToArray());
        IsTrue(pool.AllocZeroed(3000).Read(0, 3000).All(octet => octet == 0));
    }

    public void AlignedBlocksAreAligned()
    {
        AreEqual(0, pool.AllocAligned(4096, 10).Address.ToInt64() % 4096);
        HeapMasterException error = IsRefused(Status.BadAlignment, () => pool.AllocAligned(48, 10));
        AreEqual("bad alignment: 48 is not a power of two", error.Message);
        AreEqual("HL_ERR_BAD_ALIGNMENT", error.StatusName);
    }

    public void ReadingAndWritingEndAtTheEndOfTheBlock()
    {
        Block block = pool.Alloc(10);
        var uses = new Action[]
        {
            () => block.Read(5, 6),
            () => block.Read(-1, 1),
            () => block.Read(0, -1),
            () => block.Read(long.MaxValue, 1),
            () => block.Write(0, new byte[11]),
            () => block.Write(10, new byte[1]),
        };
        foreach (Action use in uses)
            Throws<ArgumentOutOfRangeException>(use);
        Throws<ArgumentNullException>(() => block.Write(0, null));
    }

    public void UsableSizeHoldsWhatWasAskedFor()
    {
        IsTrue(pool.Alloc(1000).UsableSize >= 1000);
    }

    public void AddressesOfBlocksAreThePools()
    {
        IsTrue(pool.Owns(pool.Alloc(1).Address));
        IsTrue(!pool.Owns((IntPtr)16));
    }

    public void AByteBehindABlockIsFoundIfThePoolIsHardened()
    {
        foreach (bool hardened in new[] { false, true })
            using (var pool = new Pool(hardened))
            {
                var memory = new byte[64 * KiB];
                pool.AddHeap(memory);
                Block block = pool.Alloc(11);
                block.Write(0, Bytes("hello world"));
                memory[Text(memory).IndexOf("hello world", StringComparison.Ordinal) + 11] = (byte)'!';
                if (hardened)
                    IsTrue(IsRefused(Status.Overrun, block.Release).Message.StartsWith("overrun: byte 0 "));
                else
                    block.Release();
            }
    }

    public void ASecondReleaseIsRefusedInTheLibrarysWords()
    {
        Block block = pool.Alloc(100);
        block.Release();
        HeapMasterException error = IsRefused(Status.AlreadyReleased, block.Release);
        AreEqual("HL_ERR_ALREADY_RELEASED", error.StatusName);
        IsTrue(Regex.IsMatch(error.Message, "^already released: 0x[0-9a-f]+ "));
        AreEqual(1, pool.Statistics().Misuses);
    }

    public void ASecondReleaseSparesTheBlockThatLiesThereNow()
    {
        Block stale = pool.Alloc(100);
        IntPtr address = stale.Address;
        stale.Release();
        Block block = pool.Alloc(100);
        AreEqual(address, block.Address);
        IsTrue(IsRefused(Status.AlreadyReleased, stale.Release).Message.Contains("released already"));
        IsTrue(block.IsLive);
        AreEqual(1, pool.Statistics().LiveBlocks);
    }

    static Action[] UsesOf(Block block)
    {
        return new Action[]
        {
            () => _ = block.Address,
            () => _ = block.Size,
            () => _ = block.UsableSize,
            () => block.Read(0, 1),
            () => block.Write(0, new byte[1]),
            () => block.Resize(1),
            block.Release,
        };
    }

    public void ReleasedBlocksAreOfNoUse()
    {
        Block block = pool.Alloc(100);
        block.Release();
        block.Dispose();
        IsTrue(!block.IsLive);
        foreach (Action use in UsesOf(block))
            IsRefused(Status.AlreadyReleased, use);
    }

    public void ADisposedPoolRefusesEverythingButAnotherDispose()
    {
        Block block = pool.Alloc(100);
        pool.Dispose();
        pool.Dispose();
        block.Dispose();
        IsTrue(!block.IsLive);
        var calls = new Action[]
        {
            () => pool.Alloc(1),
            () => pool.AllocZeroed(1),
            () => pool.AllocAligned(16, 1),
            () => pool.Statistics(),
            pool.Check,
            () => pool.Walk(),
            () => pool.Owns((IntPtr)1),
            () => pool.SetLimit(1),
            () => pool.AddHeap(buffer),
            () => pool.AddSystemHeap(),
        };
        foreach (Action use in UsesOf(block).Concat(calls))
            Throws<ObjectDisposedException>(use);
    }

    public void ThreadsThatUseAPoolSeeItsEnd()
    {
        int seen = 0;
        Thread[] threads = Enumerable.Range(0, 4).Select(_ => new Thread(() =>
        {
            Throws<ObjectDisposedException>(() =>
            {
                while (true)
                    pool.Alloc(64).Release();
            });
            Interlocked.Increment(ref seen);
        })).ToArray();
        foreach (Thread thread in threads)
            thread.Start();
        pool.Dispose();
        foreach (Thread thread in threads)
            thread.Join();
        AreEqual(4, seen);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void Forget(byte[] memory)
    {
        new Pool().AddHeap(memory);
    }

    public void AForgottenPoolGivesItsBufferBack()
    {
        var memory = new byte[64 * KiB];
        // In another thread: the collector takes what lies on this one's stack for a pointer.
        var forgetful = new Thread(() => Forget(memory));
        forgetful.Start();
        forgetful.Join();
        while (true)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            try
            {
                pool.AddHeap(memory);
                return;
            }
            catch (HeapMasterException error)
            {
                AreEqual(Status.HeapOverlaps, error.Status);
            }
        }
    }

    public void BuffersLiveAndStayWhereTheyAreAsLongAsTheirPools()
    {
        for (int i = 0; i < 20; ++i)
        {
            var other = new Pool();
            other.AddHeap(new byte[64 * KiB]);
            Block block = other.Alloc(1000);
            GC.Collect();
            block.Write(0, Bytes("here"));
            AreEqual("here", Text(block.Read(0, 4)));
        }
    }

    public void AFullPoolAndALimitAreToldApart()
    {
        HeapMasterException error = IsRefused(Status.OutOfMemory, () => pool.Alloc(1 << 20));
        IsTrue(error.Message.Contains("room for 1048576 bytes"));
        pool.SetLimit(4096);
        IsRefused(Status.LimitReached, () => pool.Alloc(5000));
        pool.SetLimit(0);
        pool.Alloc(5000);
    }

    public void NegativeSizesAreRefusedByTheirNumber()
    {
        Block block = pool.Alloc(10);
        var calls = new Action[]
        {
            () => pool.Alloc(-7),
            () => pool.AllocZeroed(-7),
            () => pool.AllocAligned(8, -7),
            () => pool.AllocAligned(-7, 8),
            () => pool.AddSystemHeap(-7),
            () => pool.SetLimit(-7),
            () => block.Resize(-7),
        };
        foreach (Action call in calls)
        {
            HeapMasterException error = IsRefused(Status.SizeOverflow, call);
            AreEqual("size overflow: -7 is not a number of bytes", error.Message);
        }
        AreEqual(0, pool.Statistics().Limit);
    }

    public void ForgottenPoolsMakeRoomForASystemHeap()
    {
        for (int i = 0; i < 1000; ++i)
            new Pool().AddSystemHeap();
    }

    public void NoAbortOfAThreadPartsACallFromItsBooks()
    {
        var random = new Random(1);
        for (int i = 0; i < 5000; ++i)
        {
            Block block = pool.Alloc(100);
            var thread = new Thread(() =>
            {
                for (int use = 0; use < 20; ++use)
                    pool.Check();
                block.Release();
            });
            thread.Start();
            Thread.SpinWait(random.Next(3000));
            thread.Abort();
            thread.Join();
            AreEqual(block.IsLive ? 1 : 0, pool.Statistics().LiveBlocks);
            block.Dispose();
        }
    }

    public void PoolsAndBlocksHaveAText()
    {
        var pool = new Pool();
        AreEqual("HeapMaster pool", pool.ToString());
        pool.AddHeap(new byte[64 * KiB]);
        Block block = pool.Alloc(10);
        AreEqual($"HeapMaster block of 10 bytes at 0x{block.Address.ToInt64():x}", block.ToString());
        block.Release();
        AreEqual("HeapMaster block of 10 bytes (released)", block.ToString());
        pool.Dispose();
        AreEqual("HeapMaster pool (disposed of)", pool.ToString());
    }

    public void APoolOfTheSystemServesLargeBlocks()
    {
        pool.AddSystemHeap(64 << 20);
        Block block = pool.Alloc(8 << 20);
        block.Write((8 << 20) - 3, Bytes("end"));
        AreEqual("end", Text(block.Read((8 << 20) - 3, 3)));
    }

    public void WhatCanBeNoHeapIsRefused()
    {
        IsRefused(Status.HeapOverlaps, () => pool.AddHeap(buffer));
        IsRefused(Status.HeapTooSmall, () => pool.AddHeap(new byte[16]));
        Throws<ArgumentNullException>(() => pool.AddHeap(null));
    }

    public void EachStatisticCountsWhatItsNameSays()
    {
        pool.AddSystemHeap(1 << 20);
        Block[] blocks = new[] { 100, 1000, 2000, 3000, 4000, 5000 }.Select(size => pool.Alloc(size)).ToArray();
        blocks[0].Release();
        blocks[1].Release();
        for (int i = 0; i < 3; ++i)
            IsRefused(Status.AlreadyReleased, blocks[0].Release);
        IsRefused(Status.OutOfMemory, () => pool.Alloc(1 << 30));
        pool.SetLimit(1 << 19);

        Statistics now = pool.Statistics();
        AreEqual(2, now.Heaps);
        AreEqual(4, now.LiveBlocks);
        AreEqual(blocks.Skip(2).Sum(block => block.UsableSize), now.LiveBytes);
        AreEqual(6, now.Allocations);
        AreEqual(2, now.Releases);
        AreEqual(3, now.Misuses);
        AreEqual(1, now.Failures);
        AreEqual(1 << 19, now.Limit);
        AreEqual(now.CapacityBytes, now.UsedBytes + now.FreeBytes);
        IsTrue(now.PeakUsedBytes > now.UsedBytes && now.UsedBytes > 14000);
        IsTrue(now.FreeBytes > now.LargestFreeBlock && now.LargestFreeBlock > now.UsedBytes);
        IsTrue(now.MetadataBytes > 0 && now.MetadataBytes < now.CapacityBytes);
    }

    public void AWalkShowsLiveBlocksInTheOrderOfTheirAddresses()
    {
        Block[] blocks = new[] { 10, 200, 3000 }.Select(size => pool.Alloc(size)).ToArray();
        List<BlockInfo> walked = pool.Walk();
        IsTrue(walked.Where(block => block.Live).Select(block => block.Address.ToInt64())
            .SequenceEqual(blocks.Select(block => block.Address.ToInt64()).OrderBy(address => address)));
        AreEqual(pool.Statistics().CapacityBytes, walked.Sum(block => block.Size));
    }
}
