//! No unwinding: a panic aborts (see last_words.rs). Rust's runtime refers to the unwinder for backtraces and for
//! panics that are caught, of which there are none here; with these in its place, the process need not load
//! `libgcc_s` for our sake, 84 KiB of a program that may have little else.
//!
//! They are hidden: the C++ exceptions of the program have the unwinder that they always had.

#[cfg(target_arch = "x86_64")]
macro_rules! trap {
    () => {
        "ud2"
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! trap {
    () => {
        "brk 1"
    };
}

macro_rules! never_called {
    ($($name:literal)+) => {
        core::arch::global_asm!(
            ".pushsection .text.unlikely.heapmaster_unwind, \"ax\", @progbits",
            $(
                concat!(".globl ", $name),
                concat!(".hidden ", $name),
                concat!(".type ", $name, ", @function"),
                concat!($name, ":"),
            )+
            trap!(),
            ".popsection",
        );
    };
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
never_called!(
    "_Unwind_Resume" "_Unwind_GetDataRelBase" "_Unwind_GetTextRelBase" "_Unwind_GetIPInfo"
    "_Unwind_GetLanguageSpecificData" "_Unwind_GetRegionStart" "_Unwind_SetGR" "_Unwind_SetIP"
    "_Unwind_GetIP" "_Unwind_Backtrace" "_Unwind_GetCFA" "_Unwind_FindEnclosingFunction"
    "_Unwind_RaiseException" "_Unwind_DeleteException"
);
