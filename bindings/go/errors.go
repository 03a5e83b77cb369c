package heapmaster

// #include "library.h"
import "C"

import "errors"

// Status says why a call was refused. It is an error of its own, for errors.Is.
type Status int32

// The statuses, as the library's header numbers them.
const (
	ErrInvalidArgument     Status = C.HL_ERR_INVALID_ARGUMENT
	ErrOutOfMemory         Status = C.HL_ERR_OUT_OF_MEMORY
	ErrLimitReached        Status = C.HL_ERR_LIMIT_REACHED
	ErrSizeOverflow        Status = C.HL_ERR_SIZE_OVERFLOW
	ErrBadAlignment        Status = C.HL_ERR_BAD_ALIGNMENT
	ErrHeapNull            Status = C.HL_ERR_HEAP_NULL
	ErrHeapTooSmall        Status = C.HL_ERR_HEAP_TOO_SMALL
	ErrHeapWraps           Status = C.HL_ERR_HEAP_WRAPS
	ErrHeapOverlaps        Status = C.HL_ERR_HEAP_OVERLAPS
	ErrHeapUnknown         Status = C.HL_ERR_HEAP_UNKNOWN
	ErrHeapInUse           Status = C.HL_ERR_HEAP_IN_USE
	ErrNotInPool           Status = C.HL_ERR_NOT_IN_POOL
	ErrInteriorPointer     Status = C.HL_ERR_INTERIOR_POINTER
	ErrAlreadyReleased     Status = C.HL_ERR_ALREADY_RELEASED
	ErrOtherPool           Status = C.HL_ERR_OTHER_POOL
	ErrSizeMismatch        Status = C.HL_ERR_SIZE_MISMATCH
	ErrCorrupted           Status = C.HL_ERR_CORRUPTED
	ErrSystem              Status = C.HL_ERR_SYSTEM
	ErrOverrun             Status = C.HL_ERR_OVERRUN
	ErrUnderrun            Status = C.HL_ERR_UNDERRUN
	ErrWrittenAfterRelease Status = C.HL_ERR_WRITTEN_AFTER_RELEASE
	ErrOriginMismatch      Status = C.HL_ERR_ORIGIN_MISMATCH
)

// ErrClosed is the error of every use of a closed pool.
var ErrClosed = errors.New("the pool is closed")

// String is the status's name, such as "HL_ERR_OUT_OF_MEMORY".
func (s Status) String() string { return C.GoString(C.library_status_name(C.int32_t(s))) }

// Error is what the status means.
func (s Status) Error() string { return C.GoString(C.library_status_message(C.int32_t(s))) }

// An Error is a call that the library refused. errors.Is tells it by its status.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap is the status.
func (e *Error) Unwrap() error { return e.Status }
