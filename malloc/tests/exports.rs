//! What leaves the library: the names it stands for, and none by accident.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Run, shared_library};
use std::collections::BTreeSet;

const LIBRARY: &str = "heapmaster_malloc";

const C: [&str; 27] = [
    "__libc_calloc",
    "__libc_free",
    "__libc_malloc",
    "__libc_memalign",
    "__libc_pvalloc",
    "__libc_realloc",
    "__libc_valloc",
    "aligned_alloc",
    "calloc",
    "cfree",
    "free",
    "free_aligned_sized",
    "free_sized",
    "mallinfo",
    "mallinfo2",
    "malloc",
    "malloc_info",
    "malloc_stats",
    "malloc_trim",
    "malloc_usable_size",
    "mallopt",
    "memalign",
    "posix_memalign",
    "pvalloc",
    "realloc",
    "reallocarray",
    "valloc",
];

/// All twenty replaceable functions of \[new.delete\].
const CPP: [&str; 20] = [
    "_ZdaPv",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdaPvSt11align_val_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvm",
    "_ZdaPvmSt11align_val_t",
    "_ZdlPv",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdlPvm",
    "_ZdlPvmSt11align_val_t",
    "_Znam",
    "_ZnamRKSt9nothrow_t",
    "_ZnamSt11align_val_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_Znwm",
    "_ZnwmRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
];

fn tool(name: &str, arguments: &[&str]) -> String {
    Run::new(name).args(arguments).arg(shared_library(LIBRARY)).succeed().stdout
}

/// The symbols that `nm` lists, without their versions.
fn symbols(which: &str) -> BTreeSet<String> {
    let listing = tool("nm", &["-D", "--format=posix", which]);
    let name = |line: &str| line.split([' ', '@']).next().map(str::to_owned);
    listing.lines().filter_map(name).collect()
}

#[test]
fn malloc_operators_and_the_pool_are_all_that_it_exports() {
    let expected = C.into_iter().chain(CPP).map(str::to_owned).collect::<BTreeSet<_>>();
    let (pool, malloc): (BTreeSet<_>, BTreeSet<_>) =
        symbols("--defined-only").into_iter().partition(|name| name.starts_with("hl_"));
    assert_eq!(malloc, expected);
    for name in ["hl_alloc", "hl_default_pool", "hl_pool_new", "hl_pool_stats", "hl_release"] {
        assert!(pool.contains(name), "{name} is missing");
    }
}

/// Rust's own machinery would call malloc if it allocated, C++ programs bring their runtime.
#[test]
fn it_needs_neither_another_malloc_nor_a_cpp_runtime() {
    let needed = symbols("--undefined-only");
    for name in C.iter().chain(&CPP).copied().chain(["__cxa_throw", "__gxx_personality_v0"]) {
        assert!(!needed.contains(name), "{name} comes from elsewhere");
    }
    let dynamic = tool("readelf", &["-d"]);
    assert!(!dynamic.contains("[libstdc++"), "{dynamic}");
}

#[test]
fn the_linker_was_told_what_a_malloc_library_needs() {
    let dynamic = tool("readelf", &["-d"]);
    assert!(dynamic.contains("Library soname: [libheapmaster_malloc.so.0]"), "{dynamic}");
    for flag in ["NOW", "NODELETE", "INITFIRST"] {
        assert!(dynamic.contains(flag), "{flag} is missing: {dynamic}");
    }
}
