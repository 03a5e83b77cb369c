//! Whether the program has C++ operators of its own beside ours.
//!
//! A program may replace some of them and leave the others: `operator new` by one that calls `malloc`, say, and
//! nothing else. Then what released a block and what allocated it, or the sizes that they were told, need not go
//! together as ours do, and nothing can be said of a program that makes use of it.
//!
//! The dynamic linker has written down where it finds each: asking it later would wait for its lock.

use crate::traces::is_own;

/// Those that the others end in, and the forms for arrays.
const OPERATORS: usize = 8;

core::arch::global_asm!(
    ".pushsection .data.rel.ro.heapmaster_operators, \"aw\", @progbits",
    ".balign 8",
    ".hidden heapmaster_operators",
    ".globl heapmaster_operators",
    "heapmaster_operators:",
    ".8byte _Znwm",
    ".8byte _Znam",
    ".8byte _ZdlPv",
    ".8byte _ZdaPv",
    ".8byte _ZnwmSt11align_val_t",
    ".8byte _ZnamSt11align_val_t",
    ".8byte _ZdlPvSt11align_val_t",
    ".8byte _ZdaPvSt11align_val_t",
    ".popsection",
);

unsafe extern "C" {
    #[link_name = "heapmaster_operators"]
    safe static FOUND: [usize; OPERATORS];
}

/// Whether the program uses our operators and no others.
pub(crate) fn operators_are_ours() -> bool {
    FOUND.into_iter().all(is_own)
}
