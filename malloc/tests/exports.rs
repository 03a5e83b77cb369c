//! What leaves the library: the names it stands for, and none by accident.

#[path = "../../c_tests/harness.rs"]
mod harness;

use harness::{Run, exported_symbols, imported_symbols, listed_symbols, shared_library};

const LIBRARY: &str = "heapmaster_malloc";

#[test]
fn malloc_operators_and_the_pool_are_all_that_it_exports() {
    let list = listed_symbols(LIBRARY);
    assert_eq!(exported_symbols(LIBRARY), list, "see packaging/abi/lib{LIBRARY}.symbols");
    assert!(list.is_superset(&listed_symbols("heapmaster")), "programs may use pools too");
}

/// Rust's own machinery would call malloc if it allocated, C++ programs bring their runtime.
#[test]
fn it_needs_neither_another_malloc_nor_a_cpp_runtime() {
    let needed = imported_symbols(LIBRARY);
    for name in &listed_symbols(LIBRARY) {
        assert!(!needed.contains(name), "{name} comes from elsewhere");
    }
    for name in ["__cxa_throw", "__gxx_personality_v0"] {
        assert!(!needed.contains(name), "{name} comes from elsewhere");
    }
    let dynamic = dynamic_section();
    assert!(!dynamic.contains("[libstdc++"), "{dynamic}");
}

#[test]
fn the_linker_was_told_what_a_malloc_library_needs() {
    let dynamic = dynamic_section();
    assert!(dynamic.contains("Library soname: [libheapmaster_malloc.so.0]"), "{dynamic}");
    for flag in ["NOW", "NODELETE", "INITFIRST"] {
        assert!(dynamic.contains(flag), "{flag} is missing: {dynamic}");
    }
}

fn dynamic_section() -> String {
    Run::new("readelf").arg("-d").arg(shared_library(LIBRARY)).succeed().stdout
}
