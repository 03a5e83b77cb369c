//! HeapMaster behind `malloc`, `free` and `operator new`: a shared library that takes the place of libc's
//! allocator in any program, by `LD_PRELOAD` or by linking.
//!
//! It has no logic of its own. Each exported function checks its arguments as glibc does, asks
//! [`heapmaster::default_pool`], and turns the answer into a pointer and `errno`. What glibc leaves open or
//! does in its own way is said at the function.
//!
//! ```text
//! errno          the calling thread's error number               names nothing else
//! text           messages, made on the stack                     errno
//! settings       what the HEAPMASTER_* variables say             text
//! traces         who allocated and released a sampled block      text
//! misuse         a pointer that the pool refuses                 settings, traces
//! objects        what loaded libraries define                    names nothing else
//! replaced       operators of the program's own                  objects, traces
//! c              malloc, free and their family                   misuse, replaced
//! introspection  mallinfo, malloc_stats, mallopt ...             text
//! runtime        what the process has of the C++ runtime         names nothing else
//! operators      operator new and delete                         c, runtime
//! fork           a child that can allocate                       text
//! faults         accesses to closed memory                       traces
//! dlopen         libraries that would find libc's malloc         text
//! ```
//!
//! Every function here may be called before this library's constructor, by any thread, inside any other
//! function of libc, and for the memory of that very function. Hence the rules:
//! - Nothing allocates. The crate is `no_std`, and there is no global allocator.
//! - Nothing waits for a lock but the pool's own.
//! - No state needs to be set up: the statics start as the defaults, and the constructor only refines them.

#![no_std]

mod c;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod dlopen;
mod errno;
mod faults;
mod fork;
mod introspection;
mod misuse;
mod objects;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod operators;
mod replaced;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod runtime;
mod settings;
mod text;
mod traces;

use core::ffi::{c_char, c_int};
use core::sync::atomic::Ordering::Relaxed;
use heapmaster::cache;

heapmaster::in_place_of_std!();

/// The constructor. It is the first code of the process after the dynamic linker's own (`-z initfirst`, see
/// build.rs), yet usually not our first: the dynamic linker allocates too.
extern "C" fn start(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: glibc passes the environment to constructors, and nothing has changed it this early.
    unsafe { settings::read(environment) };
    cache::set_found_handler(misuse::found_later);
    if settings::wants_hardened() {
        harden();
    } else if settings::wants_spot_checks() {
        // SAFETY: this is the constructor, the first code of the process, and is called once.
        unsafe { cache::spot_check() };
    }
    if let Some(interval) = settings::sample_interval() {
        sample(interval);
    }
    if settings::origins_count() || settings::CHECK_SIZES.load(Relaxed) {
        // SAFETY: this is the constructor, the first code of the process.
        unsafe { replaced::look_for_operators() };
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if settings::keeps_deepbind() {
        dlopen::keep_deepbind();
    }
    fork::register();
    if settings::pages_decay() {
        // SAFETY: this is the constructor, the first code of the process.
        unsafe { heapmaster::enable_decay() };
    }
}

fn harden() {
    // SAFETY: this is the constructor, the first code of the process, and is called once.
    if unsafe { cache::harden() } {
        settings::is_hardened_now();
        faults::watch();
    } else {
        text::say(format_args!("not hardened: the program has allocated too much already"));
    }
}

fn sample(interval: u32) {
    traces::prepare();
    // SAFETY: this is the constructor, the first code of the process, and is called once.
    if unsafe { cache::sample(interval) } {
        faults::watch();
    }
}

/// The destructor.
extern "C" fn finish() {
    if let Some(error) = cache::first_wound() {
        misuse::found_at_exit(&error);
    }
    if settings::statistics_at_exit() {
        introspection::write_last_statistics();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static FINISH: extern "C" fn() = finish;
