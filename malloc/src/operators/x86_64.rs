//! The shapes of the operators on x86-64: System V calling convention, arguments in rdi, rsi, rdx, result in rax.
//!
//! The `.cfi` lines tell the unwinder where it finds the return address at each instruction. An exception from
//! inside a call passes by them.

/// `operator new(size)`: the loop of the module's head comment, which see.
macro_rules! allocating {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(size: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "push rdi", // Kept for the next attempt; and calls want rsp to be a multiple of 16.
                ".cfi_adjust_cfa_offset 8",
                "2:",
                "call {allocate}",
                "test rax, rax",
                "jz 3f",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_adjust_cfa_offset 8",
                "3:",
                "call {out_of_memory}",
                "call rax",
                "mov rdi, [rsp]",
                "jmp 2b",
                ".cfi_endproc",
                allocate = sym allocate,
                out_of_memory = sym out_of_memory,
            )
        }
    )+};
}

/// `operator new(size, alignment)`: the same with two arguments to keep.
macro_rules! allocating_aligned {
    ($($(#[$doc:meta])+ $name:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(size: usize, alignment: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rax", // For the alignment of rsp alone.
                ".cfi_adjust_cfa_offset 8",
                "2:",
                "call {allocate_aligned}",
                "test rax, rax",
                "jz 3f",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_adjust_cfa_offset 24",
                "3:",
                "mov rdi, [rsp + 8]",
                "call {out_of_memory_aligned}",
                "call rax",
                "mov rsi, [rsp + 8]",
                "mov rdi, [rsp + 16]",
                "jmp 2b",
                ".cfi_endproc",
                allocate_aligned = sym allocate_aligned,
                out_of_memory_aligned = sym out_of_memory_aligned,
            )
        }
    )+};
}

/// Calls another operator with the same arguments; an exception makes it return null, by way of [`caught`].
macro_rules! nothrow {
    ($($(#[$doc:meta])+ $name:ident => $target:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(size: usize, second: usize, third: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_personality 0x1b, {catch_all}", // 0x1b: a 32-bit distance from here.
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                concat!("call [rip + ", stringify!($target), "@GOTPCREL]"),
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_endproc",
                catch_all = sym catch_all,
            )
        }
    )+};
}

/// Where a [`nothrow`] form goes on after an exception, which is in rax.
#[unsafe(naked)]
pub(super) extern "C-unwind" fn caught() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        "mov rdi, rax",
        "call {drop_exception}",
        "xor eax, eax",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        drop_exception = sym drop_exception,
    )
}

/// Does what another operator does, that of the program if it has one: hence through the global offset table.
macro_rules! forwarding {
    ($($(#[$doc:meta])+ $name:ident => $target:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(first: usize, second: usize) -> *mut c_void {
            naked_asm!(concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"))
        }
    )+};
}

/// The same from (block, size) to (block), after a look at the size if the settings want one.
macro_rules! sized {
    ($($(#[$doc:meta])+ $name:ident => $target:ident, $check:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(block: *mut c_void, size: usize) {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {asked}], 0",
                "jne 2f",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                "2:",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "call {check}",
                "mov rdi, rax",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                ".cfi_endproc",
                asked = sym CHECK_SIZES,
                check = sym $check,
            )
        }
    )+};
}

/// The same from (block, size, alignment) to (block, alignment).
macro_rules! sized_aligned {
    ($($(#[$doc:meta])+ $name:ident => $target:ident, $check:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(block: *mut c_void, size: usize, alignment: usize) {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {asked}], 0",
                "jne 2f",
                "mov rsi, rdx",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                "2:",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "push rax", // For the alignment of rsp alone.
                ".cfi_adjust_cfa_offset 8",
                "call {check}",
                "mov rdi, rax",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                ".cfi_endproc",
                asked = sym CHECK_SIZES,
                check = sym $check,
            )
        }
    )+};
}

/// Does what another operator does; if the pool is hardened its block is an array's from then on, or one that is at hand.
macro_rules! allocating_arrays {
    ($($(#[$doc:meta])+ $name:ident => $target:ident, $at_once:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(size: usize, alignment: usize) -> *mut c_void {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {hardened}], 0",
                "jne 2f",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                "2:",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rax", // For the alignment of rsp alone.
                ".cfi_adjust_cfa_offset 8",
                "call {at_once}",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "test rax, rax",
                "jnz 3f",
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                concat!("call [rip + ", stringify!($target), "@GOTPCREL]"),
                "mov rdi, rax",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "jmp {into_array}",
                "3:",
                "ret",
                ".cfi_endproc",
                hardened = sym HARDENED,
                at_once = sym $at_once,
                into_array = sym into_array,
            )
        }
    )+};
}

/// Does what another operator does, unless that is done; if the pool is hardened its block was an array's.
macro_rules! releasing_arrays {
    ($($(#[$doc:meta])+ $name:ident => $target:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(block: *mut c_void, alignment: usize) {
            naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {hardened}], 0",
                "jne 2f",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                "2:",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rax", // For the alignment of rsp alone.
                ".cfi_adjust_cfa_offset 8",
                "call {out_of_array}",
                "mov rdi, rax",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                concat!("jmp [rip + ", stringify!($target), "@GOTPCREL]"),
                ".cfi_endproc",
                hardened = sym HARDENED,
                out_of_array = sym out_of_array,
            )
        }
    )+};
}

pub(super) use {
    allocating, allocating_aligned, allocating_arrays, forwarding, nothrow, releasing_arrays,
    sized, sized_aligned,
};

use super::drop_exception;
use core::arch::naked_asm;
