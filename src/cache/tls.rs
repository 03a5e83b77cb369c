//! The one word that each thread has of its own: where its cache is.
//!
//! A word in static TLS is read by two instructions, and by no call. A `thread_local!` of a shared library is
//! reached through `__tls_get_addr`, which may allocate. Stable Rust has no words for it, the assembler has.

use super::Cache;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .tdata.heapmaster_cache, \"awT\", @progbits",
    ".balign 8",
    ".globl heapmaster_cache",
    ".hidden heapmaster_cache",
    ".type heapmaster_cache, @object",
    ".size heapmaster_cache, 8",
    "heapmaster_cache:",
    ".quad {unset}",
    ".popsection",
    unset = sym super::UNSET,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".pushsection .tdata.heapmaster_cache, \"awT\", @progbits",
    ".balign 8",
    ".globl heapmaster_cache",
    ".hidden heapmaster_cache",
    ".type heapmaster_cache, @object",
    ".size heapmaster_cache, 8",
    "heapmaster_cache:",
    ".xword {unset}",
    ".popsection",
    unset = sym super::UNSET,
);

/// The calling thread's cache.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn get() -> &'static Cache {
    let cache: *const Cache;
    // SAFETY: it reads the thread's word, which only this module writes, and never with anything but the
    // address of a cache, none of which is ever freed.
    unsafe {
        core::arch::asm!(
            "mov {cache}, qword ptr [rip + heapmaster_cache@GOTTPOFF]",
            "mov {cache}, qword ptr fs:[{cache}]",
            cache = out(reg) cache,
            options(pure, readonly, nostack, preserves_flags),
        );
        &*cache
    }
}

/// Makes this the calling thread's cache.
#[cfg(target_arch = "x86_64")]
pub(super) fn set(cache: &'static Cache) {
    // SAFETY: it writes the thread's word, which only this module reads.
    unsafe {
        core::arch::asm!(
            "mov {offset}, qword ptr [rip + heapmaster_cache@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {cache}",
            offset = out(reg) _,
            cache = in(reg) core::ptr::from_ref(cache),
            options(nostack, preserves_flags),
        );
    }
}

/// The calling thread's cache.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) fn get() -> &'static Cache {
    let cache: *const Cache;
    // SAFETY: as on x86-64.
    unsafe {
        core::arch::asm!(
            "mrs {thread}, tpidr_el0",
            "adrp {cache}, :gottprel:heapmaster_cache",
            "ldr {cache}, [{cache}, :gottprel_lo12:heapmaster_cache]",
            "ldr {cache}, [{thread}, {cache}]",
            thread = out(reg) _,
            cache = out(reg) cache,
            options(pure, readonly, nostack, preserves_flags),
        );
        &*cache
    }
}

/// Makes this the calling thread's cache.
#[cfg(target_arch = "aarch64")]
pub(super) fn set(cache: &'static Cache) {
    // SAFETY: as on x86-64.
    unsafe {
        core::arch::asm!(
            "mrs {thread}, tpidr_el0",
            "adrp {offset}, :gottprel:heapmaster_cache",
            "ldr {offset}, [{offset}, :gottprel_lo12:heapmaster_cache]",
            "str {cache}, [{thread}, {offset}]",
            thread = out(reg) _,
            offset = out(reg) _,
            cache = in(reg) core::ptr::from_ref(cache),
            options(nostack, preserves_flags),
        );
    }
}
