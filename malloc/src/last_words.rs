//! What becomes of a panic. It is a bug of ours, and ends the process: with a line that says where.
//!
//! The standard library's own way would allocate, for the message and more. It would do so by `malloc`, that is,
//! by us, and the thread that panicked may hold the pool's lock: it would wait for itself for ever, and the bug
//! would look like a hang. So Rust's global allocator is a bit of static memory here, enough for a message.
//! Nothing else uses it, or it would show: it is never given back, and soon at its end.

extern crate std;

use crate::text::say;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::boxed::Box;
use std::panic::{PanicHookInfo, set_hook};
use std::string::String;

/// Takes the place of the standard library's report of a panic, which would look for symbols of every frame.
pub(crate) fn prepare() {
    // A function without captures takes no memory in its box.
    set_hook(Box::new(say_and_abort));
}

fn say_and_abort(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("panic");
    match panic.location() {
        Some(place) => say(format_args!("bug in the allocator: {message} ({place})")),
        None => say(format_args!("bug in the allocator: {message}")),
    }
    // SAFETY: a handler of SIGABRT may do what it likes, except allocate.
    unsafe { libc::abort() };
}

const SIZE: usize = 8 << 10;
const ALIGNMENT: usize = 16;

#[repr(align(16))]
struct LastWords {
    memory: UnsafeCell<[u8; SIZE]>,
    /// Bytes handed out. Relaxed: whoever moves it on owns what it moved over, and nobody else looks there.
    used: AtomicUsize,
}

// SAFETY: no byte of the memory is handed out twice.
unsafe impl Sync for LastWords {}

#[global_allocator]
static LAST_WORDS: LastWords =
    LastWords { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: blocks are disjoint, as `used` only grows; aligned, as all sizes are rounded up to the alignment; and
// live for ever.
unsafe impl GlobalAlloc for LastWords {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size().next_multiple_of(ALIGNMENT);
        if layout.align() > ALIGNMENT || size > SIZE {
            return null_mut();
        }
        let start = self.used.fetch_add(size, Relaxed);
        if start > SIZE - size {
            return null_mut();
        }
        // SAFETY: start + size <= SIZE.
        unsafe { self.memory.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
