//! The committed C header is the generated one, and compiles by itself in every standard it is used with.

#[path = "../c_tests/harness.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::Link;

fn committed_header() -> PathBuf {
    harness::workspace().join("include/heapmaster.h")
}

#[test]
fn is_what_the_generator_prints() {
    let generated = env!("HEAPMASTER_GENERATED_HEADER");
    let expected = fs::read_to_string(generated).expect("the build script has generated it");
    let committed = fs::read_to_string(committed_header()).unwrap_or_default();
    assert!(
        committed == expected,
        "include/heapmaster.h is not what the sources say; to take it over:\n\
         cp {generated} include/heapmaster.h"
    );
}

/// What cbindgen makes a macro of need not be C: Rust constants of any type are among it.
#[test]
fn defines_no_macro_but_flags() {
    let header = fs::read_to_string(committed_header()).expect("the header can be read");
    let foreign: Vec<_> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter(|define| !define.starts_with("HL_") && *define != "HEAPMASTER_H")
        .collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

/// Twice, as two headers of one program may include it, and with nothing before it.
const USES_THE_HEADER: &str =
    "#include <heapmaster.h>\n#include <heapmaster.h>\nint main(void) { return HL_OK; }\n";

#[track_caller]
fn assert_compiles(language: &str, standard: &str) {
    let source =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("header_{standard}.{language}"));
    fs::write(&source, USES_THE_HEADER).expect("a source can be written");
    let flags = [&format!("-std={standard}"), "-Wredundant-decls"];
    harness::build(&source, Link::Nothing, &flags).run().succeed();
}

#[test]
fn compiles_as_c99() {
    assert_compiles("c", "c99");
}

#[test]
fn compiles_as_c11() {
    assert_compiles("c", "c11");
}

/// By the name that compilers know it by which are older than the standard.
#[test]
fn compiles_as_c23() {
    assert_compiles("c", "c2x");
}

#[test]
fn compiles_as_cpp17() {
    assert_compiles("cpp", "c++17");
}
