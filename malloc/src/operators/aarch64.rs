//! The shapes of the operators on aarch64: AAPCS64, arguments in x0, x1, x2, result in x0.
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
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "str x0, [sp, #16]", // Kept for the next attempt.
                "2:",
                "bl {allocate}",
                "cbz x0, 3f",
                "ldp x29, x30, [sp], #32",
                ".cfi_remember_state",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                "ret",
                ".cfi_restore_state",
                "3:",
                "bl {out_of_memory}",
                "blr x0",
                "ldr x0, [sp, #16]",
                "b 2b",
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
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]",
                "2:",
                "bl {allocate_aligned}",
                "cbz x0, 3f",
                "ldp x29, x30, [sp], #32",
                ".cfi_remember_state",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                "ret",
                ".cfi_restore_state",
                "3:",
                "ldr x0, [sp, #24]",
                "bl {out_of_memory_aligned}",
                "blr x0",
                "ldp x0, x1, [sp, #16]",
                "b 2b",
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
                "stp x29, x30, [sp, #-16]!",
                ".cfi_def_cfa_offset 16",
                ".cfi_offset x29, -16",
                ".cfi_offset x30, -8",
                "mov x29, sp",
                concat!("bl ", stringify!($target)),
                "ldp x29, x30, [sp], #16",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                "ret",
                ".cfi_endproc",
                catch_all = sym catch_all,
            )
        }
    )+};
}

/// Where a [`nothrow`] form goes on after an exception, which is in x0.
#[unsafe(naked)]
pub(super) extern "C-unwind" fn caught() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "bl {drop_exception}",
        "mov x0, xzr",
        "ldp x29, x30, [sp], #16",
        ".cfi_restore x29",
        ".cfi_restore x30",
        ".cfi_def_cfa_offset 0",
        "ret",
        ".cfi_endproc",
        drop_exception = sym drop_exception,
    )
}

/// Does what another operator does, that of the program if it has one: the linker sends the branch through its
/// procedure linkage table.
macro_rules! forwarding {
    ($($(#[$doc:meta])+ $name:ident => $target:ident;)+) => {$(
        $(#[$doc])+
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(first: usize, second: usize) -> *mut c_void {
            naked_asm!(concat!("b ", stringify!($target)))
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
                "adrp x9, {asked}",
                "ldrb w9, [x9, :lo12:{asked}]",
                "cbnz w9, 2f",
                concat!("b ", stringify!($target)),
                "2:",
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "bl {check}",
                "ldp x29, x30, [sp], #32",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                concat!("b ", stringify!($target)),
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
                "adrp x9, {asked}",
                "ldrb w9, [x9, :lo12:{asked}]",
                "cbnz w9, 2f",
                "mov x1, x2",
                concat!("b ", stringify!($target)),
                "2:",
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "str x2, [sp, #16]",
                "bl {check}",
                "ldr x1, [sp, #16]",
                "ldp x29, x30, [sp], #32",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                concat!("b ", stringify!($target)),
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
                "adrp x9, {hardened}",
                "ldrb w9, [x9, :lo12:{hardened}]",
                "cbnz w9, 2f",
                concat!("b ", stringify!($target)),
                "2:",
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "stp x0, x1, [sp, #16]",
                "bl {at_once}",
                "cbnz x0, 3f",
                "ldp x0, x1, [sp, #16]",
                concat!("bl ", stringify!($target)),
                "ldp x29, x30, [sp], #32",
                ".cfi_remember_state",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                "b {into_array}",
                ".cfi_restore_state",
                "3:",
                "ldp x29, x30, [sp], #32",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
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
                "adrp x9, {hardened}",
                "ldrb w9, [x9, :lo12:{hardened}]",
                "cbnz w9, 2f",
                concat!("b ", stringify!($target)),
                "2:",
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset x29, -32",
                ".cfi_offset x30, -24",
                "mov x29, sp",
                "str x1, [sp, #16]",
                "bl {out_of_array}",
                "ldr x1, [sp, #16]",
                "ldp x29, x30, [sp], #32",
                ".cfi_restore x29",
                ".cfi_restore x30",
                ".cfi_def_cfa_offset 0",
                concat!("b ", stringify!($target)),
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
