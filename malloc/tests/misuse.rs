//! A pointer that is no live block of ours is refused, by whatever function and in one line; then the settings
//! decide whether the program goes on.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Link, Outcome, Program, Run, build, shared_library};
use std::os::unix::process::ExitStatusExt;
use std::sync::LazyLock;

const LIBRARY: &str = "heapmaster_malloc";

const SIGABRT: i32 = 6;

/// A case of `c_tests/malloc_misuse.c`, the function that notices, and what it says the pointer is.
const CASES: [(&str, &str, &str); 28] = [
    ("double_free", "free", "already released"),
    ("double_free_large", "free", "already released"),
    ("double_free_later", "free", "already released"),
    ("double_free_after_other_thread", "free", "already released"),
    ("double_free_by_other_thread", "free", "already released"),
    ("double_free_by_two_other_threads", "free", "already released"),
    ("free_inside_by_other_thread", "free", "interior pointer"),
    ("free_inside", "free", "interior pointer"),
    ("free_inside_by_one", "free", "interior pointer"),
    ("free_inside_large", "free", "interior pointer"),
    ("free_before", "free", "not in the pool"),
    ("free_before_overwritten", "free", "underrun"),
    ("realloc_before", "realloc", "not in the pool"),
    ("usable_size_of_before", "malloc_usable_size", "not in the pool"),
    ("free_wild", "free", "not in the pool"),
    ("free_wild_high", "free", "not in the pool"),
    ("free_stack", "free", "not in the pool"),
    ("free_static", "free", "not in the pool"),
    ("free_foreign", "free", "not in the pool"),
    ("free_code", "free", "not in the pool"),
    ("free_from_other_pool", "free", "other pool"),
    ("free_sized_wrongly", "free_sized", "size mismatch"),
    ("realloc_released", "realloc", "already released"),
    ("realloc_inside", "realloc", "interior pointer"),
    ("realloc_foreign", "realloc", "not in the pool"),
    ("realloc_released_to_nothing", "realloc", "already released"),
    ("usable_size_of_released", "malloc_usable_size", "already released"),
    ("usable_size_of_wild", "malloc_usable_size", "not in the pool"),
];

fn run(case: &str, setting: Option<&str>) -> Outcome {
    with(preloaded(case), setting).finish()
}

fn preloaded(case: &str) -> Run {
    static PROGRAM: LazyLock<Program> = LazyLock::new(|| program(Link::Nothing));
    PROGRAM.run().arg(case).env("LD_PRELOAD", shared_library(LIBRARY))
}

/// The compiler must not see through what it does.
fn program(link: Link) -> Program {
    build("c_tests/malloc_misuse.c", link, &["-fno-builtin", "-w"])
}

fn with(run: Run, setting: Option<&str>) -> Run {
    match setting {
        Some(value) => run.env("HEAPMASTER_ON_MISUSE", value),
        None => run,
    }
}

/// The one line that a case must print.
#[track_caller]
fn assert_reported(outcome: &Outcome, function: &str, what: &str) {
    let pointer = outcome.stdout.lines().next().unwrap_or_default();
    let start = format!("heapmaster: {function}({pointer}): {what}");
    assert!(outcome.stderr.starts_with(&start), "not `{start}`: {outcome}");
    assert_eq!(outcome.stderr.matches('\n').count(), 1, "{outcome}");
    assert!(outcome.stderr.ends_with('\n'), "{outcome}");
}

fn aborted(outcome: &Outcome) -> bool {
    outcome.status.is_some_and(|status| status.signal() == Some(SIGABRT))
}

fn went_on(outcome: &Outcome) -> bool {
    outcome.success() && outcome.stdout.ends_with("went on\n")
}

#[test]
fn it_is_reported_and_aborts_unless_told_otherwise() {
    for (case, function, what) in CASES {
        for setting in [None, Some("abort"), Some("")] {
            let outcome = run(case, setting);
            assert!(aborted(&outcome), "{outcome}");
            assert_reported(&outcome, function, what);
        }
    }
}

#[test]
fn it_is_reported_and_the_program_goes_on() {
    for (case, function, what) in CASES {
        let outcome = run(case, Some("report"));
        assert!(went_on(&outcome), "{outcome}");
        assert_reported(&outcome, function, what);
    }
}

#[test]
fn it_is_ignored_without_a_word() {
    for (case, ..) in CASES {
        let outcome = run(case, Some("ignore"));
        assert!(went_on(&outcome), "{outcome}");
        assert_eq!(outcome.stderr, "", "{outcome}");
    }
}

#[test]
fn a_hardened_program_is_told_the_same() {
    for (case, function, what) in CASES {
        let outcome = preloaded(case)
            .env("HEAPMASTER_HARDENED", "yes")
            .env("HEAPMASTER_SAMPLE", "no")
            .finish();
        assert!(aborted(&outcome), "{outcome}");
        assert_reported(&outcome, function, what);
    }
}

#[test]
fn a_linked_program_is_told_the_same() {
    let program = program(Link::Shared(LIBRARY));
    for (case, function, what) in CASES {
        let outcome = program.run().arg(case).finish();
        assert!(aborted(&outcome), "{outcome}");
        assert_reported(&outcome, function, what);
    }
}
