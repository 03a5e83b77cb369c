//! The malloc library that `malloc_surface` loads counts its coverage by the fuzzer's functions.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-link-arg-bin=malloc_surface=-Wl,--export-dynamic-symbol=__sanitizer_cov_*"
    );
}
