//! `malloc` and its family, with the semantics of glibc 2.36 where the standards leave a choice.
//!
//! All of them:
//! - hand out blocks aligned to 16 bytes at least;
//! - set `errno` whenever they return a null pointer for want of memory, sizes above `PTRDIFF_MAX` included;
//! - leave `errno` alone when they succeed, and `free` always does;
//! - report a block that is none (see [`crate::misuse`]) before anything has been changed.
//!
//! The functions are ordinary ones of Rust; the table at the end exports them. So when one calls another it is
//! ours that it calls. Through the exported name it would be that of the program, if it has one: a `free` that
//! calls `__libc_free`, say, would come back to itself.
//!
//! # Safety
//!
//! Of every function that takes a block: it is null or has been handed out here and not released since. The
//! pool recognises what isn't and refuses it, so this is a duty towards the program, not towards the pool.

use crate::errno::{self, EINVAL, ENOMEM};
use crate::misuse::refused;
use crate::replaced::operators_are_ours;
use crate::settings::origins_count;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, null_mut};
use heapmaster::cache::{self, Claim, Released, Wanted};
use heapmaster::{Error, Origin, Status};

/// What every function here claims of a block that it is given.
const OF_C: Claim = Claim { origin: Some(Origin::Malloc), size: None };

/// The alignment of every block: what `max_align_t` needs on 64-bit machines.
pub(crate) const MIN_ALIGNMENT: usize = 16;

// --- Allocate ---

/// `size` bytes, uninitialised. For 0 bytes: a block like any other, with a pointer of its own.
#[inline]
pub(crate) fn malloc(size: usize) -> *mut c_void {
    match cache::alloc(size) {
        Some(block) => block.as_ptr().cast(),
        None => malloc_slow(size),
    }
}

#[cold]
#[inline(never)]
fn malloc_slow(size: usize) -> *mut c_void {
    alloc_slow(size, Origin::Malloc)
}

/// [`malloc`] for `operator new`.
#[inline]
pub(crate) fn new(size: usize) -> *mut c_void {
    match cache::alloc(size) {
        Some(block) => block.as_ptr().cast(),
        None => new_slow(size),
    }
}

#[cold]
#[inline(never)]
fn new_slow(size: usize) -> *mut c_void {
    alloc_slow(size, Origin::New)
}

#[inline(always)]
fn alloc_slow(size: usize, origin: Origin) -> *mut c_void {
    match cache::alloc_next(size) {
        Some(block) => block.as_ptr().cast(),
        None => alloc_slowest(size, origin),
    }
}

#[inline(never)]
fn alloc_slowest(size: usize, origin: Origin) -> *mut c_void {
    match cache::alloc_at_once(size, origin) {
        Some(block) => block.as_ptr().cast(),
        None => aligned(MIN_ALIGNMENT, size, origin),
    }
}

/// `count` objects of `size` bytes, all bytes zero.
fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(total) => match cache::alloc(total) {
            Some(block) => {
                // SAFETY: the block has that many bytes.
                unsafe { block.write_bytes(0, total) };
                block.as_ptr().cast()
            }
            None => calloc_slow(total),
        },
        None => out_of_memory(),
    }
}

#[cold]
#[inline(never)]
fn calloc_slow(size: usize) -> *mut c_void {
    // What a hardened pool has at hand is zero.
    match cache::alloc_at_once(size, Origin::Malloc) {
        Some(block) => block.as_ptr().cast(),
        None => block_or_enomem(cache::alloc_slow(Wanted {
            size,
            alignment: MIN_ALIGNMENT,
            origin: Origin::Malloc,
            zeroed: true,
        })),
    }
}

/// Allocates as C11 says. As in glibc before 2.38 it is `memalign`: neither must the size be a multiple of the
/// alignment, nor the alignment a power of two.
fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    memalign(alignment, size)
}

