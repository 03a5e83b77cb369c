//! The allocators that stand in for malloc, as libraries to preload.

mod build;

use std::path::PathBuf;

use crate::Result;

pub use build::{Builder, command, run};

/// An allocator for the dynamic linker to put before the C library's.
pub struct Malloc {
    pub name: &'static str,
    pub version: String,
    /// What `LD_PRELOAD` is to be; empty for the C library's own.
    pub library: PathBuf,
}

impl Malloc {
    /// The C library's own.
    pub fn of_c_library() -> Self {
        Self { name: "glibc", version: build::c_library_version(), library: PathBuf::new() }
    }
}

/// Where an allocator comes from.
enum Source {
    /// This repository.
    Here,
    /// A crate of `peers/Cargo.toml`, compiled from its sources.
    Crate(&'static str, build::Recipe),
    /// A library that the system's package manager installs.
    System { file: &'static str, package: &'static str },
    /// The C library itself.
    C,
}

/// All of them, in the order of the tables.
const ALL: [(&str, Source); 8] = [
    ("heapmaster", Source::Here),
    ("mimalloc2", Source::Crate("libmimalloc-sys", build::mimalloc2)),
    ("mimalloc3", Source::Crate("libmimalloc-sys", build::mimalloc3)),
    ("snmalloc", Source::Crate("snmalloc-sys", build::snmalloc)),
    ("jemalloc", Source::Crate("tikv-jemalloc-sys", build::jemalloc)),
    ("rpmalloc", Source::Crate("rpmalloc-sys", build::rpmalloc)),
    (
        "tcmalloc",
        Source::System { file: "libtcmalloc_minimal.so.4", package: "libtcmalloc-minimal4" },
    ),
    ("glibc", Source::C),
];

/// HeapMaster's name among them.
pub const HEAPMASTER: &str = ALL[0].0;

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// HeapMaster and those of the others that are named; all when none is. Builds what has to be built.
pub fn chosen(named: &[String]) -> Result<Vec<Malloc>> {
    if let Some(unknown) = named.iter().find(|it| names().all(|name| name != **it)) {
        let known: Vec<_> = names().collect();
        return Err(format!("there is no peer {unknown}; they are {}", known.join(", ")).into());
    }
    let wanted =
        |name: &str| name == HEAPMASTER || named.is_empty() || named.iter().any(|it| it == name);
    let builder = Builder::new()?;
    ALL.iter().filter(|(name, _)| wanted(name)).map(|(name, it)| builder.malloc(name, it)).collect()
}

/// The version of each.
pub fn versions(mallocs: &[Malloc]) -> Vec<(String, String)> {
    mallocs.iter().map(|malloc| (malloc.name.to_owned(), malloc.version.clone())).collect()
}
