//! The modules are a ladder: each names only those below it.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first; `lib.rs` shows the same order.
const LADDER: [&str; 13] = [
    "error", "bits", "buddy", "slab", "armour", "pool", "os", "system", "sampled", "cache", "safe",
    "heap", "ffi",
];

/// The only layer that may stand beside these is the one of errors.
const KNOWS_NO_LAYER: [&str; 3] = ["bits", "armour", "os"];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).expect("src can be read");
    entries.flat_map(|entry| sources(&entry.expect("src can be read").path())).collect()
}

fn layer_of(source: &Path) -> &str {
    let inside = source.strip_prefix(source_root()).expect("it is a source").components().next();
    let name = inside.and_then(|part| part.as_os_str().to_str()).expect("names are UTF-8");
    name.trim_end_matches(".rs")
}

fn source_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

/// A source without its comments, which may point anywhere.
fn code(source: &Path) -> String {
    let text = fs::read_to_string(source).expect("a source can be read");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The layers that code names as `crate::layer`.
fn named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn each_layer_names_only_lower_ones() {
    let height = |layer: &str| LADDER.iter().position(|&rung| rung == layer);
    let mut checked = 0;
    for source in sources(source_root()) {
        let layer = layer_of(&source);
        if layer == "lib" {
            continue;
        }
        let own = height(layer).unwrap_or_else(|| panic!("{layer} is not on the ladder"));
        for other in named(&code(&source)).filter(|&other| other != layer) {
            let Some(other_height) = height(other) else { continue };
            assert!(other_height < own, "{} names {other}, which is above it", source.display());
            let knows_none = KNOWS_NO_LAYER.contains(&layer) && other != "error";
            assert!(!knows_none, "{} names {other}", source.display());
            checked += 1;
        }
    }
    assert!(checked > 20, "the sources name each other");
}

#[test]
fn only_os_and_the_c_border_name_libc() {
    for source in sources(source_root()) {
        let layer = layer_of(&source);
        let may = ["os", "ffi", "system"].contains(&layer);
        assert!(may || !code(&source).contains("libc::"), "{} names libc", source.display());
    }
}
