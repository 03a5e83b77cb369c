//! C++: every replaceable `operator new` and `operator delete`, under the names that the Itanium C++ ABI gives
//! them.
//!
//! As in libstdc++, only four of them allocate and release. The others call those, by name and not directly,
//! because a program may have replaced some: whoever defines `operator new(size_t)` and `operator
//! delete(void*)` expects that arrays, `nothrow` and sized deletion go through them.
//!
//! When memory has run out, `operator new` calls the program's new-handler and tries again, and throws
//! `std::bad_alloc` if there is none. The handler may throw too. An exception that met a Rust frame would end
//! the process, as the crate is built with `panic = "abort"`. So the loop
//!
//! ```text
//! while ((block = allocate(size)) == NULL)
//!     out_of_memory()();
//! return block;
//! ```
//!
//! is assembly, and what is hard about it is Rust: [`out_of_memory`] only answers what to call, a new-handler or
//! the `std::__throw_bad_alloc` of the C++ runtime, and has returned before that runs. The `nothrow` forms catch
//! everything. They have a personality routine of their own, [`catch_all`], so that they need no C++ runtime
//! for that.
//!
//! Machines for which the assembly is not written do without this module: libstdc++'s operators call our
//! `malloc` there.

#[cfg_attr(target_arch = "x86_64", path = "operators/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "operators/aarch64.rs")]
mod machine;

use crate::c;
use crate::misuse::refused;
use crate::replaced::operators_are_ours;
use crate::runtime::{self, Context, Exception, Thrower, Unwinder};
use crate::settings::{CHECK_SIZES, HARDENED};
use crate::text::say;
use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, null_mut};
use heapmaster::cache::{self, Claim};
use heapmaster::{Error, Origin};
use machine::{
    allocating, allocating_aligned, allocating_arrays, forwarding, nothrow, releasing_arrays,
    sized, sized_aligned,
};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("size_t is spelt `j`, not `m`, in the names of 32-bit machines");

// --- The operators that allocate ---

allocating! {
    /// `operator new(size_t)`
    _Znwm;
}

allocating_aligned! {
    /// `operator new(size_t, align_val_t)`
    _ZnwmSt11align_val_t;
}

allocating_arrays! {
    /// `operator new[](size_t)`
    _Znam => _Znwm, array_at_once;
    /// `operator new[](size_t, align_val_t)`
    _ZnamSt11align_val_t => _ZnwmSt11align_val_t, aligned_array_at_once;
}

nothrow! {
    /// `operator new(size_t, nothrow_t const&)`
    _ZnwmRKSt9nothrow_t => _Znwm;
    /// `operator new[](size_t, nothrow_t const&)`
    _ZnamRKSt9nothrow_t => _Znam;
    /// `operator new(size_t, align_val_t, nothrow_t const&)`
    _ZnwmSt11align_val_tRKSt9nothrow_t => _ZnwmSt11align_val_t;
    /// `operator new[](size_t, align_val_t, nothrow_t const&)`
    _ZnamSt11align_val_tRKSt9nothrow_t => _ZnamSt11align_val_t;
}

// --- The operators that release ---

/// What `operator delete` claims of a block.
const OF_NEW: Claim = Claim { origin: Some(Origin::New), size: None };

/// `operator delete(void*)`
///
/// # Safety
///
/// See [`crate::c`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPv(block: *mut c_void) {
    // SAFETY: passed on to the caller.
    unsafe { c::release("operator delete", block, OF_NEW) };
}

/// `operator delete(void*, align_val_t)`
///
/// # Safety
///
/// See [`crate::c`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvSt11align_val_t(block: *mut c_void, _alignment: usize) {
    // SAFETY: passed on to the caller.
    unsafe { c::release("operator delete", block, OF_NEW) };
}

forwarding! {
    /// `operator delete(void*, nothrow_t const&)`
    _ZdlPvRKSt9nothrow_t => _ZdlPv;
    /// `operator delete(void*, align_val_t, nothrow_t const&)`
    _ZdlPvSt11align_val_tRKSt9nothrow_t => _ZdlPvSt11align_val_t;
    /// `operator delete[](void*, nothrow_t const&)`
    _ZdaPvRKSt9nothrow_t => _ZdaPv;
    /// `operator delete[](void*, align_val_t, nothrow_t const&)`
    _ZdaPvSt11align_val_tRKSt9nothrow_t => _ZdaPvSt11align_val_t;
}

releasing_arrays! {
    /// `operator delete[](void*)`
    _ZdaPv => _ZdlPv;
    /// `operator delete[](void*, align_val_t)`
    _ZdaPvSt11align_val_t => _ZdlPvSt11align_val_t;
}

sized! {
    /// `operator delete(void*, size_t)`
    _ZdlPvm => _ZdlPv, check_size;
    /// `operator delete[](void*, size_t)`
    _ZdaPvm => _ZdaPv, check_array_size;
}

sized_aligned! {
    /// `operator delete(void*, size_t, align_val_t)`
    _ZdlPvmSt11align_val_t => _ZdlPvSt11align_val_t, check_aligned_size;
    /// `operator delete[](void*, size_t, align_val_t)`
    _ZdaPvmSt11align_val_t => _ZdaPvSt11align_val_t, check_aligned_array_size;
}

// --- What the assembly calls ---

extern "C" fn allocate(size: usize) -> *mut c_void {
    c::new(size)
}

extern "C" fn allocate_aligned(size: usize, alignment: usize) -> *mut c_void {
    if alignment.is_power_of_two() {
        c::aligned(alignment, size, Origin::New)
    } else {
        core::ptr::null_mut()
    }
}

