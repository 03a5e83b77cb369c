//! The C++ programs of `c_tests/`, each a claim about `heapmaster.hpp`.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Link, Program, build, profile};
use std::path::Path;

const FLAGS: &[&str] = &["-Wconversion", "-Wshadow"];

fn compiled(name: &str, flags: &[&str]) -> Program {
    // One profile takes the oldest standard that the header supports, the others a newer one: both are tested, by
    // half the compilations.
    let standard = if profile() == "debug" { "-std=c++17" } else { "-std=c++20" };
    let source = format!("c_tests/{name}.cpp");
    build(source, Link::Shared("heapmaster"), &[&[standard], FLAGS, flags].concat())
}

/// A test for each program, which runs it by itself and under valgrind, and `PROGRAMS`, the list of them.
macro_rules! programs {
    ($($name:ident: $flags:expr;)*) => {
        const PROGRAMS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            let program = compiled(stringify!($name), $flags);
            program.run().succeed();
            if let Some(run) = program.run_under_valgrind() {
                run.succeed();
            }
        })*
    };
}

programs! {
    callables: &[];
    containers: &[];
    containers_out_of_memory: &[];
    error_codes: &[];
    moved_pools: &[];
    pmr_containers: &[];
    unique_ptrs: &[];
    walk_that_throws: &[];
    without_exceptions: &["-fno-exceptions", "-fno-rtti"];
}

#[test]
fn every_program_is_listed() {
    assert_eq!(harness::programs("cpp"), PROGRAMS, "c_tests/ holds other programs than are listed");
}

#[test]
fn the_header_is_for_every_source_of_a_program() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [main, other] = ["main.cpp", "other.cpp"].map(|name| folder.join(name));
    let includes = "#include <heapmaster.hpp>\n#include <heapmaster.hpp>\n";
    std::fs::write(&main, format!("{includes}int other();\nint main() {{ return other(); }}\n"))
        .expect("a source can be written");
    std::fs::write(&other, format!("{includes}int other() {{ return HL_OK; }}\n"))
        .expect("a source can be written");
    let other = other.to_str().expect("target has a UTF-8 path");
    build(main, Link::Static("heapmaster"), &[FLAGS, &[other]].concat()).run().succeed();
}
