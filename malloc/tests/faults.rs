//! Malloc under a system that fails and programs that do what is rarely done: see `c_tests/faults/`.

#[path = "../../c_tests/harness.rs"]
mod harness;
#[path = "../../c_tests/faults/refuse.rs"]
mod refuse;

use harness::{Link, Program, Run, build, shared_library};
use std::env;
use std::time::Duration;

/// The library's name for the linker.
const LIBRARY: &str = "heapmaster_malloc";

/// As in programs.rs: what calls malloc shall call it, and have it from us.
const FLAGS: &[&str] = &["-fno-builtin", "-Wl,--no-as-needed"];

fn compiled(source: &str, link: Link, flags: &[&str]) -> Program {
    build(format!("c_tests/faults/{source}"), link, &[FLAGS, flags].concat())
}

fn preloaded(source: &str) -> Run {
    compiled(source, Link::Nothing, &[]).run().env("LD_PRELOAD", shared_library(LIBRARY))
}

/// The short form of a number for each change, and the long one for `.ci/long`.
fn short_or_long(short: usize, long: usize) -> usize {
    if env::var_os("HEAPMASTER_LONG").is_some() { long } else { short }
}

mod every_refused_call_is_survived {
    use super::*;

    fn check(call: &str, all: usize, argument: &str) {
        let program = compiled("refused.c", Link::Shared(LIBRARY), &[]);
        let all = short_or_long(all, usize::MAX);
        refuse::every_call_refused(LIBRARY, call, all, &program, argument);
    }

    #[test]
    fn mmap() {
        check("mmap", 64, "");
    }

    #[test]
    fn mremap() {
        check("mremap", 32, "");
    }

    #[test]
    fn mprotect() {
        check("mprotect", 64, "");
    }

    #[test]
    fn madvise() {
        check("madvise", 32, "");
    }

    /// Of a heap's metadata, of the stack of the thread that purges, and by that.
    #[test]
    fn madvise_of_decay() {
        check("madvise", 3, "decay");
    }

    /// Which makes the thread that purges.
    #[test]
    fn clone() {
        check("clone", 1, "decay");
    }
}

#[test]
fn every_function_fails_at_the_limit_and_gets_all_of_it_back() {
    // Blocks that are checked are larger, and so fewer.
    preloaded("exhausted.cpp").env("HEAPMASTER_SPOT_CHECKS", "no").succeed();
}

#[test]
fn threads_that_can_have_no_cache_rarely_ask_for_one() {
    preloaded("cacheless.c").succeed();
}

#[test]
fn children_of_a_busy_process_find_all_that_is_theirs() {
    let forks = short_or_long(800, 10_000).to_string();
    preloaded("forks.c").arg(forks).time_limit(Duration::from_secs(600)).succeed();
}

#[test]
fn children_fork_children() {
    preloaded("fork_storm.c").succeed();
}

#[test]
fn a_busy_process_starts_others_without_fork() {
    preloaded("spawns.c").succeed();
}

#[test]
fn signals_at_any_moment_disturb_nothing() {
    preloaded("signals.c").succeed();
}

#[test]
fn the_thread_that_purges_keeps_nothing_of_the_one_that_starts_it() {
    preloaded("decay_apart.c").succeed();
}

#[test]
fn a_real_time_thread_that_waits_lets_others_run() {
    preloaded("real_time.c").time_limit(Duration::from_secs(60)).succeed();
}

#[test]
fn a_handler_that_interrupts_an_allocation_may_end_the_process() {
    for hardened in ["no", "yes"] {
        let run = preloaded("interrupted.c").arg("exit").env("HEAPMASTER_HARDENED", hardened);
        run.env("HEAPMASTER_STATS_AT_EXIT", "yes").succeed();
    }
}

#[test]
fn a_handler_that_interrupts_an_allocation_may_fork() {
    for hardened in ["no", "yes"] {
        let run = preloaded("interrupted.c").arg("fork").env("HEAPMASTER_HARDENED", hardened);
        run.succeed();
    }
}

#[test]
fn cancelled_threads_lose_nothing() {
    let outcome = preloaded("cancelled.c").env("HEAPMASTER_ON_MISUSE", "report").succeed();
    assert_eq!(outcome.stderr.matches(": not in the pool: ").count(), 400, "{outcome}");
}

#[test]
fn destructors_of_threads_allocate_and_release() {
    preloaded("thread_locals.cpp").succeed();
}

#[test]
fn unloaded_libraries_leave_nothing_behind() {
    let library = compiled("unloaded_library.c", Link::Nothing, &["-shared", "-fPIC"]);
    preloaded("unloaded.c").arg(library.path()).succeed();
}

mod blocks_are_released_when_the_process_ends {
    use super::*;

    fn check(end: &str) {
        preloaded("ends.c").arg(end).succeed();
    }

    #[test]
    fn by_exit() {
        check("by_exit");
    }

    #[test]
    fn by_quick_exit() {
        check("by_quick_exit");
    }

    #[test]
    fn by_exit_from_another_thread() {
        check("by_exit_from_thread");
    }

    #[test]
    fn by_its_last_thread() {
        check("by_last_thread");
    }

    #[test]
    fn by_execve_from_another_thread() {
        check("by_execve_from_thread");
    }
}
