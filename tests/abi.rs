//! What programs were built with stays: the names that leave the library are those of `packaging/abi/*.symbols`, and
//! their types those of the last release, whose dump lies beside.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Outcome, Run, exported_symbols, installed, listed_symbols, workspace};
use std::fs;
use std::path::{Path, PathBuf};

/// The dump of the last release.
const RELEASED: &str = "packaging/abi/heapmaster-0.1.0.abi";

#[test]
fn the_functions_that_are_listed_are_all_that_it_exports() {
    let exported = exported_symbols("heapmaster");
    assert_eq!(exported, listed_symbols("heapmaster"), "see packaging/abi/libheapmaster.symbols");
    assert!(exported.iter().all(|name| name.starts_with("hl_")), "{exported:?}");
}

#[test]
fn programs_built_against_the_last_release_need_not_be_built_again() {
    if let Some(dump) = dump("now", |header| header) {
        let outcome = compare(&dump);
        assert!(
            outcome.success(),
            "{outcome}\nIf programs can't notice, as when a struct has grown at its end, take it over:\n\
             cp {} {RELEASED}",
            dump.display()
        );
    }
}

#[test]
fn a_function_or_a_status_more_is_no_change() {
    assert_accepted(
        "function",
        "hl_status hl_pool_check(",
        "int hl_new(void);\nhl_status hl_pool_check(",
    );
    let last = "HL_ERR_ORIGIN_MISMATCH = 22,";
    assert_accepted("status", last, &format!("{last}\n  HL_ERR_NEW = 23,"));
}

#[test]
fn a_change_that_programs_notice_is_found() {
    assert_refused("parameter", "bool hl_owns(struct hl_pool *pool,", "bool hl_owns(");
    assert_refused("result", "bool hl_owns(", "long hl_owns(");
    assert_refused("member", "  uint32_t flags;", "  uint64_t flags;");
    assert_refused("order", "  size_t heaps;", "  size_t more;\n  size_t heaps;");
    assert_refused("number", "HL_ERR_SYSTEM = 18,", "HL_ERR_SYSTEM = 19,");
    assert_refused("callback", "(const struct hl_block_info *block,", "(int block,");
}

#[track_caller]
fn assert_accepted(name: &str, from: &str, to: &str) {
    if let Some(dump) = dump(name, |header| replaced(&header, from, to)) {
        compare(&dump).assert_success();
    }
}

#[track_caller]
fn assert_refused(name: &str, from: &str, to: &str) {
    if let Some(dump) = dump(name, |header| replaced(&header, from, to)) {
        let outcome = compare(&dump);
        assert!(!outcome.success() && outcome.stdout.contains("1 Changed"), "{outcome}");
    }
}

#[track_caller]
fn replaced(header: &str, from: &str, to: &str) -> String {
    assert!(header.contains(from), "the header has no \"{from}\"");
    header.replacen(from, to, 1)
}

fn compare(dump: &Path) -> Outcome {
    let released = workspace().join(RELEASED);
    Run::new("abidiff")
        .args(["--no-architecture", "--no-added-syms"])
        .arg(released)
        .arg(dump)
        .finish()
}

/// Dumps the types of all functions of a header, made of the one that there is. `None` where a program is missing.
///
/// Not of the library itself: its debug information tells Rust's types, with all that is behind an opaque pointer. The
/// header tells what C programs are built with, and a test of its own that it is what the library has.
#[track_caller]
fn dump(name: &str, header: impl FnOnce(String) -> String) -> Option<PathBuf> {
    if !installed(&["cc", "abidw", "abidiff"]) {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abi").join(name);
    fs::create_dir_all(&folder).expect("a folder can be created");
    let committed =
        fs::read_to_string(workspace().join("include/heapmaster.h")).expect("it is there");
    fs::write(folder.join("heapmaster.h"), header(committed)).expect("a header can be written");
    let mut source = String::from("#include \"heapmaster.h\"\n");
    for function in listed_symbols("heapmaster") {
        source += &format!("__typeof__(&{function}) {function}_ = {function};\n");
    }
    source += "enum hl_status hl_status_;\nenum hl_block_state hl_block_state_;\n";
    fs::write(folder.join("surface.c"), source).expect("a source can be written");

    let run = |program: &str| {
        let mut run = Run::new(program);
        run.command.current_dir(&folder);
        run
    };
    run("cc").args(["-g", "-shared", "-fPIC", "surface.c", "-o", "surface.so"]).succeed();
    let plain = ["--no-architecture", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs"];
    run("abidw")
        .args(plain)
        .args(["--no-elf-needed", "--out-file", "dump.abi", "surface.so"])
        .succeed();
    Some(folder.join("dump.abi"))
}
