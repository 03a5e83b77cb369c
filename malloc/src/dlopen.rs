//! `dlopen` without `RTLD_DEEPBIND`.
//!
//! A library that is loaded so looks in its own dependencies first, and so finds libc's `malloc` and `free` while the
//! program has ours: what one of them allocates, the other is to release. PHP loads its extensions like that.
//!
//! libc's function knows its caller by where it returns to, and looks for libraries where that one says. So it is jumped
//! to, not called.

use crate::text::say;
use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicPtr};

/// The bits of a mode that are kept. Relaxed: it is written before the program runs.
static KEPT: AtomicI32 = AtomicI32::new(!libc::RTLD_DEEPBIND);

/// The next `dlopen` after ours, once somebody has asked: to look it up loads much of the dynamic linker. Relaxed: the
/// code that it stands for was there before.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Leaves `RTLD_DEEPBIND` as it is.
pub(crate) fn keep_deepbind() {
    KEPT.store(!0, Relaxed);
}

/// As in libc, but that `RTLD_DEEPBIND` is none of the mode, unless the settings keep it.
///
/// # Safety
/// As in libc.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "and esi, dword ptr [rip + {kept}]",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jz 2f",
        "jmp rax",
        "2:",
        "push rdi",
        "push rsi",
        "push rax", // For the alignment of rsp alone.
        ".cfi_adjust_cfa_offset 24",
        "call {find_next}",
        "pop rsi",
        "pop rsi",
        "pop rdi",
        ".cfi_adjust_cfa_offset -24",
        "jmp rax",
        ".cfi_endproc",
        kept = sym KEPT,
        next = sym NEXT,
        find_next = sym find_next,
    )
}

/// As in libc, but that `RTLD_DEEPBIND` is none of the mode, unless the settings keep it.
///
/// # Safety
/// As in libc.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void {
    naked_asm!(
        ".cfi_startproc",
        "adrp x16, {kept}",
        "ldr w16, [x16, :lo12:{kept}]",
        "and w1, w1, w16",
        "adrp x16, {next}",
        "ldr x16, [x16, :lo12:{next}]",
        "cbz x16, 2f",
        "br x16",
        "2:",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_adjust_cfa_offset 32",
        ".cfi_rel_offset x29, 0",
        ".cfi_rel_offset x30, 8",
        "stp x0, x1, [sp, #16]",
        "bl {find_next}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        ".cfi_adjust_cfa_offset -32",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "br x16",
        ".cfi_endproc",
        kept = sym KEPT,
        next = sym NEXT,
        find_next = sym find_next,
    )
}

extern "C" fn find_next() -> *mut c_void {
    // SAFETY: the name is a C string.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
    if next.is_null() {
        say(format_args!("dlopen: the system has none"));
        // SAFETY: no lock is held.
        unsafe { libc::abort() };
    }
    NEXT.store(next, Relaxed);
    next
}
