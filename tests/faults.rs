//! System heaps under a system that fails: see `c_tests/faults/`.

#[path = "../c_tests/harness.rs"]
mod harness;
#[path = "../c_tests/faults/refuse.rs"]
mod refuse;

use harness::{Link, build, shared_library};
use std::env;

const LIBRARY: &str = "heapmaster";

fn every_call_refused(call: &str) {
    let program = build("c_tests/faults/refused_heap.c", Link::Shared(LIBRARY), &[]);
    let all = if env::var_os("HEAPMASTER_LONG").is_some() { usize::MAX } else { 8 };
    refuse::every_call_refused(LIBRARY, call, all, &program, "");
}

#[test]
fn pools_with_system_heaps_survive_every_refused_mmap() {
    every_call_refused("mmap");
}

#[test]
fn pools_with_system_heaps_survive_every_refused_mprotect() {
    every_call_refused("mprotect");
}

#[test]
fn pools_with_system_heaps_survive_every_refused_madvise() {
    every_call_refused("madvise");
}

#[test]
fn the_library_can_be_opened_a_thousand_times() {
    let program = build("c_tests/faults/reloaded.c", Link::Nothing, &["-fno-builtin"]);
    program.run().arg(shared_library(LIBRARY)).succeed();
}
