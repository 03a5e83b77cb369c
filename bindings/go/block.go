package heapmaster

// #include "library.h"
import "C"

import (
	"io"
	"unsafe"
)

// A Block of a pool. Every use of a released one returns ErrAlreadyReleased. Its copies are the same block.
type Block struct{ *block }

type block struct {
	pool   *Pool
	memory unsafe.Pointer
	size   int
	live   bool
}

// use does as Pool.call, if the block is live.
func (b *Block) use(function func(*C.hl_pool, *C.failure), sizes ...int) error {
	if b.block == nil {
		return &Error{ErrNotInPool, ErrNotInPool.Error()}
	}
	var stale error
	err := b.pool.call(func(pool *C.hl_pool, failure *C.failure) {
		if b.live {
			function(pool, failure)
		} else {
			stale = b.refusal(pool, failure)
		}
	}, sizes...)
	if err == nil {
		err = stale
	}
	return err
}

// refusal is what the library says about a released block, in general terms if another block lies there by now.
func (b *Block) refusal(pool *C.hl_pool, failure *C.failure) error {
	// Harmless whatever lies there, which hl_release is not.
	C.library_usable_size(pool, b.memory, failure)
	if err, ok := failed(failure).(*Error); ok && err.Status == ErrAlreadyReleased {
		return err
	}
	return &Error{ErrAlreadyReleased, ErrAlreadyReleased.Error()}
}

// Size is how many bytes were asked for.
func (b *Block) Size() (size int, err error) {
	err = b.use(func(*C.hl_pool, *C.failure) { size = b.size })
	return
}

// UsableSize is how many bytes the pool has set aside: at least those asked for.
func (b *Block) UsableSize() (size int, err error) {
	err = b.use(func(pool *C.hl_pool, failure *C.failure) {
		size = int(C.library_usable_size(pool, b.memory, failure))
	})
	return
}

// Address is where the block begins.
func (b *Block) Address() (address uintptr, err error) {
	err = b.use(func(*C.hl_pool, *C.failure) { address = uintptr(b.memory) })
	return
}

// Bytes is the block itself. Go can't take the slice back: it must not be used after the block is released or
// resized, or its pool closed. ReadAt and WriteAt look.
func (b *Block) Bytes() (bytes []byte, err error) {
	err = b.use(func(*C.hl_pool, *C.failure) { bytes = b.bytes() })
	return
}

func (b *Block) bytes() []byte { return unsafe.Slice((*byte)(b.memory), b.size) }

// ReadAt copies bytes of the block, as io.ReaderAt says.
func (b *Block) ReadAt(to []byte, offset int64) (n int, err error) {
	err = b.use(func(*C.hl_pool, *C.failure) {
		if offset <= int64(b.size) {
			n = copy(to, b.bytes()[offset:])
		}
	}, int(offset))
	if err == nil && n < len(to) {
		err = io.EOF
	}
	return
}

// WriteAt copies bytes into the block, as io.WriterAt says.
func (b *Block) WriteAt(from []byte, offset int64) (n int, err error) {
	err = b.use(func(*C.hl_pool, *C.failure) {
		if offset <= int64(b.size) {
			n = copy(b.bytes()[offset:], from)
		}
	}, int(offset))
	if err == nil && n < len(from) {
		err = io.ErrShortWrite
	}
	return
}

// Resize makes the block hold so many bytes, if need be at another address, with its contents as far as they fit.
func (b *Block) Resize(size int) error {
	return b.use(func(pool *C.hl_pool, failure *C.failure) {
		if memory := C.library_resize(pool, b.memory, C.size_t(size), failure); memory != nil {
			b.memory, b.size = memory, size
		}
	}, size)
}

// Release gives the block back to its pool.
func (b *Block) Release() error {
	return b.use(func(pool *C.hl_pool, failure *C.failure) {
		C.library_release(pool, b.memory, failure)
		b.live = failure.status != C.HL_OK
	})
}
