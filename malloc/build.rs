//! Tells the linker what a malloc library needs and cargo has no words for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        // The name that programs record. Without it they would record the path they were linked with.
        "-soname,libheapmaster_malloc.so.0",
        // Never unloaded: blocks, thread-exit hooks and fork handlers outlive any dlclose.
        "-z,nodelete",
        // All symbols bound at load time: binding one lazily runs the dynamic linker in the middle of an
        // allocation. rustc asks for it today; here it is a condition, not a habit.
        "-z,now",
        // Our constructor runs before those of all other libraries, so that our fork handlers are the first
        // ones registered, and hence the last to run before a fork and the first after it: the handlers of
        // other libraries find a pool that works. The dynamic linker would otherwise initialise a preloaded
        // library after the libraries of the program. See src/fork.rs.
        "-z,initfirst",
    ] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
    // The unwinder, which traces calls; Rust's runtime refers to it too. From the static library, so that no
    // program loads `libgcc_s` for our sake, 84 KiB of one that may have little else.
    if let Some(folder) = folder_of("libgcc_eh.a") {
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
        // See src/traces.rs.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--wrap=_Unwind_Find_FDE");
    }
}

/// Where the C compiler has a library of its own.
fn folder_of(library: &str) -> Option<String> {
    let compiler = cc::Build::new().try_get_compiler().ok()?;
    let answer = compiler.to_command().arg(format!("-print-file-name={library}")).output().ok()?;
    let file = String::from_utf8(answer.stdout).ok()?;
    let folder = std::path::Path::new(file.trim()).parent()?.to_str()?;
    (!folder.is_empty()).then(|| folder.to_owned())
}
