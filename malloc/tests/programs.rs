//! Each C and C++ program of `c_tests/malloc_*` runs linked to the library, preloaded with it, and so in the hardened
//! mode.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Link, Outcome, Program, Run, build, shared_library};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// The library's name for the linker.
const LIBRARY: &str = "heapmaster_malloc";

/// The compiler must not know what malloc and the others do, or it leaves calls out. Nor may the linker leave
/// out a library because a program calls no function of it by name.
const FLAGS: &[&str] = &["-fno-builtin", "-Wl,--no-as-needed"];

const SIGABRT: i32 = 6;

fn linked(source: &str, flags: &[&str]) -> Run {
    compiled(source, Link::Shared(LIBRARY), flags).run()
}

fn preloaded(source: &str, flags: &[&str]) -> Run {
    compiled(source, Link::Nothing, flags).run().env("LD_PRELOAD", shared_library(LIBRARY))
}

fn compiled(source: &str, link: Link, flags: &[&str]) -> Program {
    build(format!("c_tests/{source}"), link, &[FLAGS, flags].concat())
}

/// A shared library of the test's own, by its path.
fn library(source: &str) -> String {
    library_with(source, &[])
}

fn library_with(source: &str, flags: &[&str]) -> String {
    let library = compiled(source, Link::Nothing, &[&["-shared", "-fPIC"], flags].concat());
    library.path().to_str().expect("target has a UTF-8 path").to_owned()
}

/// What has a program look for libraries where this one is.
fn looks_beside(library: &str) -> String {
    let folder = Path::new(library).parent().expect("a file is in a folder");
    format!("-Wl,-rpath,{}", folder.display())
}

/// A library that uses the C++ runtime that it has inside, whatever others the program has.
const OWN_RUNTIME: &[&str] = &["-static-libstdc++", "-Wl,-Bsymbolic-functions"];
const WITH_AN_OLD_TABLE: &[&str] =
    &["-static-libstdc++", "-Wl,-Bsymbolic-functions,--hash-style=sysv"];

/// A module with a test of each program for each way to run it.
macro_rules! programs {
    ($($name:ident: $source:literal, $flags:expr, $arguments:expr $(, $hardened:ident)?;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn linked() {
                super::linked($source, $flags).args($arguments).succeed();
            }

            #[test]
            fn preloaded() {
                super::preloaded($source, $flags).args($arguments).succeed();
            }

            $(
                #[test]
                fn $hardened() {
                    let run = super::preloaded($source, $flags).args($arguments);
                    run.env("HEAPMASTER_HARDENED", "yes").succeed();
                }
            )?
        }
    )+};
}

const NONE: [&str; 0] = [];
const IN_MID_FLIGHT: [&str; 1] = ["in mid-flight"];
const EXCHANGE: [&str; 1] = ["exchange"];
const DATA: [&str; 1] = ["data"];

programs! {
    every_function_is_replaced: "malloc_replaced.c", &[], NONE, hardened;
    wrappers_of_the_program: "malloc_wrapped.c", &[], NONE, hardened;
    glibc_semantics: "malloc_semantics.c", &[], NONE, hardened;
    threads: "malloc_threads.c", &[], NONE, hardened;
    stress: "malloc_stress.c", &[], NONE, hardened;
    caches: "malloc_caches.c", &[], NONE, hardened;
    stashes: "malloc_stash.c", &[], NONE;
    blocks_that_threads_exchange: "malloc_stash.c", &[], EXCHANGE, hardened;
    heaps_of_the_program: "malloc_heaps.c", &[], NONE, hardened;
    blocks_that_move: "malloc_moves.c", &[], NONE;
    callbacks: "malloc_callbacks.c", &[], NONE, hardened;
    fork: "malloc_fork.c", &[&library("malloc_fork_library.c")], NONE, hardened;
    first_calls_on_small_stacks: "malloc_small_stacks.c", &["-Wl,-z,now"], NONE, hardened;
    before_main_and_after: "malloc_early.c", &[], NONE, hardened;
    freed_pages_decay: "malloc_decay.c", &[], NONE, hardened;
    introspection: "malloc_introspection.c", &[], NONE, hardened;
    address_space_limited_from_the_start: "malloc_limits.c", &[], NONE, hardened;
    address_space_limited_in_mid_flight: "malloc_limits.c", &[], IN_MID_FLIGHT;
    data_limited_from_the_start: "malloc_limits.c", &[], DATA, hardened;
    operators: "malloc_operators.cpp", &[], NONE, hardened;
    operators_of_the_program: "malloc_operators_replaced.cpp", &[], NONE, hardened;
    bound_deeply: "malloc_deepbind.c", &[&looks_beside(&library("malloc_deepbind_library.c"))],
        [library("malloc_deepbind_library.c")], hardened;
    a_library_with_a_cpp_runtime_inside: "malloc_own_runtime.cpp",
        &[&library_with("malloc_own_runtime_library.cpp", OWN_RUNTIME)], NONE, hardened;
    a_library_with_a_cpp_runtime_and_an_old_table: "malloc_own_runtime.cpp",
        &[&library_with("malloc_own_runtime_library.cpp", WITH_AN_OLD_TABLE)], NONE, hardened;
    plugin_in_cpp: "malloc_plugin.c", &[], [library("malloc_plugin_library.cpp")], hardened;
}

#[test]
fn bound_deeply_if_the_settings_say_so() {
    let library = library("malloc_deepbind_library.c");
    let run = preloaded("malloc_deepbind.c", &[&looks_beside(&library)]).arg(library);
    run.env("HEAPMASTER_DEEPBIND", "keep").succeed();
}

#[test]
fn loaded_by_dlopen_it_is_a_second_allocator() {
    compiled("malloc_dlopen.c", Link::Nothing, &[]).run().arg(shared_library(LIBRARY)).succeed();
}

#[test]
fn operator_new_without_a_cpp_runtime_says_so_and_aborts() {
    for run in [linked("malloc_plugin.c", &[]), preloaded("malloc_plugin.c", &[])] {
        let outcome = run.finish();
        assert!(aborted(&outcome), "{outcome}");
        assert_eq!(
            outcome.stderr,
            "heapmaster: operator new: out of memory, and no C++ runtime to throw std::bad_alloc\n"
        );
    }
}

fn aborted(outcome: &Outcome) -> bool {
    outcome.status.is_some_and(|status| status.signal() == Some(SIGABRT))
}
