//! Programs whose library is refused something by the system: see refuse.c.

use crate::harness::{Link, Program, build};
use std::env;
use std::thread;
use std::time::Duration;

/// What refuse.c says where the kernel has no listeners for seccomp.
const SKIPPED: i32 = 77;

const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Runs `program`, which has `library` loaded, once for each of the library's system calls `call` that it makes,
/// which is refused then: it alone, and in another run with all that follow. Of very many calls, `all` and some
/// of the others.
#[track_caller]
pub fn every_call_refused(
    library: &str,
    call: &str,
    all: usize,
    program: &Program,
    argument: &str,
) {
    let refuse = build("c_tests/faults/refuse.c", Link::Nothing, &[]);
    let run = |mode| {
        let run = refuse.run().arg(format!("lib{library}.so")).args([call, &all.to_string(), mode]);
        run.arg(program.path()).arg(argument).time_limit(TIME_LIMIT).finish()
    };
    let outcomes = thread::scope(|scope| {
        ["once", "on"].map(|mode| scope.spawn(move || run(mode))).map(|run| run.join())
    });
    for outcome in outcomes.map(|outcome| outcome.expect("nothing panics there")) {
        if outcome.status.and_then(|status| status.code()) == Some(SKIPPED) {
            assert!(env::var_os("CI").is_none(), "this kernel has no listeners for seccomp");
            eprintln!("skipped: this kernel has no listeners for seccomp");
            return;
        }
        outcome.assert_success();
    }
}
