//! `examples/bare_metal` needs neither std nor libc, and does what it claims.

#![cfg(target_arch = "x86_64")]

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Run, build_what_ships, workspace};

#[test]
fn a_program_on_a_static_array_runs_without_libc() {
    let program = build_what_ships(workspace().join("examples/bare_metal")).join("bare-metal");
    Run::new(&program).succeed();

    let undefined = Run::new("nm").arg("--undefined-only").arg(&program).succeed().stdout;
    assert_eq!(undefined, "", "it needs what it does not have");
    let headers =
        Run::new("readelf").args(["--program-headers", "--wide"]).arg(&program).succeed().stdout;
    assert!(headers.contains("LOAD"), "{headers}");
    for dynamic in ["INTERP", "DYNAMIC", "TLS"] {
        assert!(!headers.contains(dynamic), "{headers}");
    }
    let defined = Run::new("nm").arg(&program).succeed().stdout;
    assert!(defined.contains("bare_metal"), "{defined}");
    for of_libc in [" malloc", " free", "__libc_start_main", "3std", "pthread_"] {
        assert!(!defined.contains(of_libc), "it has {of_libc}");
    }
}
