//! What the hardened mode promises: one line for each error, which names the block; and no line where there is none.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Link, Outcome, Program, build, shared_library};
use std::os::unix::process::ExitStatusExt;
use std::sync::LazyLock;

const LIBRARY: &str = "heapmaster_malloc";

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

/// A case of `c_tests/malloc_hardened.cpp`, and what is said of the pointer after the function that notices.
const REFUSED: [(&str, &str, &str); 38] = [
    ("overflow_by_one", "free", "overrun: byte 0 behind the end of the block of 40 bytes"),
    ("overflow_by_one_large", "free", "overrun: byte 0 behind the end of the block of 200000"),
    ("overflow_found_by_realloc", "realloc", "overrun: byte 1 behind the end"),
    ("overflow_found_by_other_thread", "free", "overrun: byte 3 behind the end"),
    ("underflow", "free", "underrun: the bytes before the block"),
    ("underflow_aligned", "free", "underrun: byte 40 before the block"),
    ("double_free_while_it_waits", "free", "already released"),
    ("double_free_by_other_thread", "free", "already released"),
    ("double_free_after_other_thread", "free", "already released"),
    ("early_block_released_twice", "free", "already released"),
    ("malloc_and_delete", "operator delete", "origin mismatch"),
    ("malloc_and_delete_array", "operator delete", "origin mismatch"),
    ("new_and_free", "free", "origin mismatch"),
    ("new_and_realloc", "realloc", "origin mismatch"),
    ("new_and_delete_array", "operator delete[]", "origin mismatch"),
    ("new_array_and_delete", "operator delete", "origin mismatch"),
    ("new_array_and_free", "free", "origin mismatch"),
    ("aligned_new_and_free", "free", "origin mismatch"),
    ("aligned_new_and_delete_array", "operator delete[]", "origin mismatch"),
    ("aligned_alloc_and_delete", "operator delete", "origin mismatch"),
    ("nothrow_new_and_free", "free", "origin mismatch"),
    ("sized_delete", "operator delete", "size mismatch"),
    ("sized_delete_array", "operator delete", "size mismatch"),
    ("sized_delete_aligned", "operator delete", "size mismatch"),
    ("sized_delete_far_off", "operator delete", "size mismatch"),
    ("new_array_and_sized_delete", "operator delete", "origin mismatch"),
    ("new_and_sized_delete_array", "operator delete[]", "origin mismatch"),
    ("malloc_and_sized_delete", "operator delete", "origin mismatch"),
    ("overflow_found_by_sized_delete", "operator delete", "overrun: byte 0 behind the end"),
    ("overflow_found_by_delete_array", "operator delete", "overrun: byte 0 behind the end"),
    ("sized_delete_twice", "operator delete", "already released"),
    ("delete_array_twice", "operator delete", "already released"),
    ("zero_size_new_and_free", "free", "origin mismatch"),
    ("zero_size_new_array_and_free", "free", "origin mismatch"),
    ("zero_size_malloc_and_delete", "operator delete", "origin mismatch"),
    ("zero_size_new_and_realloc", "realloc", "origin mismatch"),
    // The pool of blocks without bytes refuses it.
    ("zero_size_released_twice", "free", "already released"),
    ("zero_size_released_and_resized", "realloc", "already released"),
];

/// The same of programs that are not hardened, whose first blocks are checked.
const REFUSED_BY_CHECKS: [(&str, &str, &str); 7] = [
    ("overflow_by_one", "free", "overrun: byte 0 behind the end of the block of 40 bytes"),
    ("overflow_found_by_realloc", "realloc", "overrun: byte 1 behind the end"),
    ("overflow_found_by_other_thread", "free", "overrun: byte 3 behind the end"),
    ("underflow", "free", "underrun: the bytes before the block"),
    ("double_free_while_it_waits", "free", "already released"),
    ("double_free_by_other_thread", "free", "already released"),
    ("double_free_after_other_thread", "free", "already released"),
];

