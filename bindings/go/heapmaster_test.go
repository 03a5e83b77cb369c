package heapmaster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const kib = 1024

func mapping(t *testing.T, size int) []byte {
	t.Helper()
	const access = syscall.PROT_READ | syscall.PROT_WRITE
	memory, err := syscall.Mmap(-1, 0, size, access, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	noError(t, err)
	return memory
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isError(t *testing.T, err, expected error) {
	t.Helper()
	if !errors.Is(err, expected) {
		t.Fatalf("%v instead of %v", err, expected)
	}
}

func isEqual[T comparable](t *testing.T, actual, expected T) {
	t.Helper()
	if actual != expected {
		t.Fatalf("%v instead of %v", actual, expected)
	}
}

func isTrue(t *testing.T, claim bool) {
	t.Helper()
	if !claim {
		t.Fatal("is not so")
	}
}

// newPool is a pool over 64 KiB, which is checked and closed at the end of the test.
func newPool(t *testing.T) (*Pool, []byte) {
	t.Helper()
	memory := mapping(t, 64*kib)
	pool, err := New()
	noError(t, err)
	noError(t, pool.AddHeap(memory))
	t.Cleanup(func() {
		if err := pool.Check(); !errors.Is(err, ErrClosed) {
			noError(t, err)
		}
		noError(t, pool.Close())
		noError(t, syscall.Munmap(memory))
	})
	return pool, memory
}

func alloc(t *testing.T, pool *Pool, size int) *Block {
	t.Helper()
	block, err := pool.Alloc(size)
	noError(t, err)
	return block
}

func address(t *testing.T, block *Block) uintptr {
	t.Helper()
	address, err := block.Address()
	noError(t, err)
	return address
}

func statistics(t *testing.T, pool *Pool) Statistics {
	t.Helper()
	statistics, err := pool.Statistics()
	noError(t, err)
	return statistics
}

func TestEachStatusHasItsError(t *testing.T) {
	ours := map[Status]string{
		0:                      "HL_OK",
		ErrInvalidArgument:     "HL_ERR_INVALID_ARGUMENT",
		ErrOutOfMemory:         "HL_ERR_OUT_OF_MEMORY",
		ErrLimitReached:        "HL_ERR_LIMIT_REACHED",
		ErrSizeOverflow:        "HL_ERR_SIZE_OVERFLOW",
		ErrBadAlignment:        "HL_ERR_BAD_ALIGNMENT",
		ErrHeapNull:            "HL_ERR_HEAP_NULL",
		ErrHeapTooSmall:        "HL_ERR_HEAP_TOO_SMALL",
		ErrHeapWraps:           "HL_ERR_HEAP_WRAPS",
		ErrHeapOverlaps:        "HL_ERR_HEAP_OVERLAPS",
		ErrHeapUnknown:         "HL_ERR_HEAP_UNKNOWN",
		ErrHeapInUse:           "HL_ERR_HEAP_IN_USE",
		ErrNotInPool:           "HL_ERR_NOT_IN_POOL",
		ErrInteriorPointer:     "HL_ERR_INTERIOR_POINTER",
		ErrAlreadyReleased:     "HL_ERR_ALREADY_RELEASED",
		ErrOtherPool:           "HL_ERR_OTHER_POOL",
		ErrSizeMismatch:        "HL_ERR_SIZE_MISMATCH",
		ErrCorrupted:           "HL_ERR_CORRUPTED",
		ErrSystem:              "HL_ERR_SYSTEM",
		ErrOverrun:             "HL_ERR_OVERRUN",
		ErrUnderrun:            "HL_ERR_UNDERRUN",
		ErrWrittenAfterRelease: "HL_ERR_WRITTEN_AFTER_RELEASE",
		ErrOriginMismatch:      "HL_ERR_ORIGIN_MISMATCH",
	}
	status := Status(0)
	for ; status.String() != "HL_ERR_UNKNOWN"; status++ {
		isEqual(t, ours[status], status.String())
		isTrue(t, status.Error() != Status(-1).Error())
	}
	isEqual(t, int(status), len(ours))
}

func TestVersionIsTheLibrarys(t *testing.T) {
	isTrue(t, regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(Version()))
}

func TestALibraryThatIsNotThereIsNamed(t *testing.T) {
	if os.Getenv("HEAPMASTER_LIBRARY") == "/nowhere/libheapmaster.so" {
		_, err := New()
		isTrue(t, strings.Contains(err.Error(), "HEAPMASTER_LIBRARY: /nowhere/libheapmaster.so"))
		isEqual(t, Version()+ErrSystem.String()+ErrSystem.Error(), "")
		return
	}
	again := exec.Command(os.Args[0], "-test.run", t.Name())
	again.Env = append(os.Environ(), "HEAPMASTER_LIBRARY=/nowhere/libheapmaster.so")
	output, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("%s", output)
	}
}

func TestDataLieInTheBufferAndSurviveAResize(t *testing.T) {
	pool, memory := newPool(t)
	block := alloc(t, pool, 11)
	_, err := block.WriteAt([]byte("world"), 6)
	noError(t, err)
	view, err := block.Bytes()
	noError(t, err)
	copy(view, "hello ")
	isTrue(t, bytes.Contains(memory, []byte("hello world")))
	alloc(t, pool, 11)
	noError(t, block.Resize(5000))
	read := make([]byte, 11)
	_, err = block.ReadAt(read, 0)
	noError(t, err)
	isEqual(t, string(read), "hello world")
	size, err := block.Size()
	noError(t, err)
	isEqual(t, size, 5000)
}

func TestZeroedBlocksAreZero(t *testing.T) {
	pool, _ := newPool(t)
	dirty := alloc(t, pool, 3000)
	_, err := dirty.WriteAt(bytes.Repeat([]byte{0xff}, 3000), 0)
	noError(t, err)
	noError(t, dirty.Release())
	block, err := pool.AllocZeroed(3000)
	noError(t, err)
	view, err := block.Bytes()
	noError(t, err)
	isTrue(t, bytes.Equal(view, make([]byte, 3000)))
}

func TestAlignedBlocksAreAligned(t *testing.T) {
	pool, _ := newPool(t)
	block, err := pool.AllocAligned(4096, 10)
	noError(t, err)
	isEqual(t, address(t, block)%4096, 0)
	_, err = pool.AllocAligned(48, 10)
	isError(t, err, ErrBadAlignment)
	isEqual(t, err.Error(), "bad alignment: 48 is not a power of two")
}

func TestReadingAndWritingEndAtTheEndOfTheBlock(t *testing.T) {
	pool, _ := newPool(t)
	block := alloc(t, pool, 10)
	for _, offset := range []int64{8, 11} {
		n, err := block.ReadAt(make([]byte, 4), offset)
		isError(t, err, io.EOF)
		isTrue(t, n == 2 || n == 0 && offset != 8)
		n, err = block.WriteAt(make([]byte, 4), offset)
		isError(t, err, io.ErrShortWrite)
		isTrue(t, n == 2 || n == 0 && offset != 8)
	}
}

func TestNegativeSizesAreRefused(t *testing.T) {
	pool, _ := newPool(t)
	block := alloc(t, pool, 10)
	_, allocError := pool.Alloc(-7)
	_, zeroedError := pool.AllocZeroed(-7)
	_, alignedError := pool.AllocAligned(8, -7)
	_, alignmentError := pool.AllocAligned(-7, 8)
	_, readError := block.ReadAt(nil, -7)
	_, writeError := block.WriteAt(nil, -7)
	for _, err := range []error{
		allocError, zeroedError, alignedError, alignmentError, readError, writeError,
		block.Resize(-7), pool.SetLimit(-7), pool.AddSystemHeap(-7),
	} {
		isError(t, err, ErrSizeOverflow)
		isEqual(t, err.Error(), "size overflow: -7 is not a number of bytes")
	}
	isEqual(t, statistics(t, pool).Limit, 0)
}

func TestUsableSizeHoldsWhatWasAskedFor(t *testing.T) {
	pool, _ := newPool(t)
	size, err := alloc(t, pool, 1000).UsableSize()
	noError(t, err)
	isTrue(t, size >= 1000)
}

func TestAddressesOfBlocksAreThePools(t *testing.T) {
	pool, _ := newPool(t)
	owns, err := pool.Owns(address(t, alloc(t, pool, 1)))
	noError(t, err)
	isTrue(t, owns)
	owns, err = pool.Owns(16)
	noError(t, err)
	isTrue(t, !owns)
}

func TestAByteBehindABlockIsFoundIfThePoolIsHardened(t *testing.T) {
	overwrite := func(pool *Pool, err error) error {
		noError(t, err)
		defer pool.Close()
		memory := mapping(t, 64*kib)
		noError(t, pool.AddHeap(memory))
		block := alloc(t, pool, 11)
		_, err = block.WriteAt([]byte("hello world"), 0)
		noError(t, err)
		memory[bytes.Index(memory, []byte("hello world"))+11] = '!'
		return block.Release()
	}
	noError(t, overwrite(New()))
	err := overwrite(NewHardened())
	isError(t, err, ErrOverrun)
	isTrue(t, strings.HasPrefix(err.Error(), "overrun: byte 0 "))
}

func TestASecondReleaseIsRefusedInTheLibrarysWords(t *testing.T) {
	pool, _ := newPool(t)
	block := alloc(t, pool, 100)
	noError(t, block.Release())
	err := block.Release()
	isError(t, err, ErrAlreadyReleased)
	isTrue(t, strings.HasPrefix(err.Error(), "already released: 0x"))
	isEqual(t, statistics(t, pool).Misuses, 1)
}

func TestASecondReleaseSparesTheBlockThatLiesThereNow(t *testing.T) {
	pool, _ := newPool(t)
	stale := alloc(t, pool, 100)
	there := address(t, stale)
	noError(t, stale.Release())
	isEqual(t, address(t, alloc(t, pool, 100)), there)
	err := stale.Release()
	isError(t, err, ErrAlreadyReleased)
	isEqual(t, err.Error(), ErrAlreadyReleased.Error())
	isEqual(t, statistics(t, pool).LiveBlocks, 1)
}

func TestACopyIsTheSameBlock(t *testing.T) {
	pool, _ := newPool(t)
	block := alloc(t, pool, 100)
	copied := *block
	noError(t, copied.Resize(5000))
	size, err := block.Size()
	noError(t, err)
	isEqual(t, size, 5000)
	noError(t, copied.Release())
	isError(t, block.Release(), ErrAlreadyReleased)
}

// uses are all that can be done with a block.
func uses(block *Block) []error {
	_, bytesError := block.Bytes()
	_, addressError := block.Address()
	_, sizeError := block.Size()
	_, usableError := block.UsableSize()
	_, readError := block.ReadAt(make([]byte, 1), 0)
	_, writeError := block.WriteAt(make([]byte, 1), 0)
	return []error{
		bytesError, addressError, sizeError, usableError, readError, writeError,
		block.Resize(1), block.Release(),
	}
}

func TestReleasedBlocksAreOfNoUse(t *testing.T) {
	pool, _ := newPool(t)
	block := alloc(t, pool, 100)
	noError(t, block.Release())
	for _, err := range uses(block) {
		isError(t, err, ErrAlreadyReleased)
	}
}

func TestABlockOfNoPoolIsOfNoUse(t *testing.T) {
	for _, err := range uses(new(Block)) {
		isError(t, err, ErrNotInPool)
	}
}

func TestAClosedPoolRefusesEverythingButAnotherClose(t *testing.T) {
	pool, memory := newPool(t)
	block := alloc(t, pool, 100)
	noError(t, pool.Close())
	noError(t, pool.Close())
	_, allocError := pool.Alloc(1)
	_, statisticsError := pool.Statistics()
	_, walkError := pool.Walk()
	_, ownsError := pool.Owns(1)
	errs := append(uses(block), allocError, statisticsError, walkError, ownsError,
		pool.Check(), pool.SetLimit(1), pool.AddHeap(memory), pool.AddSystemHeap(0))
	for _, err := range errs {
		isError(t, err, ErrClosed)
	}
}

func TestGoroutinesThatUseAPoolSeeItClose(t *testing.T) {
	pool, _ := newPool(t)
	var workers sync.WaitGroup
	for i := 0; i < 4; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				block, err := pool.Alloc(64)
				if err == nil {
					err = block.Release()
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	noError(t, pool.Close())
	workers.Wait()
}

func TestAFullPoolAndALimitAreToldApart(t *testing.T) {
	pool, _ := newPool(t)
	_, err := pool.Alloc(1 << 20)
	isError(t, err, ErrOutOfMemory)
	isTrue(t, strings.Contains(err.Error(), "room for 1048576 bytes"))
	_, err = pool.Alloc(-1)
	isError(t, err, ErrSizeOverflow)
	noError(t, pool.SetLimit(4096))
	_, err = pool.Alloc(5000)
	isError(t, err, ErrLimitReached)
	noError(t, pool.SetLimit(0))
	alloc(t, pool, 5000)
}

func TestAPoolOfTheSystemServesLargeBlocks(t *testing.T) {
	pool, _ := newPool(t)
	noError(t, pool.AddSystemHeap(64<<20))
	_, err := alloc(t, pool, 8<<20).WriteAt([]byte("end"), 8<<20-3)
	noError(t, err)
}

func TestWhatCanBeNoHeapIsRefused(t *testing.T) {
	pool, memory := newPool(t)
	isError(t, pool.AddHeap(memory), ErrHeapOverlaps)
	isError(t, pool.AddHeap(mapping(t, 16)), ErrHeapTooSmall)
	isError(t, pool.AddHeap(nil), ErrHeapNull)
}

func TestEachStatisticCountsWhatItsNameSays(t *testing.T) {
	pool, _ := newPool(t)
	noError(t, pool.AddSystemHeap(1<<20))
	var blocks []*Block
	live := 0
	for _, size := range []int{100, 1000, 2000, 3000, 4000, 5000} {
		block := alloc(t, pool, size)
		blocks = append(blocks, block)
		usable, err := block.UsableSize()
		noError(t, err)
		if size >= 2000 {
			live += usable
		}
	}
	noError(t, blocks[0].Release())
	noError(t, blocks[1].Release())
	for i := 0; i < 3; i++ {
		isError(t, blocks[0].Release(), ErrAlreadyReleased)
	}
	_, err := pool.Alloc(1 << 30)
	isError(t, err, ErrOutOfMemory)
	noError(t, pool.SetLimit(1<<19))

	now := statistics(t, pool)
	isEqual(t, now.Heaps, 2)
	isEqual(t, now.LiveBlocks, 4)
	isEqual(t, now.LiveBytes, live)
	isEqual(t, now.Allocations, 6)
	isEqual(t, now.Releases, 2)
	isEqual(t, now.Misuses, 3)
	isEqual(t, now.Failures, 1)
	isEqual(t, now.Limit, 1<<19)
	isEqual(t, now.CapacityBytes, now.UsedBytes+now.FreeBytes)
	isTrue(t, now.PeakUsedBytes > now.UsedBytes && now.UsedBytes > 14000)
	isTrue(t, now.FreeBytes > now.LargestFreeBlock && now.LargestFreeBlock > now.UsedBytes)
	isTrue(t, now.MetadataBytes > 0 && now.MetadataBytes < now.CapacityBytes)
}

func TestAWalkShowsLiveBlocksInTheOrderOfTheirAddresses(t *testing.T) {
	pool, _ := newPool(t)
	var expected []uintptr
	for _, size := range []int{10, 200, 3000} {
		expected = append(expected, address(t, alloc(t, pool, size)))
	}
	sort.Slice(expected, func(i, j int) bool { return expected[i] < expected[j] })
	walked, err := pool.Walk()
	noError(t, err)
	total := 0
	for _, block := range walked {
		total += block.Size
		if block.Live {
			isEqual(t, block.Address, expected[0])
			expected = expected[1:]
		}
	}
	isEqual(t, len(expected), 0)
	isEqual(t, total, statistics(t, pool).CapacityBytes)
}
