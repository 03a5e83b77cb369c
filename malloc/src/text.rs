//! Text of bounded length, made on the stack: whatever this library has to say, it says without memory.

use crate::errno;
use core::fmt;

/// Holds up to `N` bytes. What does not fit is dropped.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.length..];
        let taken = text.len().min(free.len());
        free[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// The longest line: a message, a pointer and a sentence about it.
const LINE: usize = 320;

/// Writes `heapmaster: `, the message and a newline on standard error, in one piece, so that the lines of
/// several threads don't mix.
pub(crate) fn say(message: fmt::Arguments<'_>) {
    let mut line = Text::<LINE>::new();
    // A message that is too long is cut; there is nobody to tell.
    let _ = fmt::write(&mut line, format_args!("heapmaster: {message}"));
    line.length = line.length.min(LINE - 1);
    let _ = fmt::Write::write_str(&mut line, "\n");
    write_to_standard_error(line.as_bytes());
}

/// Writes all of it, as far as standard error takes it.
pub(crate) fn write_to_standard_error(mut bytes: &[u8]) {
    errno::kept(|| {
        while !bytes.is_empty() {
            // Not libc's `write`, at which a thread can be cancelled: `free` is no such point.
            // SAFETY: `bytes` is readable for its length.
            let written = unsafe {
                libc::syscall(libc::SYS_write, libc::STDERR_FILENO, bytes.as_ptr(), bytes.len())
            };
            match usize::try_from(written) {
                Ok(written) if written > 0 => bytes = &bytes[written.min(bytes.len())..],
                _ => break,
            }
        }
    });
}