/// `size` bytes at a multiple of `alignment`, which is rounded up to a power of two. Where there is none
/// above, `errno` is `EINVAL`.
fn memalign(alignment: usize, size: usize) -> *mut c_void {
    let Some(alignment) = alignment.checked_next_power_of_two() else {
        errno::set(EINVAL);
        return null_mut();
    };
    aligned(alignment, size, Origin::Malloc)
}

/// Stores a block in `*block` and returns 0, or returns `EINVAL` or `ENOMEM` and stores nothing. `errno` stays
/// as it is.
///
/// # Safety
///
/// `block` can be written to.
unsafe fn posix_memalign(block: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
        return EINVAL;
    }
    match errno::kept(|| alloc_aligned(alignment, size, Origin::Malloc)) {
        Ok(allocated) => {
            // SAFETY: the caller says that it can be written to.
            unsafe { *block = allocated.as_ptr().cast() };
            0
        }
        Err(_) => ENOMEM,
    }
}

/// `size` bytes at the start of a page.
fn valloc(size: usize) -> *mut c_void {
    memalign(page_size(), size)
}

/// Enough whole pages for `size` bytes.
fn pvalloc(size: usize) -> *mut c_void {
    let page_size = page_size();
    match size.checked_next_multiple_of(page_size) {
        Some(size) => memalign(page_size, size),
        None => out_of_memory(),
    }
}

// --- Resize ---

/// Makes the block `size` bytes long, elsewhere if need be. Without memory for that it stays as it is.
///
/// For 0 bytes it releases the block and returns a null pointer, which is a success: `errno` stays.
///
/// # Safety
///
/// See the [module](self).
unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let Some(old) = NonNull::new(block.cast()) else {
        return malloc(size);
    };
    if size == 0 {
        // SAFETY: passed on to the caller.
        unsafe { release("realloc", block, OF_C) };
        return null_mut();
    }
    if let Some(old_size) = cache::object_size(old.addr().get()) {
        // SAFETY: passed on to the caller.
        return unsafe { resize_object(block, old_size, size) };
    }
    // SAFETY: passed on to the caller.
    let resized = match unsafe { cache::resize(old, size, OF_C) } {
        Err(Error::OriginMismatch { .. }) if !origins_are_judged() => {
            // SAFETY: passed on to the caller.
            unsafe { cache::resize(old, size, Claim { origin: None, ..OF_C }) }
        }
        resized => resized,
    };
    match resized {
        Ok(new) => new.as_ptr().cast(),
        Err(error) if is_want_of_memory(error) => out_of_memory(),
        Err(error) => {
            refused("realloc", old, &error);
            errno::set(EINVAL);
            null_mut()
        }
    }
}

/// [`realloc`] of a live block of `old_size` bytes that is an object of a span: it stays where it is unless it
/// is too small, or more than twice too large.
///
/// # Safety
///
/// See the [module](self).
unsafe fn resize_object(block: *mut c_void, old_size: usize, size: usize) -> *mut c_void {
    if size <= old_size && size >= old_size / 2 {
        return block;
    }
    let new = malloc(size);
    if new.is_null() {
        // Smaller is fine where it is.
        return if size <= old_size { block } else { new };
    }
    // SAFETY: both blocks are live, so that they don't overlap, and have so many bytes.
    unsafe {
        new.copy_from_nonoverlapping(block, old_size.min(size));
        release("realloc", block, OF_C);
    }
    new
}

/// `realloc` for `count` objects of `size` bytes.
///
/// # Safety
///
/// See the [module](self).
unsafe fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: passed on to the caller.
        Some(total) => unsafe { realloc(block, total) },
        None => out_of_memory(),
    }
}

// --- Release ---

/// Releases a block. A null pointer is none.
///
/// # Safety
///
/// See the [module](self).
unsafe fn free(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe {
        match cache::release(block.addr()) {
            Released::Yes => {}
            Released::NotYet => free_slow(block),
            Released::Elsewhere => free_elsewhere(block),
        }
    }
}

