package heapmaster;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import com.sun.jna.Memory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.After;
import org.junit.Before;
import org.junit.Test;
import org.junit.function.ThrowingRunnable;

public final class PoolTest {
    private static final int KIB = 1024;

    private final ByteBuffer buffer = ByteBuffer.allocateDirect(64 * KIB);
    private Pool pool;

    @Before
    public void open() {
        pool = new Pool();
        pool.addHeap(buffer);
    }

    @After
    public void close() {
        if (!pool.isClosed()) {
            pool.check();
        }
        pool.close();
    }

    private static HeapMasterException assertRefused(Status status, ThrowingRunnable call) {
        HeapMasterException error = assertThrows(HeapMasterException.class, call);
        assertEquals(status, error.status());
        assertEquals("HL_ERR_" + status, error.statusName());
        return error;
    }

    private static String textIn(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.capacity()];
        buffer.duplicate().get(bytes);
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    @Test
    public void statusesAreThoseOfTheLibrary() {
        String unknown = Library.hl_status_message(-1);
        for (Status status : Status.values()) {
            String prefix = status == Status.OK ? "HL_" : "HL_ERR_";
            assertEquals(prefix + status, Library.hl_status_name(status.ordinal()));
            boolean known = !Library.hl_status_message(status.ordinal()).equals(unknown);
            assertEquals(status != Status.UNKNOWN, known);
            assertEquals(status, Status.of(status.ordinal()));
        }
        assertEquals(Status.UNKNOWN, Status.of(-1));
    }

    @Test
    public void statisticsAreAsLargeAsTheLibrarys() {
        // The library fills in as much as it knows of a struct that is larger.
        Memory memory = new Memory(1024);
        memory.setMemory(0, memory.size(), (byte) 0xaa);
        memory.setLong(0, memory.size());
        assertEquals(0, Library.hl_pool_stats(pool.open(), memory));
        long size = memory.size();
        while (memory.getByte(size - 1) == (byte) 0xaa) {
            --size;
        }
        assertEquals(new Library.PoolStatistics().size(), size);
    }

    @Test
    public void aWalkedBlockIsAsLargeAsTheLibrarys() {
        Set<Long> theirs = new HashSet<>();
        Set<Long> ours = new HashSet<>();
        Library.Visit visit = (pointer, context) -> {
            Library.BlockInfo block = new Library.BlockInfo(pointer);
            theirs.add(block.struct_size);
            ours.add((long) block.size());
            return 1;
        };
        assertEquals(0, Library.hl_pool_walk(pool.open(), visit, null));
        assertEquals(1, ours.size());
        assertEquals(ours, theirs);
    }

    @Test
    public void theVersionIsTheLibrarys() {
        assertTrue(Pool.version().matches("\\d+\\.\\d+\\.\\d+"));
    }

