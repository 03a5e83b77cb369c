//! Which calls the program is in, and how a reader finds them in its source: for the records of sampled blocks.
//!
//! The calls are found by the unwinder of GCC's static library (see build.rs): programs of C have no other, and
//! none can be loaded from where memory is allocated.

use crate::text::say;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use heapmaster::cache::{self, Record, Trace};

#[cfg(target_arch = "x86_64")]
macro_rules! undefined_return {
    () => {
        ".cfi_undefined rip"
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! undefined_return {
    () => {
        ".cfi_undefined x30"
    };
}

type Context = *mut c_void;

unsafe extern "C" {
    fn _Unwind_Backtrace(
        step: unsafe extern "C" fn(Context, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: Context) -> usize;
}

// Where a call returns to no function that the unwinder knows, it would read the instructions there. On stacks that
// a program has set up by itself the last address may be none, so for such it is told what it finds at the end of a
// thread: a function from which there is no return.
core::arch::global_asm!(
    ".pushsection .text.unlikely.heapmaster_end_of_calls, \"ax\", @progbits",
    ".hidden heapmaster_end_of_calls",
    ".globl heapmaster_end_of_calls",
    ".type heapmaster_end_of_calls, @function",
    "heapmaster_end_of_calls:",
    ".cfi_startproc",
    undefined_return!(),
    "nop",
    "nop",
    ".cfi_endproc",
    ".size heapmaster_end_of_calls, . - heapmaster_end_of_calls",
    ".popsection",
);

unsafe extern "C" {
    fn heapmaster_end_of_calls();
    /// The unwinder's own (see build.rs).
    #[link_name = "__real__Unwind_Find_FDE"]
    fn find_function(instruction: *mut c_void, bases: *mut Bases) -> *const c_void;
}

#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "jmp"
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "b"
    };
}

core::arch::global_asm!(
    ".pushsection .text.unlikely.heapmaster_find_function, \"ax\", @progbits",
    ".hidden __wrap__Unwind_Find_FDE",
    ".globl __wrap__Unwind_Find_FDE",
    ".type __wrap__Unwind_Find_FDE, @function",
    "__wrap__Unwind_Find_FDE:",
    concat!(jump!(), " {find}"),
    ".size __wrap__Unwind_Find_FDE, . - __wrap__Unwind_Find_FDE",
    ".popsection",
    find = sym find_function_or_end,
);

/// What else the unwinder is told of a function: where two sections begin, and the function itself.
type Bases = [*mut c_void; 3];
const FUNCTION: usize = 2;

/// What the unwinder calls instead, by a name that the linker alone knows.
unsafe extern "C" fn find_function_or_end(
    instruction: *mut c_void,
    bases: *mut Bases,
) -> *const c_void {
    // SAFETY: passed on to the caller.
    unsafe {
        let found = find_function(instruction, bases);
        if !found.is_null() {
            return found;
        }
        let end = find_function((heapmaster_end_of_calls as *mut c_void).byte_add(1), bases);
        // What is told of the function holds from its start on, which has to be before the instruction.
        (*bases)[FUNCTION] = core::ptr::null_mut();
        end
    }
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
pub(crate) fn is_own(instruction: usize) -> bool {
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
        match Module::of(call - 1) {
            Some(Module { name, base }) => {
                let name = if name.is_empty() { b"the program" } else { name };
                let offset = call - 1 - base;
                say(format_args!("    {call:#x} ({}+{offset:#x})", name.escape_ascii()));
            }
            None => say(format_args!("    {call:#x}")),
        }
    }
}

/// A program or library in the process.
struct Module {
    name: &'static [u8],
    base: usize,
}

/// What the dynamic linker answers about an address; of `dlfcn.h`.
#[repr(C)]
struct Found {
    flags: u64,
    start: *mut c_void,
    end: *mut c_void,
    link_map: *const LinkMap,
    unwinding: *mut c_void,
    reserved: [u64; 7],
}

/// The beginning of what the dynamic linker knows of a module; of `link.h`.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
}

unsafe extern "C" {
    /// It takes no lock, and may be called by a signal handler (glibc 2.35).
    fn _dl_find_object(address: *const c_void, found: *mut Found) -> c_int;
}

impl Module {
    fn of(address: usize) -> Option<Module> {
        let mut found = MaybeUninit::<Found>::uninit();
        // SAFETY: it writes to the struct it is given if it answers 0; then there is a module, which is not
        // unloaded while calls into it are on record, or we can't know better.
        unsafe {
            if _dl_find_object(address as *const c_void, found.as_mut_ptr()) != 0 {
                return None;
            }
            let map = found.assume_init().link_map.as_ref()?;
            let name = NonNull::new(map.name.cast_mut())?;
            Some(Module { name: CStr::from_ptr(name.as_ptr()).to_bytes(), base: map.base })
        }
    }
}
