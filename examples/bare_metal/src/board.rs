//! What stands under the program: its start, its end, and the functions that compilers call unasked. Here it is a
//! process of Linux on x86-64.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

/// What a panic ends the program with.
const PANICKED: i32 = 101;

global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {start}",
    start = sym start,
);

extern "C" fn start() -> ! {
    exit(match crate::main() {
        Ok(()) => 0,
        Err(error) => error.status() as i32,
    })
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(PANICKED)
}

/// The hosted build of Rust's libraries can unwind, and names this; a panic here does not.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

fn exit(status: i32) -> ! {
    const EXIT_GROUP: i32 = 231;
    // SAFETY: the call takes a number, and does not return.
    unsafe { asm!("syscall", in("eax") EXIT_GROUP, in("edi") status, options(noreturn, nostack)) }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    for index in 0..size {
        // SAFETY: both have that many bytes, says the caller.
        unsafe { *to.add(index) = *from.add(index) };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    if to.cast_const() <= from {
        // SAFETY: forwards no byte is overwritten before it is read.
        return unsafe { memcpy(to, from, size) };
    }
    for index in (0..size).rev() {
        // SAFETY: as in `memcpy`; backwards no byte is overwritten before it is read.
        unsafe { *to.add(index) = *from.add(index) };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
    for index in 0..size {
        // SAFETY: it has that many bytes, says the caller.
        unsafe { *to.add(index) = byte as u8 };
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    for index in 0..size {
        // SAFETY: both have that many bytes, says the caller.
        let (left, right) = unsafe { (*left.add(index), *right.add(index)) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, size: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(left, right, size) }
}
