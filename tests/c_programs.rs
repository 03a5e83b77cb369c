//! The C programs of `c_tests/`, each a claim about the pool, built against the header and the
//! library as a user would build them.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Link, Program, installed};

/// Four tests of each program, and `PROGRAMS`, the list of them.
macro_rules! programs {
    ($($name:ident),* $(,)?) => {
        const PROGRAMS: &[&str] = &[$(stringify!($name)),*];

        mod shared {
            $(#[test] fn $name() { super::run(stringify!($name), super::SHARED); })*
        }

        mod static_ {
            $(#[test] fn $name() { super::run(stringify!($name), super::STATIC); })*
        }

        mod musl {
            $(#[test] fn $name() { super::run_with_musl(stringify!($name)); })*
        }

        mod valgrind {
            $(#[test] fn $name() { super::run_under_valgrind(stringify!($name)); })*
        }
    };
}

programs! {
    alignment,
    bad_sizes,
    batches,
    errors,
    hardened,
    limits,
    many_heaps,
    misuse,
    nothing_outside,
    null_arguments,
    out_of_memory,
    overwritten,
    pool_life_cycle,
    reset,
    resize,
    single_threaded,
    small_heaps,
    statistics,
    stress,
    system_heap,
    threads,
    walk_and_check,
}

const SHARED: Link = Link::Shared("heapmaster");
const STATIC: Link = Link::Static("heapmaster");

fn run(name: &str, link: Link) {
    build(name, link).run().succeed();
}

fn run_with_musl(name: &str) {
    if installed(&["musl-gcc"]) {
        build(name, Link::Musl("heapmaster")).run().fewer_rounds().succeed();
    }
}

fn run_under_valgrind(name: &str) {
    if let Some(run) = build(name, SHARED).run_under_valgrind() {
        // A program that brings its own malloc means it.
        run.env("VALGRIND_OPTS", "--soname-synonyms=somalloc=nouserintercepts").succeed();
    }
}

fn build(name: &str, link: Link) -> Program {
    harness::build(format!("c_tests/{name}.c"), link, &[])
}

#[test]
fn every_program_is_listed() {
    assert_eq!(harness::programs("c"), PROGRAMS, "c_tests/ holds other programs than are listed");
}
