//! What becomes of a panic in a library for C, which has no std to handle it. It is a bug of ours, and ends the
//! process, with a line that says where.

use super::raw;
use core::fmt::{self, Write};
use core::panic::PanicInfo;

/// Says on standard error where the panic was, and aborts. It allocates nothing and takes no lock: the thread may hold
/// the pool's, and may be inside `malloc`.
pub fn last_words(panic: &PanicInfo<'_>) -> ! {
    // Nobody is left to tell that it can't be said.
    let _ = write!(StandardError, "heapmaster: bug in the allocator: {}", panic.message());
    if let Some(place) = panic.location() {
        let _ = write!(StandardError, " ({place})");
    }
    let _ = writeln!(StandardError);
    // SAFETY: a handler of SIGABRT may do what it likes, except allocate.
    unsafe { libc::abort() }
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let arguments = [libc::STDERR_FILENO as usize, text.as_ptr().addr(), text.len()];
        // SAFETY: the text is readable for its length.
        let written = unsafe { raw::call(libc::SYS_write, arguments) };
        if written == text.len() as isize { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Defines what a library for C has to bring in place of std, once for each.
///
/// Rust's core was built to unwind, and names the routine that would be asked at each of its frames. It is weak, for
/// another library in Rust that is linked statically to the same program, and hidden, for all others.
#[doc(hidden)]
#[macro_export]
macro_rules! in_place_of_std {
    () => {
        // Unit tests bring std, also those that there are none of.
        #[cfg(not(test))]
        #[panic_handler]
        fn panic(panic: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::last_words(panic)
        }

        extern "C" fn no_exception_passes() -> ! {
            ::core::panic!("an exception came to a frame of Rust")
        }

        ::core::arch::global_asm!(
            ".weak rust_eh_personality",
            ".hidden rust_eh_personality",
            ".set rust_eh_personality, {routine}",
            routine = sym no_exception_passes,
        );
    };
}
