// Package heapmaster allocates blocks of memory out of regions that the program hands in.
//
// The shared library is the one that the environment variable HEAPMASTER_LIBRARY names, else the one that the
// system's loader finds as libheapmaster.so.0.
package heapmaster

/*
#cgo CFLAGS: -I${SRCDIR}/../../include
#cgo LDFLAGS: -ldl
#include "library.h"
*/
import "C"

import (
	"fmt"
	"runtime/cgo"
	"unsafe"
)

var errLoad = load()

func load() error {
	if reason := C.library_load(); reason != nil {
		return fmt.Errorf("can't load HeapMaster's library, see HEAPMASTER_LIBRARY: %s", C.GoString(reason))
	}
	return nil
}

// Version is the library's, such as "1.2.3"; "" if there is no library.
func Version() string { return C.GoString(C.library_version()) }

// failed is why the last call failed that was given the failure, or nil.
func failed(failure *C.failure) error {
	if failure.status == C.HL_OK {
		return nil
	}
	err := &Error{Status(failure.status), C.GoString(&failure.message[0])}
	failure.status = C.HL_OK
	return err
}

//export visitBlock
func visitBlock(block *C.hl_block_info, context C.uintptr_t) {
	blocks := cgo.Handle(context).Value().(*[]BlockInfo)
	*blocks = append(*blocks, BlockInfo{
		Address: uintptr(unsafe.Pointer(block.address)),
		Size:    int(block.size),
		Live:    block.state == C.HL_BLOCK_LIVE,
	})
}