    @Test
    public void aLibraryThatIsNotThereIsNamed() throws Exception {
        String java = System.getProperty("java.home") + "/bin/java";
        String main = MissingLibrary.class.getName();
        ProcessBuilder builder =
                new ProcessBuilder(java, "-cp", System.getProperty("java.class.path"), main);
        builder.environment().put("HEAPMASTER_LIBRARY", "/nowhere/libheapmaster.so");
        Process process = builder.redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes());
        assertNotEquals(0, process.waitFor());
        assertTrue(output, output.contains("UnsatisfiedLinkError: can't load HeapMaster's library"));
        assertTrue(output, output.contains("/nowhere/libheapmaster.so"));
    }

    static final class MissingLibrary {
        public static void main(String[] arguments) {
            new Pool().close();
        }
    }

    @Test
    public void dataLieInTheBufferAndSurviveAResize() {
        Block block = pool.alloc(11);
        block.write(0, "hello ".getBytes());
        block.write(6, "world".getBytes());
        assertTrue(textIn(buffer).contains("hello world"));
        pool.alloc(11);
        block.resize(5000);
        assertEquals("hello world", new String(block.read(0, 11)));
        assertEquals(5000, block.size());
    }

    @Test
    public void zeroedBlocksAreZero() {
        try (Block dirty = pool.alloc(3000)) {
            byte[] ones = new byte[3000];
            Arrays.fill(ones, (byte) 0xff);
            dirty.write(0, ones);
        }
        assertArrayEquals(new byte[3000], pool.allocZeroed(3000).read(0, 3000));
    }

    @Test
    public void alignedBlocksAreAligned() {
        assertEquals(0, pool.allocAligned(4096, 10).address() % 4096);
        HeapMasterException error = assertRefused(Status.BAD_ALIGNMENT, () -> pool.allocAligned(48, 10));
        assertEquals("bad alignment: 48 is not a power of two", error.getMessage());
    }

    @Test
    public void readingAndWritingEndAtTheEndOfTheBlock() {
        Block block = pool.alloc(10);
        Stream.<ThrowingRunnable>of(
                        () -> block.read(5, 6),
                        () -> block.read(-1, 1),
                        () -> block.read(0, -1),
                        () -> block.read(Long.MAX_VALUE, 1),
                        () -> block.write(0, new byte[11]),
                        () -> block.write(10, new byte[1]))
                .forEach(use -> assertThrows(IndexOutOfBoundsException.class, use));
    }

    @Test
    public void usableSizeHoldsWhatWasAskedFor() {
        assertTrue(pool.alloc(1000).usableSize() >= 1000);
    }

    @Test
    public void addressesOfBlocksAreThePools() {
        assertTrue(pool.owns(pool.alloc(1).address()));
        assertFalse(pool.owns(16));
    }

    /** Writes the byte behind a block, and closes the pool after its release. */
    private static void overrun(Pool pool) {
        try (pool) {
            ByteBuffer memory = ByteBuffer.allocateDirect(64 * KIB);
            pool.addHeap(memory);
            Block block = pool.alloc(11);
            block.write(0, "hello world".getBytes());
            memory.put(textIn(memory).indexOf("hello world") + 11, (byte) '!');
            block.release();
        }
    }

    @Test
    public void aByteBehindABlockIsFoundIfThePoolIsHardened() {
        overrun(new Pool());
        HeapMasterException error = assertRefused(Status.OVERRUN, () -> overrun(Pool.hardened()));
        assertTrue(error.getMessage(), error.getMessage().startsWith("overrun: byte 0 "));
    }

    @Test
    public void aSecondReleaseIsRefusedInTheLibrarysWords() {
        Block block = pool.alloc(100);
        block.release();
        HeapMasterException error = assertRefused(Status.ALREADY_RELEASED, block::release);
        assertTrue(error.getMessage(), error.getMessage().matches("already released: 0x[0-9a-f]+ .*"));
        assertEquals(1, pool.statistics().misuses());
    }

    @Test
    public void aSecondReleaseSparesTheBlockThatLiesThereNow() {
        Block stale = pool.alloc(100);
        long address = stale.address();
        stale.release();
        Block block = pool.alloc(100);
        assertEquals(address, block.address());
        HeapMasterException error = assertRefused(Status.ALREADY_RELEASED, stale::release);
        assertTrue(error.getMessage(), error.getMessage().contains("released already"));
        assertTrue(block.isLive());
        assertEquals(1, pool.statistics().liveBlocks());
    }

    private static Stream<ThrowingRunnable> uses(Block block) {
        return Stream.of(
                block::address,
                block::size,
                block::usableSize,
                () -> block.read(0, 1),
                () -> block.write(0, new byte[1]),
                () -> block.resize(1),
                block::release);
    }

    @Test
    public void releasedBlocksAreOfNoUse() {
        Block block = pool.alloc(100);
        block.release();
        block.close();
        assertFalse(block.isLive());
        uses(block).forEach(use -> assertRefused(Status.ALREADY_RELEASED, use));
    }

    @Test
    public void aClosedPoolRefusesEverythingButAnotherClose() {
        Block block = pool.alloc(100);
        pool.close();
        pool.close();
        block.close();
        assertFalse(block.isLive());
        Stream<ThrowingRunnable> calls = Stream.of(
                () -> pool.alloc(1),
                pool::statistics,
                pool::check,
                pool::walk,
                () -> pool.owns(1),
                () -> pool.setLimit(1),
                () -> pool.addHeap(buffer),
                () -> pool.addSystemHeap(0));
        Stream.concat(uses(block), calls).forEach(use -> {
            IllegalStateException error = assertThrows(IllegalStateException.class, use);
            assertEquals("the pool is closed", error.getMessage());
        });
    }

    @Test
    public void threadsThatUseAPoolSeeItClose() throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        List<Throwable> seen = new ArrayList<>();
        for (int i = 0; i < 4; ++i) {
            Thread thread = new Thread(() -> {
                while (true) {
                    pool.alloc(64).release();
                }
            });
            thread.setUncaughtExceptionHandler((stopped, error) -> {
                synchronized (seen) {
                    seen.add(error);
                }
            });
            threads.add(thread);
            thread.start();
        }
        pool.close();
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(4, seen.size());
        seen.forEach(error -> assertEquals(IllegalStateException.class, error.getClass()));
    }

    @Test
    public void aForgottenPoolGivesItsBufferBack() throws InterruptedException {
        ByteBuffer memory = ByteBuffer.allocateDirect(64 * KIB);
        new Pool().addHeap(memory);
        while (true) {
            System.gc();
            try {
                pool.addHeap(memory);
                return;
            } catch (HeapMasterException error) {
                assertEquals(Status.HEAP_OVERLAPS, error.status());
                Thread.sleep(10);
            }
        }
    }

    @Test
    public void buffersLiveAsLongAsTheirPools() {
        for (int i = 0; i < 20; ++i) {
            Pool other = new Pool();
            other.addHeap(ByteBuffer.allocateDirect(64 * KIB));
            Block block = other.alloc(1000);
            System.gc();
            block.write(0, "here".getBytes());
            assertEquals("here", new String(block.read(0, 4)));
        }
    }

    @Test
    public void aFullPoolAndALimitAreToldApart() {
        HeapMasterException error = assertRefused(Status.OUT_OF_MEMORY, () -> pool.alloc(1 << 20));
        assertTrue(error.getMessage(), error.getMessage().contains("room for 1048576 bytes"));
        pool.setLimit(4096);
        assertRefused(Status.LIMIT_REACHED, () -> pool.alloc(5000));
        pool.setLimit(0);
        pool.alloc(5000);
    }

    @Test
    public void negativeSizesAreRefusedByTheirNumber() {
        Block block = pool.alloc(10);
        Stream.<ThrowingRunnable>of(
                        () -> pool.alloc(-7),
                        () -> pool.allocZeroed(-7),
                        () -> pool.allocAligned(8, -7),
                        () -> pool.allocAligned(-7, 8),
                        () -> pool.addSystemHeap(-7),
                        () -> pool.setLimit(-7),
                        () -> block.resize(-7))
                .forEach(call -> {
                    HeapMasterException error = assertRefused(Status.SIZE_OVERFLOW, call);
                    assertEquals("size overflow: -7 is not a number of bytes", error.getMessage());
                });
        assertEquals(0, pool.statistics().limit());
    }

    @Test
    public void forgottenPoolsMakeRoomForASystemHeap() {
        for (int i = 0; i < 1000; ++i) {
            new Pool().addSystemHeap(0);
        }
    }

    @Test
    public void aPoolOfTheSystemServesLargeBlocks() {
        pool.addSystemHeap(64 << 20);
        Block block = pool.alloc(8 << 20);
        block.write((8 << 20) - 3, "end".getBytes());
        assertEquals("end", new String(block.read((8 << 20) - 3, 3)));
    }

    @Test
    public void whatCanBeNoHeapIsRefused() {
        assertRefused(Status.HEAP_OVERLAPS, () -> pool.addHeap(buffer));
        assertRefused(Status.HEAP_TOO_SMALL, () -> pool.addHeap(ByteBuffer.allocateDirect(16)));
        assertThrows(IllegalArgumentException.class, () -> pool.addHeap(ByteBuffer.allocate(64 * KIB)));
        ByteBuffer readOnly = ByteBuffer.allocateDirect(64 * KIB).asReadOnlyBuffer();
        assertThrows(IllegalArgumentException.class, () -> pool.addHeap(readOnly));
    }

    @Test
    public void eachStatisticCountsWhatItsNameSays() {
        pool.addSystemHeap(1 << 20);
        List<Block> blocks = Stream.of(100L, 1000L, 2000L, 3000L, 4000L, 5000L).map(pool::alloc).toList();
        blocks.subList(0, 2).forEach(Block::release);
        for (int i = 0; i < 3; ++i) {
            assertRefused(Status.ALREADY_RELEASED, blocks.get(0)::release);
        }
        assertRefused(Status.OUT_OF_MEMORY, () -> pool.alloc(1 << 30));
        pool.setLimit(1 << 19);

        Statistics now = pool.statistics();
        assertEquals(2, now.heaps());
        assertEquals(4, now.liveBlocks());
        assertEquals(blocks.stream().skip(2).mapToLong(Block::usableSize).sum(), now.liveBytes());
        assertEquals(6, now.allocations());
        assertEquals(2, now.releases());
        assertEquals(3, now.misuses());
        assertEquals(1, now.failures());
        assertEquals(1 << 19, now.limit());
        assertEquals(now.capacityBytes(), now.usedBytes() + now.freeBytes());
        assertTrue(now.peakUsedBytes() > now.usedBytes() && now.usedBytes() > 14000);
        assertTrue(now.freeBytes() > now.largestFreeBlock() && now.largestFreeBlock() > now.usedBytes());
        assertTrue(now.metadataBytes() > 0 && now.metadataBytes() < now.capacityBytes());
    }

    @Test
    public void aWalkShowsLiveBlocksInTheOrderOfTheirAddresses() {
        List<Long> expected = Stream.of(10, 200, 3000).map(size -> pool.alloc(size).address()).sorted().toList();
        List<BlockInfo> walked = pool.walk();
        assertEquals(expected, walked.stream().filter(BlockInfo::live).map(BlockInfo::address).toList());
        assertEquals(pool.statistics().capacityBytes(), walked.stream().mapToLong(BlockInfo::size).sum());
    }

    @Test
    public void whatAVisitorThrowsIsNotLost() {
        OutOfMemoryError error = new OutOfMemoryError();
        assertSame(error, assertThrows(OutOfMemoryError.class, () -> pool.walk(block -> {
            throw error;
        })));
    }

    @Test
    public void poolsAndBlocksHaveAText() {
        Pool pool = new Pool();
        assertEquals("HeapMaster pool", pool.toString());
        pool.addHeap(ByteBuffer.allocateDirect(64 * KIB));
        Block block = pool.alloc(10);
        String address = Long.toHexString(block.address());
        assertEquals("HeapMaster block of 10 bytes at 0x" + address, block.toString());
        block.release();
        assertEquals("HeapMaster block of 10 bytes (released)", block.toString());
        pool.close();
        assertEquals("HeapMaster pool (closed)", pool.toString());
    }
}