/// What is found when nobody makes a call about the block, and how its line begins.
const FOUND: [(&str, &str); 10] = [
    ("overflow_found_at_exit", "found at exit: overrun: byte 0 behind"),
    ("overflow_found_at_exit_without_output", "found at exit: overrun: byte 0 behind"),
    ("overflow_found_at_exit_of_cancelled_thread", "found at exit: overrun: byte 0 behind"),
    ("underflow_found_at_exit", "found at exit: underrun: the bytes before the block"),
    ("write_after_release", "found at exit: written after release"),
    ("write_after_release_found_at_exit", "found at exit: written after release"),
    ("write_after_release_by_ended_thread_found_at_exit", "found at exit: written after release"),
    ("write_after_release_among_live_found_at_exit", "found at exit: written after release"),
    ("write_after_release_and_wait", "found later: written after release"),
    ("write_after_release_before_large", "found later: written after release"),
];

/// The same of programs that are not hardened.
const FOUND_BY_CHECKS: [(&str, &str); 5] = [
    ("overflow_found_at_exit", "found at exit: overrun: byte 0 behind"),
    ("overflow_found_at_exit_without_output", "found at exit: overrun: byte 0 behind"),
    ("overflow_found_at_exit_of_cancelled_thread", "found at exit: overrun: byte 0 behind"),
    ("underflow_found_at_exit", "found at exit: underrun: the bytes before the block"),
    ("write_after_release_found_at_exit", "found at exit: written after release"),
];

/// What ends in a signal, and what is said of the address.
const TOUCHED: [(&str, &str); 7] = [
    ("far_overflow_large", "out of bounds: byte 4096 behind the end of the block of 200000 bytes"),
    ("far_read_large", "out of bounds: byte 4096 behind the end of the block of 200000 bytes"),
    ("far_underflow_large", "out of bounds: byte 8192 before the block of 200000 bytes"),
    ("zero_size_written", "out of bounds: in a block of 0 bytes"),
    ("zero_size_read", "out of bounds: in a block of 0 bytes"),
    ("use_after_release_large", "use after release: in the freed block of 200000 bytes"),
    ("use_after_release_large_by_a_new_thread", "use after release: in the freed block of 200000"),
];

const SOUND: [&str; 11] = [
    "operators_go_together",
    "strings_end_at_the_canary",
    "quarantine_delays_reuse",
    "placement_is_random",
    "sizes_are_exact",
    "early_blocks_are_released_and_resized",
    "threads_that_share_blocks",
    "children_go_on",
    "children_can_have_blocks_without_bytes",
    "zero_size_allocated_and_released",
    "ignored_signals_stay_ignored",
];

/// The compiler must not see through what it does.
static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let first = ["-fno-builtin", "-shared", "-fPIC", "-Wl,-z,initfirst"];
    let library = build("c_tests/malloc_hardened_library.c", Link::Nothing, &first);
    let path = library.path().to_str().expect("target has a UTF-8 path");
    let flags = ["-fno-builtin", "-Wl,--no-as-needed", path];
    build("c_tests/malloc_hardened.cpp", Link::Nothing, &flags)
});

fn run(case: &str, settings: &[(&str, &str)]) -> Outcome {
    let run = PROGRAM.run().arg(case).env("LD_PRELOAD", shared_library(LIBRARY));
    // The first blocks of a program would be sampled, and what is wrong with them found in other ways.
    let run = run.env("HEAPMASTER_SAMPLE", "no");
    settings.iter().fold(run, |run, (name, value)| run.env(name, value)).finish()
}

const HARDENED: (&str, &str) = ("HEAPMASTER_HARDENED", "yes");
const REPORT: (&str, &str) = ("HEAPMASTER_ON_MISUSE", "report");

#[track_caller]
fn assert_one_line(outcome: &Outcome, start: &str) {
    assert!(outcome.stderr.starts_with(start), "not `{start}`: {outcome}");
    assert_eq!(outcome.stderr.matches('\n').count(), 1, "{outcome}");
}

