//! Tells the linker what the shared library needs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libheapmaster.so.{major}");
    // Never unloaded: the default pool's blocks outlive any dlclose, and so does its reservation, of which there
    // would be another one after each dlopen.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
