//! System calls without libc: they leave `errno` and everything else of the thread alone, and the pages of libc
//! that a program doesn't need are not loaded for our sake.

use core::arch::asm;
use core::ffi::c_long;

/// Makes a system call with up to six arguments. Negative results down to -4095 are error numbers.
///
/// # Safety
/// As the call says of its arguments.
pub(super) unsafe fn call<const N: usize>(number: c_long, given: [usize; N]) -> isize {
    let mut arguments = [0; 6];
    arguments[..N].copy_from_slice(&given);
    let result;
    // SAFETY: the caller's promise; the kernel changes no other register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] as isize => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// Starts a thread at `body` on a stack that ends at `top`; when `body` returns it unmaps the `size` bytes at
/// `stack` and ends. A negative result is an error number.
///
/// # Safety
/// The stack is mapped and nobody else's, and `top` is a multiple of 16.
pub(super) unsafe fn clone(
    flags: c_long,
    body: extern "C" fn(),
    stack: usize,
    size: usize,
    top: usize,
) -> isize {
    let result;
    // SAFETY: the caller's promise. The new thread has its own copy of the registers and a stack of its own,
    // and never comes out of the block.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call r12",
            "mov rdi, r13",
            "mov rsi, r14",
            "mov eax, {munmap}",
            "syscall",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "2:",
            munmap = const libc::SYS_munmap,
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags,
            in("rsi") top,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            in("r12") body,
            in("r13") stack,
            in("r14") size,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "blr x20",
            "mov x0, x21",
            "mov x1, x22",
            "mov x8, {munmap}",
            "svc 0",
            "mov x0, xzr",
            "mov x8, {exit}",
            "svc 0",
            "2:",
            munmap = const libc::SYS_munmap,
            exit = const libc::SYS_exit,
            in("x8") libc::SYS_clone,
            inlateout("x0") flags as isize => result,
            in("x1") top,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
            in("x20") body,
            in("x21") stack,
            in("x22") size,
            lateout("x30") _,
        );
    }
    result
}