#[track_caller]
fn assert_ended_by(outcome: &Outcome, signal: i32) {
    assert_eq!(outcome.status.and_then(|status| status.signal()), Some(signal), "{outcome}");
}

fn pointer(outcome: &Outcome) -> &str {
    outcome.stdout.lines().next().unwrap_or_default()
}

#[test]
fn a_wrong_call_is_refused_with_the_block_that_it_is_about() {
    for (case, function, what) in REFUSED {
        let outcome = run(case, &[HARDENED]);
        assert_ended_by(&outcome, SIGABRT);
        let start = format!("heapmaster: {function}({}): {what}", pointer(&outcome));
        assert_one_line(&outcome, &start);
    }
}

#[test]
fn a_write_that_no_call_is_about_is_found_later() {
    for (case, what) in FOUND {
        let outcome = run(case, &[HARDENED]);
        assert_ended_by(&outcome, SIGABRT);
        assert_one_line(&outcome, &format!("heapmaster: {what}"));
    }
}

#[test]
fn a_program_that_is_not_hardened_is_told_of_its_first_blocks() {
    for (case, function, what) in REFUSED_BY_CHECKS {
        let outcome = run(case, &[]);
        assert_ended_by(&outcome, SIGABRT);
        let start = format!("heapmaster: {function}({}): {what}", pointer(&outcome));
        assert_one_line(&outcome, &start);
    }
    for (case, what) in FOUND_BY_CHECKS {
        let outcome = run(case, &[]);
        assert_ended_by(&outcome, SIGABRT);
        assert_one_line(&outcome, &format!("heapmaster: {what}"));
    }
}

#[test]
fn what_the_program_has_buffered_is_written_although_it_is_told_at_exit() {
    for settings in [&[HARDENED][..], &[]] {
        let outcome = run("overflow_found_at_exit", settings);
        assert_ended_by(&outcome, SIGABRT);
        assert!(outcome.stdout.ends_with("went on\n"), "{outcome}");
    }
}

#[test]
fn nothing_is_checked_if_the_program_does_not_want_it() {
    for case in ["overflow_by_one", "overflow_found_at_exit", "write_after_release_found_at_exit"] {
        let outcome = run(case, &[("HEAPMASTER_SPOT_CHECKS", "no")]);
        assert!(outcome.success() && outcome.stdout.ends_with("went on\n"), "{outcome}");
        assert_eq!(outcome.stderr, "", "{outcome}");
    }
}

#[test]
fn an_access_to_closed_memory_names_the_block_and_ends_the_program() {
    for (case, what) in TOUCHED {
        let outcome = run(case, &[HARDENED]);
        assert_ended_by(&outcome, SIGSEGV);
        assert_one_line(&outcome, "heapmaster: access to 0x");
        assert!(outcome.stderr.contains(what), "not `{what}`: {outcome}");
        let names_it = outcome.stderr.contains(&format!(" at {} (", pointer(&outcome)));
        let is_empty = case.starts_with("zero_size");
        assert!(names_it || is_empty, "{outcome}");
    }
}

#[test]
fn in_report_mode_the_program_goes_on() {
    let found = FOUND.iter().map(|(case, _)| *case);
    for case in REFUSED.iter().map(|(case, ..)| *case).chain(found) {
        let outcome = run(case, &[HARDENED, REPORT]);
        assert!(outcome.success() && outcome.stdout.ends_with("went on\n"), "{outcome}");
        assert!(outcome.stderr.starts_with("heapmaster: "), "{outcome}");
    }
}

#[test]
fn a_delete_that_is_refused_leaves_the_block() {
    let outcome = run("refused_deletes", &[HARDENED, REPORT]);
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{outcome}");
    for (line, what) in lines.iter().zip(["size mismatch", "origin mismatch"]) {
        assert!(line.contains(what), "not `{what}`: {outcome}");
    }
}

