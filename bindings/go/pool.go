package heapmaster

// #include "library.h"
import "C"

import (
	"fmt"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// A Pool is a set of heaps, out of which blocks are allocated. Any goroutine may use it. Its methods return
// ErrClosed once it is closed, and an *Error for what the library refuses.
type Pool struct {
	// Guards all that follows, also what blocks know: a pool is closed when no call is inside.
	mutex  sync.Mutex
	handle *C.hl_pool
	// Apart, for a struct that C sees may not lie beside Go's pointers.
	failure *C.failure
	buffers [][]byte
}

// Statistics is what a pool has, and has done. Sizes are in bytes.
type Statistics struct {
	Heaps            int
	CapacityBytes    int
	MetadataBytes    int
	UsedBytes        int
	PeakUsedBytes    int
	FreeBytes        int
	LargestFreeBlock int
	LiveBlocks       int
	LiveBytes        int
	Allocations      uint64
	Releases         uint64
	Failures         uint64
	Misuses          uint64
	Limit            int
}

// BlockInfo is a block as Pool.Walk shows it.
type BlockInfo struct {
	Address uintptr
	Size    int
	Live    bool
}

// The pools that are not closed: the library uses their buffers even if the program has forgotten them.
var open sync.Map

// New makes a pool without heaps. What is allocated from it lives until it is released or the pool closed.
func New() (*Pool, error) { return newWith(0) }

// NewHardened makes a pool without heaps that finds what was written beside a block, or after its release. It takes
// more memory and time for that.
func NewHardened() (*Pool, error) { return newWith(C.HL_POOL_HARDENED) }

func newWith(flags C.uint32_t) (*Pool, error) {
	if errLoad != nil {
		return nil, errLoad
	}
	pool := &Pool{failure: new(C.failure)}
	pool.handle = C.library_pool_new_with(flags, pool.failure)
	if pool.handle == nil {
		return nil, failed(pool.failure)
	}
	open.Store(pool, nil)
	return pool, nil
}

// Close ends the pool and its blocks; its heaps are the caller's again. Harmless if it is closed.
func (p *Pool) Close() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.handle == nil {
		return nil
	}
	C.library_pool_delete(p.handle, p.failure)
	p.handle, p.buffers = nil, nil
	open.Delete(p)
	return failed(p.failure)
}

// call hands the library's handle to a function that calls the library once, and returns why that failed. The sizes
// are those that the function uses: C would make large ones of what is negative.
func (p *Pool) call(function func(*C.hl_pool, *C.failure), sizes ...int) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.handle == nil {
		return ErrClosed
	}
	for _, size := range sizes {
		if size < 0 {
			return &Error{ErrSizeOverflow, fmt.Sprintf("size overflow: %d is not a number of bytes", size)}
		}
	}
	function(p.handle, p.failure)
	return failed(p.failure)
}

// AddHeap adds memory that Go does not manage, such as that of syscall.Mmap, as a heap. What Go manages must be
// pinned (runtime.Pinner, from Go 1.21 on) until the pool is closed.
func (p *Pool) AddHeap(memory []byte) error {
	var start unsafe.Pointer
	if len(memory) > 0 {
		start = unsafe.Pointer(&memory[0])
	}
	return p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_add_heap(pool, start, C.size_t(len(memory)), failure)
		if failure.status == C.HL_OK {
			p.buffers = append(p.buffers, memory)
		}
	})
}

// AddSystemHeap adds a heap that grows to maxSize bytes of the system's memory; 0 stands for all that can be had.
func (p *Pool) AddSystemHeap(maxSize int) error {
	return p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_add_system_heap(pool, C.size_t(maxSize), failure)
	}, maxSize)
}

// Alloc allocates a block. What its bytes are is not defined.
func (p *Pool) Alloc(size int) (*Block, error) {
	return p.alloc(size, func(pool *C.hl_pool, failure *C.failure) unsafe.Pointer {
		return C.library_alloc(pool, C.size_t(size), failure)
	})
}

// AllocZeroed allocates a block of zeros.
func (p *Pool) AllocZeroed(size int) (*Block, error) {
	return p.alloc(size, func(pool *C.hl_pool, failure *C.failure) unsafe.Pointer {
		return C.library_alloc_zeroed(pool, C.size_t(size), failure)
	})
}

// AllocAligned allocates a block whose address is a multiple of alignment, a power of two.
func (p *Pool) AllocAligned(alignment, size int) (*Block, error) {
	return p.alloc(size, func(pool *C.hl_pool, failure *C.failure) unsafe.Pointer {
		return C.library_alloc_aligned(pool, C.size_t(alignment), C.size_t(size), failure)
	}, alignment)
}

func (p *Pool) alloc(
	size int, function func(*C.hl_pool, *C.failure) unsafe.Pointer, sizes ...int,
) (*Block, error) {
	block := &block{pool: p, size: size, live: true}
	err := p.call(func(pool *C.hl_pool, failure *C.failure) {
		block.memory = function(pool, failure)
	}, append(sizes, size)...)
	if err != nil {
		return nil, err
	}
	return &Block{block}, nil
}

// Owns tells whether an address lies in one of the pool's heaps.
func (p *Pool) Owns(address uintptr) (owns bool, err error) {
	err = p.call(func(pool *C.hl_pool, _ *C.failure) {
		owns = bool(C.library_owns(pool, C.uintptr_t(address)))
	})
	return
}

// SetLimit lets the blocks take at most so many bytes of the heaps; 0 lifts the limit.
func (p *Pool) SetLimit(size int) error {
	return p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_pool_set_limit(pool, C.size_t(size), failure)
	}, size)
}

// Statistics is what the pool has now, and has done.
func (p *Pool) Statistics() (Statistics, error) {
	var now C.hl_pool_statistics
	now.struct_size = C.sizeof_hl_pool_statistics
	err := p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_pool_stats(pool, &now, failure)
	})
	return Statistics{
		Heaps:            int(now.heaps),
		CapacityBytes:    int(now.capacity_bytes),
		MetadataBytes:    int(now.metadata_bytes),
		UsedBytes:        int(now.used_bytes),
		PeakUsedBytes:    int(now.peak_used_bytes),
		FreeBytes:        int(now.free_bytes),
		LargestFreeBlock: int(now.largest_free_block),
		LiveBlocks:       int(now.live_blocks),
		LiveBytes:        int(now.live_bytes),
		Allocations:      uint64(now.allocations),
		Releases:         uint64(now.releases),
		Failures:         uint64(now.failures),
		Misuses:          uint64(now.misuses),
		Limit:            int(now.limit),
	}, err
}

// Check returns ErrCorrupted if an invariant of the pool's books does not hold.
func (p *Pool) Check() error {
	return p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_pool_check(pool, failure)
	})
}

// Walk returns all blocks, live and free, in the order of their addresses.
func (p *Pool) Walk() ([]BlockInfo, error) {
	var blocks []BlockInfo
	context := cgo.NewHandle(&blocks)
	defer context.Delete()
	err := p.call(func(pool *C.hl_pool, failure *C.failure) {
		C.library_pool_walk(pool, C.uintptr_t(context), failure)
	})
	return blocks, err
}
