using System;
using System.Linq;
using System.Text;
using HeapMaster;

/// <summary>A pool over an array: see README.md for how to run it.</summary>
static class Example
{
    static void Main()
    {
        var buffer = new byte[64 * 1024];
        using (var pool = new Pool())
        {
            pool.AddHeap(buffer);

            Block greeting = pool.Alloc(100);
            greeting.Write(0, Encoding.ASCII.GetBytes("hello"));
            Block zeros = pool.AllocZeroed(1000);
            Console.WriteLine($"read back: {Encoding.ASCII.GetString(greeting.Read(0, 5))}");
            bool found = Encoding.ASCII.GetString(buffer).Contains("hello");
            Console.WriteLine($"in the buffer: {(found ? "yes" : "no")}");
            Console.WriteLine($"sum of the zeroed bytes: {zeros.Read(0, 1000).Sum(octet => octet)}");

            zeros.Release();
            try
            {
                zeros.Release();
            }
            catch (HeapMasterException error)
            {
                Console.WriteLine($"second release: {error.StatusName}: {error.Message}");
            }

            Statistics statistics = pool.Statistics();
            Console.WriteLine($"heaps: {statistics.Heaps}");
            Console.WriteLine($"live blocks: {statistics.LiveBlocks}");
            Console.WriteLine($"allocations: {statistics.Allocations}");
            Console.WriteLine($"releases: {statistics.Releases}");
            Console.WriteLine($"misuses: {statistics.Misuses}");

            greeting.Resize(5000);
            Console.WriteLine($"after a resize to 5000: {Encoding.ASCII.GetString(greeting.Read(0, 5))}");
            pool.Check();
        }
    }
}