#[test]
fn each_refused_call_is_counted() {
    for (case, function, _) in REFUSED {
        for sample in ["no", "1"] {
            let settings = [
                HARDENED,
                REPORT,
                ("HEAPMASTER_SAMPLE", sample),
                ("HEAPMASTER_STATS_AT_EXIT", "yes"),
            ];
            let outcome = run(case, &settings);
            // What a sampled block is written beside may fault.
            if outcome.success() {
                let start = format!("heapmaster: {function}(");
                let refused = outcome.stderr.lines().filter(|line| line.starts_with(&start));
                let count = format!("misuses          = {:>20}\n", refused.count());
                assert!(outcome.stderr.contains(&count), "not `{count}`: {outcome}");
            } else {
                assert!(sample == "1", "{outcome}");
                assert_ended_by(&outcome, SIGSEGV);
            }
        }
    }
}

#[test]
fn what_is_sound_is_not_reported() {
    for case in SOUND {
        let outcome = run(case, &[HARDENED]);
        assert!(outcome.success() && outcome.stdout.ends_with("went on\n"), "{outcome}");
        assert_eq!(outcome.stderr, "", "{outcome}");
    }
}

#[test]
fn a_program_with_operators_of_its_own_in_part_is_not_reported() {
    for own in ["NEW", "LARGER_NEW", "DELETE", "NEW_ARRAY", "DELETE_ARRAY"] {
        let define = format!("-D{own}");
        let program = build(
            "c_tests/malloc_operators_in_part.cpp",
            Link::Nothing,
            &["-fno-builtin", &define],
        );
        for setting in [HARDENED, ("HEAPMASTER_CHECK_SIZES", "yes")] {
            let library = shared_library(LIBRARY);
            let run = program.run().env("LD_PRELOAD", library).env(setting.0, setting.1);
            let outcome = run.succeed();
            assert_eq!(outcome.stderr, "", "{own}: {outcome}");
        }
    }
}

/// By size class, that is: one that is a little off can't be told without an armour.
#[test]
fn sizes_can_be_checked_without_hardening() {
    let check = ("HEAPMASTER_CHECK_SIZES", "yes");
    let no_spot_checks = ("HEAPMASTER_SPOT_CHECKS", "no");
    for (case, is_found) in
        [("sized_delete_far_off", true), ("sized_delete_array", true), ("sized_delete", false)]
    {
        let outcome = run(case, &[check, no_spot_checks]);
        if is_found {
            assert_ended_by(&outcome, SIGABRT);
            let start =
                format!("heapmaster: operator delete({}): size mismatch", pointer(&outcome));
            assert_one_line(&outcome, &start);
        } else {
            assert!(outcome.success() && outcome.stderr.is_empty(), "{outcome}");
        }
        let unchecked = run(case, &[]);
        assert!(unchecked.success() && unchecked.stderr.is_empty(), "{unchecked}");
    }
}

#[test]
fn a_report_about_a_sampled_block_says_who_allocated_and_released_it() {
    let program = build("c_tests/malloc_misuse.c", Link::Nothing, &["-fno-builtin", "-w"]);
    let run = program.run().arg("double_free").env("LD_PRELOAD", shared_library(LIBRARY));
    let outcome = run.env("HEAPMASTER_SAMPLE", "1").finish();
    assert_ended_by(&outcome, SIGABRT);
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert!(lines[0].contains("): already released: "), "{outcome}");
    for what in ["allocated", "released"] {
        let said = format!("heapmaster:   {what} in thread ");
        let at = lines.iter().position(|line| line.starts_with(&said));
        let at = at.unwrap_or_else(|| panic!("nothing is said to be {what}: {outcome}"));
        assert!(lines[at + 1].contains("(the program+0x"), "{outcome}");
    }
}

#[test]
fn code_that_nobody_can_unwind_may_have_sampled_blocks() {
    let program = build("c_tests/malloc_unknown_code.c", Link::Nothing, &["-fno-builtin"]);
    for interval in ["1", "1000"] {
        let run = program.run().env("LD_PRELOAD", shared_library(LIBRARY));
        run.env("HEAPMASTER_SAMPLE", interval).succeed();
    }
}
