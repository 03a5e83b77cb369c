//! Malloc under a system that fails and programs that do what is rarely done: see `c_tests/faults/`.

#[path = "../../c_tests/harness.rs"]
mod harness;
#[path = "../../c_tests/faults/refuse.rs"]
mod refuse;

use harness::{Link, Program, Run, build, shared_library};

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

mod every_refused_call_is_survived {
    use super::*;

    fn check(call: &str, all: usize, argument: &str) {
        let program = compiled("refused.c", Link::Shared(LIBRARY), &[]);
        refuse::every_call_refused(LIBRARY, call, all, &program, argument);
    }

    #[test]
    fn mmap() {
        check("mmap", 64, "");
    }

    #[test]
    fn mprotect() {
        check("mprotect", 64, "");
    }

    #[test]
    fn madvise() {
        check("madvise", 32, "");
    }

    /// By the thread that purges.
    #[test]
    fn madvise_of_decay() {
        check("madvise", 1, "decay");
    }

    /// Which makes the thread that purges.
    #[test]
    fn clone() {
        check("clone", 1, "decay");
    }
}