/// What `operator new[]` returns, if it is at hand in a hardened program, and nobody expects a call of another operator;
/// else null.
#[cold]
extern "C" fn array_at_once(size: usize) -> *mut c_void {
    let block =
        if operators_are_ours() { cache::alloc_at_once(size, Origin::NewArray) } else { None };
    block.map_or(null_mut(), |block| block.as_ptr().cast())
}

#[cold]
extern "C" fn aligned_array_at_once(size: usize, alignment: usize) -> *mut c_void {
    if alignment.is_power_of_two() && alignment <= c::MIN_ALIGNMENT {
        array_at_once(size)
    } else {
        null_mut()
    }
}

/// The block is one of `operator new[]`.
#[cold]
extern "C" fn into_array(block: *mut c_void) -> *mut c_void {
    cache::change_origin(block.cast(), Origin::New, Origin::NewArray);
    block
}

/// Releases a block at once, in a hardened program, if all is as claimed and nobody expects a call of another operator.
#[inline(never)]
fn released_at_once(block: *mut c_void, origin: Origin, size: Option<usize>) -> bool {
    let claim = Claim { origin: Some(origin), size };
    // SAFETY: of each operator, see `crate::c`.
    operators_are_ours() && unsafe { cache::release_at_once(block.addr(), claim) }
}

/// What is handed to `operator delete`, which releases it: the block, or nothing if that is done, or refused. One that no
/// array operator allocated is reported here; one of `malloc`, there, unless the program has an operator of its own that
/// takes it.
#[cold]
extern "C" fn out_of_array(block: *mut c_void) -> *mut c_void {
    if released_at_once(block, Origin::NewArray, None) {
        return null_mut();
    }
    let origin = cache::change_origin(block.cast(), Origin::NewArray, Origin::New);
    if let (Some(origin @ Origin::New), Some(block)) = (origin, NonNull::new(block.cast::<u8>()))
        && c::origins_are_judged()
    {
        let error = Error::OriginMismatch { pointer: block.addr().get(), origin };
        refused("operator delete[]", block, &error);
        return null_mut();
    }
    block
}

/// What is handed to the operator without a size: the block, or nothing if it is released, or refused.
#[cold]
extern "C" fn check_size(block: *mut c_void, size: usize) -> *mut c_void {
    unless_done(block, size, 1, Origin::New)
}

#[cold]
extern "C" fn check_array_size(block: *mut c_void, size: usize) -> *mut c_void {
    unless_done(block, size, 1, Origin::NewArray)
}

#[cold]
extern "C" fn check_aligned_size(block: *mut c_void, size: usize, alignment: usize) -> *mut c_void {
    unless_done(block, size, alignment, Origin::New)
}

#[cold]
extern "C" fn check_aligned_array_size(
    block: *mut c_void,
    size: usize,
    alignment: usize,
) -> *mut c_void {
    unless_done(block, size, alignment, Origin::NewArray)
}

#[inline(never)]
fn unless_done(block: *mut c_void, size: usize, alignment: usize, origin: Origin) -> *mut c_void {
    let is_done = released_at_once(block, origin, Some(size))
        || operators_are_ours() && !c::check_size("operator delete", block, size, alignment);
    if is_done { null_mut() } else { block }
}

/// What to call before the next attempt. It throws, unless it thinks that the attempt may succeed.
#[cold]
extern "C" fn out_of_memory() -> Thrower {
    runtime::new_handler().or_else(runtime::throw_bad_alloc).unwrap_or(no_runtime)
}

/// The same; but no handler can make a wrong alignment right.
#[cold]
extern "C" fn out_of_memory_aligned(alignment: usize) -> Thrower {
    if alignment.is_power_of_two() {
        out_of_memory()
    } else {
        runtime::throw_bad_alloc().unwrap_or(no_runtime)
    }
}

unsafe extern "C-unwind" fn no_runtime() {
    say(format_args!("operator new: out of memory, and no C++ runtime to throw std::bad_alloc"));
    // SAFETY: no lock is held, and a handler of SIGABRT may do what it likes.
    unsafe { libc::abort() };
}

// --- What catches ---

/// The personality routine of the `nothrow` forms: the unwinder asks it, at one of their frames, what to do
/// about an exception that passes by. The answer is `catch (...) { return NULL; }`. The values are those of the
/// Itanium C++ ABI.
///
/// What ends a thread (`pthread_exit`, cancellation) unwinds too, but is not to be stopped.
extern "C" fn catch_all(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: Exception,
    context: Context,
) -> c_int {
    const SEARCH_PHASE: c_int = 1;
    const HANDLER_FRAME: c_int = 4;
    const HANDLER_FOUND: c_int = 6;
    const INSTALL_CONTEXT: c_int = 7;
    const CONTINUE_UNWIND: c_int = 8;

    let Some(unwinder) = Unwinder::find() else {
        return CONTINUE_UNWIND;
    };
    if actions & SEARCH_PHASE != 0 {
        HANDLER_FOUND
    } else if actions & HANDLER_FRAME != 0 {
        // SAFETY: only the `nothrow` forms have this routine, and `caught` is written for their frame.
        unsafe { unwinder.resume_at(context, machine::caught as *const () as usize, exception) };
        INSTALL_CONTEXT
    } else {
        CONTINUE_UNWIND
    }
}

extern "C" fn drop_exception(exception: Exception) {
    // SAFETY: `caught` got it from the unwinder.
    unsafe { runtime::drop_exception(exception) };
}
