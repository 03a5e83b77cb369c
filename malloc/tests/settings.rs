//! The `HEAPMASTER_*` variables: what they change, and when they don't.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Link, Run, build, shared_library};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;

const LIBRARY: &str = "heapmaster_malloc";

fn echo() -> Run {
    Run::new("/bin/echo").arg("text").env("LD_PRELOAD", shared_library(LIBRARY))
}

#[test]
fn by_default_nothing_is_said() {
    let outcome = echo().succeed();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("text\n", ""));
}

#[test]
fn an_unknown_value_is_named_and_ignored() {
    let outcome = echo().env("HEAPMASTER_ON_MISUSE", "abrot\n").succeed();
    assert_eq!(
        outcome.stderr,
        "heapmaster: HEAPMASTER_ON_MISUSE=abrot\\n is unknown and ignored; \
         the values are abort (default), report, ignore\n"
    );
}

#[test]
fn a_very_long_value_is_cut() {
    let outcome = echo().env("HEAPMASTER_ON_MISUSE", "x".repeat(5000)).succeed();
    assert!(outcome.stderr.starts_with("heapmaster: HEAPMASTER_ON_MISUSE=xxx"), "{outcome}");
    assert!(outcome.stderr.len() < 400 && outcome.stderr.ends_with("x\n"), "{outcome}");
}

#[test]
fn names_that_only_resemble_a_setting_are_left_alone() {
    let outcome = echo()
        .env("HEAPMASTER_ON_MISUSE_", "wrong")
        .env("XHEAPMASTER_ON_MISUSE", "wrong")
        .env("HEAPMASTER_ON_MISUS", "wrong")
        .env("HEAPMASTER_ON_MISUSE", "")
        .succeed();
    assert_eq!(outcome.stderr, "");
}

#[test]
fn help_lists_every_setting_with_its_values() {
    let outcome = echo().env("HEAPMASTER_HELP", "yes").succeed();
    let lines: Vec<_> = outcome.stderr.lines().collect();
    let expected = [
        ("ON_MISUSE", "abort (default), report, ignore"),
        ("HARDENED", "no (default), yes"),
        ("SPOT_CHECKS", "yes (default), no"),
        ("SAMPLE", "auto (default), no, 1, 10, 100, 1000, 10000"),
        ("CHECK_SIZES", "no (default), yes"),
        ("CHECK_ORIGINS", "auto (default), no, yes"),
        ("DECAY", "yes (default), no"),
        ("DEEPBIND", "ignore (default), keep"),
        ("STATS_AT_EXIT", "no (default), yes"),
        ("HELP", "no (default), yes"),
    ];
    assert_eq!(lines.len(), expected.len(), "{outcome}");
    for (line, (name, values)) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("heapmaster: HEAPMASTER_{name}: ")), "{outcome}");
        assert!(line.ends_with(&format!(": {values}")), "{outcome}");
    }
}

#[test]
fn statistics_come_at_the_end() {
    // Not echo: the programs of coreutils close standard error before that.
    let program =
        build("c_tests/malloc_replaced.c", Link::Shared(LIBRARY), &["-Wl,--no-as-needed"]);
    let outcome = program.run().env("HEAPMASTER_STATS_AT_EXIT", "yes").succeed();
    assert!(outcome.stderr.starts_with("heapmaster:\nheaps            ="), "{outcome}");
}

/// The settings are the caller's, the process is not.
#[test]
fn a_setuid_program_ignores_them() {
    const NOBODY: u32 = 65534;
    const SIGABRT: i32 = 6;

    // A place that nobody may enter too; the target folder may not be one.
    let folder = tempfile::tempdir().expect("a folder can be created");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let run_path = format!("-Wl,-rpath,{}", folder.path().display());
    let flags = ["-fno-builtin", "-w", &run_path];
    let built = build("c_tests/malloc_misuse.c", Link::Shared(LIBRARY), &flags);
    let program = folder.path().join("malloc_misuse");
    fs::copy(built.path(), &program).expect("a program can be copied");
    let library = folder.path().join(format!("lib{LIBRARY}.so.0"));
    fs::copy(shared_library(LIBRARY), library).expect("a library can be copied");

    if chown(&program, Some(NOBODY), None).is_err() {
        eprintln!("skipped: only root can make a program setuid to another user");
        return;
    }
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("it is ours");
    let mode = fs::metadata(&program).expect("it exists").mode();
    assert_eq!(mode & 0o7777, 0o4755);

    let outcome = Run::new(&program)
        .arg("double_free")
        .env("HEAPMASTER_ON_MISUSE", "ignore")
        .env("HEAPMASTER_HELP", "yes")
        .finish();
    let signal = outcome.status.and_then(|status| status.signal());
    assert_eq!(signal, Some(SIGABRT), "{outcome}");
    assert_eq!(outcome.stderr.matches('\n').count(), 1, "{outcome}");
    assert!(outcome.stderr.contains("already released"), "{outcome}");
}
