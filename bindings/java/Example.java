import heapmaster.Block;
import heapmaster.HeapMasterException;
import heapmaster.Pool;
import heapmaster.Statistics;
import java.nio.ByteBuffer;
import java.util.stream.IntStream;

/** A pool over a direct buffer: see README.md for how to run it. */
final class Example {
    public static void main(String[] arguments) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(64 * 1024);
        try (Pool pool = new Pool()) {
            pool.addHeap(buffer);

            Block greeting = pool.alloc(100);
            greeting.write(0, "hello".getBytes());
            Block zeros = pool.allocZeroed(1000);
            System.out.println("read back: " + new String(greeting.read(0, 5)));
            byte[] bytes = new byte[buffer.capacity()];
            buffer.get(bytes);
            System.out.println("in the buffer: " + (new String(bytes).contains("hello") ? "yes" : "no"));
            byte[] zeroed = zeros.read(0, 1000);
            int sum = IntStream.range(0, zeroed.length).map(i -> zeroed[i]).sum();
            System.out.println("sum of the zeroed bytes: " + sum);

            zeros.release();
            try {
                zeros.release();
            } catch (HeapMasterException error) {
                System.out.println("second release: " + error.statusName() + ": " + error.getMessage());
            }

            Statistics statistics = pool.statistics();
            System.out.println("heaps: " + statistics.heaps());
            System.out.println("live blocks: " + statistics.liveBlocks());
            System.out.println("allocations: " + statistics.allocations());
            System.out.println("releases: " + statistics.releases());
            System.out.println("misuses: " + statistics.misuses());

            greeting.resize(5000);
            System.out.println("after a resize to 5000: " + new String(greeting.read(0, 5)));
            pool.check();
        }
    }
}
