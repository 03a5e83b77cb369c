//! The last error of each thread.
//!
//! Not a `thread_local!`, which would bring std, and with it the unwinder, into every program in C. Unlike the word
//! of the cache it is reached through the dynamic linker: a library that a program loads late finds little room in
//! static TLS.

use crate::error::Error;
use core::arch::{asm, global_asm};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;

/// Bytes of a message, the NUL at its end included; longer ones are cut.
pub(super) const MESSAGE: usize = 256;

/// What a thread begins with is all zeros.
struct LastError {
    is_set: Cell<bool>,
    /// Initialised if `is_set`.
    error: Cell<MaybeUninit<Error>>,
    message: UnsafeCell<[u8; MESSAGE]>,
}

const _: () = assert!(align_of::<LastError>() <= 16);

global_asm!(
    ".pushsection .tbss.heapmaster_last_error, \"awT\", @nobits",
    ".balign 16",
    ".globl heapmaster_last_error",
    ".hidden heapmaster_last_error",
    ".type heapmaster_last_error, @object",
    ".size heapmaster_last_error, {size}",
    "heapmaster_last_error:",
    ".zero {size}",
    ".popsection",
    size = const size_of::<LastError>(),
);

/// The calling thread's.
fn with<T>(f: impl FnOnce(&LastError) -> T) -> T {
    let address: *const LastError;
    // SAFETY: the sequence of the general dynamic model, padded as linkers want it that replace it by a shorter one.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            ".byte 0x66",
            "lea rdi, [rip + heapmaster_last_error@TLSGD]",
            ".value 0x6666",
            "rex64",
            "call __tls_get_addr@PLT",
            out("rax") address,
            clobber_abi("C"),
        );
    }
    // SAFETY: the sequence of TLS descriptors, in the order that linkers know.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "adrp x0, :tlsdesc:heapmaster_last_error",
            "ldr x1, [x0, :tlsdesc_lo12:heapmaster_last_error]",
            "add x0, x0, :tlsdesc_lo12:heapmaster_last_error",
            ".tlsdesccall heapmaster_last_error",
            "blr x1",
            "mrs x1, tpidr_el0",
            "add x0, x0, x1",
            out("x0") address,
            clobber_abi("C"),
        );
    }
    // SAFETY: the thread's own, zeros at first, which are a value of the type, and there as long as the thread is.
    f(unsafe { &*address })
}

pub(super) fn set(error: Error) {
    with(|last| {
        last.error.set(MaybeUninit::new(error));
        last.is_set.set(true);
    });
}

pub(super) fn get() -> Option<Error> {
    // SAFETY: `is_set` says that there is one.
    with(|last| last.is_set.get().then(|| unsafe { last.error.get().assume_init() }))
}

/// Calls `write` with the thread's buffer for a message.
pub(super) fn with_message<T>(write: impl FnOnce(&mut [u8; MESSAGE]) -> T) -> T {
    // SAFETY: the buffer is the thread's own, and nobody has borrowed it: `write` calls nothing that comes back here.
    with(|last| write(unsafe { &mut *last.message.get() }))
}
