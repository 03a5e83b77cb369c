//! System heaps under a system that fails: see `c_tests/faults/`.

#[path = "../c_tests/harness.rs"]
mod harness;
#[path = "../c_tests/faults/refuse.rs"]
mod refuse;

use harness::{Link, build};

const LIBRARY: &str = "heapmaster";

fn every_call_refused(call: &str) {
    let program = build("c_tests/faults/refused_heap.c", Link::Shared(LIBRARY), &[]);
    refuse::every_call_refused(LIBRARY, call, 16, &program, "");
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