/// # Safety
///
/// See the [module](self).
#[cold]
#[inline(never)]
unsafe fn free_slow(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { report_unless_released("free", block, OF_C) };
}

/// # Safety
///
/// See the [module](self).
#[cold]
#[inline(never)]
unsafe fn free_elsewhere(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { report_unless_released_slowly("free", block, OF_C) };
}

/// `free` for a block that was allocated with this size (C23). A size that can't be true is reported.
///
/// # Safety
///
/// See the [module](self).
unsafe fn free_sized(block: *mut c_void, size: usize) {
    if check_size("free_sized", block, size, 1) {
        // SAFETY: passed on to the caller.
        unsafe { release("free_sized", block, OF_C) };
    }
}

/// `free` for a block from `aligned_alloc`, with the arguments of that (C23). What can't be true is reported.
///
/// # Safety
///
/// See the [module](self).
unsafe fn free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) {
    if check_size("free_aligned_sized", block, size, alignment) {
        // SAFETY: passed on to the caller.
        unsafe { release("free_aligned_sized", block, OF_C) };
    }
}

/// `free` under its oldest name. glibc keeps it for programs that were linked before 2.26.
///
/// # Safety
///
/// See the [module](self).
unsafe fn cfree(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { release("cfree", block, OF_C) };
}

// --- Look ---

/// How many bytes of a block the program may use: at least as many as it asked for. 0 for a null pointer.
///
/// # Safety
///
/// See the [module](self).
unsafe fn malloc_usable_size(block: *mut c_void) -> usize {
    let Some(block) = NonNull::new(block.cast()) else {
        return 0;
    };
    cache::usable_size(block).unwrap_or_else(|error| {
        refused("malloc_usable_size", block, &error);
        0
    })
}

// --- Shared with the C++ operators ---

/// A block at a multiple of `alignment`, a power of two, or null and `ENOMEM`.
#[inline(always)]
pub(crate) fn aligned(alignment: usize, size: usize, origin: Origin) -> *mut c_void {
    block_or_enomem(alloc_aligned(alignment, size, origin))
}

/// Reports a live block that can't have been allocated with this size and alignment. False if it is one.
pub(crate) fn check_size(
    function: &'static str,
    block: *mut c_void,
    size: usize,
    alignment: usize,
) -> bool {
    let Some(block) = NonNull::new(block.cast::<u8>()) else {
        return true;
    };
    match cache::check_size(block, size, alignment) {
        Ok(()) => true,
        Err(error) => {
            refused(function, block, &error);
            false
        }
    }
}

/// Releases a block on behalf of `function`.
///
/// # Safety
///
/// See the [module](self).
#[inline]
pub(crate) unsafe fn release(function: &'static str, block: *mut c_void, claim: Claim) {
    // SAFETY: passed on to the caller.
    unsafe {
        match cache::release(block.addr()) {
            Released::Yes => {}
            Released::NotYet => release_slow(function, block, claim),
            Released::Elsewhere => report_unless_released_slowly(function, block, claim),
        }
    }
}

/// # Safety
///
/// See the [module](self).
#[cold]
#[inline(never)]
unsafe fn release_slow(function: &'static str, block: *mut c_void, claim: Claim) {
    // SAFETY: passed on to the caller.
    unsafe { report_unless_released(function, block, claim) };
}

/// # Safety
///
/// See the [module](self).
#[inline(always)]
unsafe fn report_unless_released(function: &'static str, block: *mut c_void, claim: Claim) {
    // SAFETY: passed on to the caller.
    unsafe {
        if !cache::release_shared(block.addr()) {
            report_unless_released_slowly(function, block, claim);
        }
    }
}

