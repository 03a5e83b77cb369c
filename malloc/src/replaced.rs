//! Whether the program has C++ operators of its own beside ours.
//!
//! A program may replace some of them and leave the others: `operator new` by one that calls `malloc`, say, and
//! nothing else. Then what released a block and what allocated it, or the sizes that they were told, need not go
//! together as ours do, and nothing can be said of a program that makes use of it.
//!
//! So it is with a library that has a C++ runtime of its own inside, and uses that: what its `new` allocates, the
//! program's `delete` may release.
//!
//! The dynamic linker has written down where it finds each: asking it later would wait for its lock. For the same reason
//! libraries are looked at when the program starts, and those that it loads later are not.

use crate::objects::{self, Names};
use crate::traces::is_own;
use core::ffi::CStr;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

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

/// See [`operators_are_ours`]. Relaxed: it is written once, before the program runs.
static ARE_OURS: AtomicBool = AtomicBool::new(false);

/// Looks for operators that are not ours, in the program and the libraries that are loaded.
///
/// # Safety
/// The process has a single thread, and loads nothing meanwhile.
pub(crate) unsafe fn look_for_operators() {
    const OPERATORS: [&CStr; 4] = [c"_Znwm", c"_Znam", c"_ZdlPv", c"_ZdaPv"];
    /// They have operators, and leave them to be replaced.
    const RUNTIMES: [&str; 2] = ["libstdc++", "libc++"];
    let has_own = |object: &Names| {
        let name = object.own_name().to_bytes();
        let leaves_them = RUNTIMES.into_iter().any(|runtime| name.starts_with(runtime.as_bytes()))
            // Another malloc, which nobody uses beside ours.
            || object.define(c"malloc");
        !is_own(object.address())
            && !leaves_them
            && OPERATORS.into_iter().any(|operator| object.define(operator))
    };
    // SAFETY: the caller's promise.
    let mut libraries = unsafe { objects::loaded() };
    let are_ours = FOUND.into_iter().all(is_own) && !libraries.any(|object| has_own(&object));
    ARE_OURS.store(are_ours, Relaxed);
}

/// Whether the program uses our operators and no others. False, too, where nothing of what is judged makes use of it.
#[inline]
pub(crate) fn operators_are_ours() -> bool {
    ARE_OURS.load(Relaxed)
}
