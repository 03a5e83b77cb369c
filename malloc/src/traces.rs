//! Which calls the program is in, and how a reader finds them in its source: for the records of sampled blocks.
//!
//! The calls are found by the unwinder of GCC's static library (see build.rs): programs of C have no other, and
//! none can be loaded from where memory is allocated.

use crate::text::say;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use heapmaster::cache::{self, Record, Trace};

type Context = *mut c_void;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        step: unsafe extern "C" fn(Context, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: Context) -> usize;
}

/// Has the calls put on record.
pub(crate) fn prepare() {
    cache::set_tracer(trace);
}

/// The calls so far.
struct Calls<'calls> {
    calls: &'calls mut [usize],
    count: usize,
}

fn trace(calls: &mut [usize]) -> usize {
    let mut found = Calls { calls, count: 0 };
    // SAFETY: `step` is given what it expects.
    unsafe { _Unwind_Backtrace(step, (&raw mut found).cast()) };
    found.count
}

unsafe extern "C" fn step(context: Context, found: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const STOP: c_int = 4;
    // SAFETY: the unwinder hands on what `trace` gave it, and a context of its own.
    let (found, call) = unsafe { (&mut *found.cast::<Calls>(), _Unwind_GetIP(context)) };
    if call == 0 {
        return STOP;
    }
    if is_own(call) {
        return GO_ON;
    }
    let Some(place) = found.calls.get_mut(found.count) else { return STOP };
    *place = call;
    found.count += 1;
    GO_ON
}

/// Whether an instruction is one of this library.
fn is_own(instruction: usize) -> bool {
    unsafe extern "C" {
        static __ehdr_start: u8;
        static _end: u8;
    }
    ((&raw const __ehdr_start).addr()..(&raw const _end).addr()).contains(&instruction)
}

/// Says who allocated and released a block.
pub(crate) fn say_record(record: &Record) {
    say_trace("allocated", &record.allocated);
    if record.released.thread != 0 {
        say_trace("released", &record.released);
    }
}

fn say_trace(what: &str, trace: &Trace) {
    say(format_args!("  {what} in thread {}", trace.thread));
    for &call in trace.calls() {
        let mut found = MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: it writes to the struct it is given if it answers that it did. The byte before a return address
        // is one of the call.
        let found = unsafe {
            (libc::dladdr((call - 1) as *const c_void, found.as_mut_ptr()) != 0)
                .then(|| found.assume_init())
        };
        let text = |text: *const c_char| {
            // SAFETY: it is null or a C string of the dynamic linker's.
            NonNull::new(text.cast_mut()).map(|text| unsafe { CStr::from_ptr(text.as_ptr()) })
        };
        let Some(found) = found else {
            say(format_args!("    {call:#x}"));
            continue;
        };
        let file = text(found.dli_fname).unwrap_or(c"?").to_bytes().escape_ascii();
        let offset = call - 1 - found.dli_fbase.addr();
        match text(found.dli_sname) {
            Some(name) => {
                let name = name.to_bytes().escape_ascii();
                say(format_args!("    {call:#x} in {name} ({file}+{offset:#x})"));
            }
            None => say(format_args!("    {call:#x} ({file}+{offset:#x})")),
        }
    }
}