/// # Safety
///
/// See the [module](self).
#[inline(never)]
unsafe fn report_unless_released_slowly(function: &'static str, block: *mut c_void, claim: Claim) {
    let Some(block) = NonNull::new(block.cast::<u8>()) else {
        return;
    };
    // SAFETY: passed on to the caller.
    if unsafe { cache::release_at_once(block.addr().get(), claim) } {
        return;
    }
    // SAFETY: passed on to the caller.
    let released = match unsafe { cache::release_slow(block, claim) } {
        Err(Error::OriginMismatch { .. }) if !origins_are_judged() => {
            // SAFETY: passed on to the caller.
            unsafe { cache::release_slow(block, Claim { origin: None, ..claim }) }
        }
        released => released,
    };
    if let Err(error) = released {
        refused(function, block, &error);
    }
}

/// Whether a mismatch of origins is to be reported.
pub(crate) fn origins_are_judged() -> bool {
    origins_count() && operators_are_ours()
}

// --- Answers ---

#[inline(always)]
fn block_or_enomem(allocated: Result<NonNull<u8>, Error>) -> *mut c_void {
    match allocated {
        Ok(block) => block.as_ptr().cast(),
        Err(_) => out_of_memory(),
    }
}

#[cold]
#[inline(never)]
fn out_of_memory() -> *mut c_void {
    errno::set(ENOMEM);
    null_mut()
}

fn is_want_of_memory(error: Error) -> bool {
    matches!(
        error.status(),
        Status::OutOfMemory | Status::LimitReached | Status::SizeOverflow | Status::System
    )
}

fn alloc_aligned(alignment: usize, size: usize, origin: Origin) -> Result<NonNull<u8>, Error> {
    let alignment = alignment.max(MIN_ALIGNMENT);
    cache::alloc_slow(Wanted { size, alignment, origin, zeroed: false })
}

fn page_size() -> usize {
    // SAFETY: it takes no pointer. This name is always known, so that the answer is not -1.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

// --- Names ---

/// Exports functions of this module under names of libc.
macro_rules! exports {
    ($($name:literal: $function:ident($($argument:ident: $type:ty),+) $(-> $result:ty)?;)+) => {$(
        const _: () = {
            #[unsafe(export_name = $name)]
            unsafe extern "C" fn export($($argument: $type),+) $(-> $result)? {
                #[allow(unused_unsafe, reason = "the functions that only allocate are safe")]
                // SAFETY: passed on to the caller.
                unsafe { $function($($argument),+) }
            }
        };
    )+};
}

exports! {
    "malloc": malloc(size: usize) -> *mut c_void;
    "calloc": calloc(count: usize, size: usize) -> *mut c_void;
    "aligned_alloc": aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    "memalign": memalign(alignment: usize, size: usize) -> *mut c_void;
    "posix_memalign":
        posix_memalign(block: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
    "valloc": valloc(size: usize) -> *mut c_void;
    "pvalloc": pvalloc(size: usize) -> *mut c_void;
    "realloc": realloc(block: *mut c_void, size: usize) -> *mut c_void;
    "reallocarray":
        reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void;
    "free": free(block: *mut c_void);
    "free_sized": free_sized(block: *mut c_void, size: usize);
    "free_aligned_sized":
        free_aligned_sized(block: *mut c_void, alignment: usize, size: usize);
    "cfree": cfree(block: *mut c_void);
    "malloc_usable_size": malloc_usable_size(block: *mut c_void) -> usize;
}

// glibc's own functions under the names that a program calls which wraps the others. What we don't export glibc
// answers, and its block would reach our `free`.
exports! {
    "__libc_malloc": malloc(size: usize) -> *mut c_void;
    "__libc_calloc": calloc(count: usize, size: usize) -> *mut c_void;
    "__libc_memalign": memalign(alignment: usize, size: usize) -> *mut c_void;
    "__libc_valloc": valloc(size: usize) -> *mut c_void;
    "__libc_pvalloc": pvalloc(size: usize) -> *mut c_void;
    "__libc_realloc": realloc(block: *mut c_void, size: usize) -> *mut c_void;
    "__libc_free": free(block: *mut c_void);
}
