//! Generates the C header from `src/ffi`, if the feature `header` asks for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    header::generate();
}

#[cfg(feature = "header")]
mod header {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    pub fn generate() {
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
        let header = out.join("heapmaster.h");
        fs::write(&header, header_of(&root)).expect("OUT_DIR can be written to");
        // For the test that compares it with the committed one.
        println!("cargo::rustc-env=HEAPMASTER_GENERATED_HEADER={}", header.display());
        for input in ["cbindgen.toml", "src"] {
            println!("cargo::rerun-if-changed={input}");
        }
    }

    fn header_of(root: &Path) -> String {
        let config = cbindgen::Config::from_file(root.join("cbindgen.toml"));
        // The C ABI with its modules, and the two enums of other layers that it shares.
        let builder = cbindgen::Builder::new()
            .with_config(config.expect("cbindgen.toml is valid"))
            .with_src(root.join("src/error.rs"))
            .with_src(root.join("src/pool/walk.rs"))
            .with_src(root.join("src/ffi/mod.rs"));
        let mut header = Vec::new();
        builder.generate().expect("src/ffi is what cbindgen understands").write(&mut header);
        // The statuses are one enum in Rust; in C a prefix of their own tells success from errors.
        String::from_utf8(header)
            .expect("sources are UTF-8")
            .replace("HL_STATUS_OK", "HL_OK")
            .replace("HL_STATUS_", "HL_ERR_")
            .replace("HL_BLOCK_STATE_", "HL_BLOCK_")
    }
}
