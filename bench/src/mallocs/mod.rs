//! The allocators that stand in for malloc, as libraries to preload.

mod build;

use std::path::PathBuf;
use std::process::Command;

use crate::Result;

pub use build::{Builder, command, run};

/// An allocator for the dynamic linker to put before the C library's.
#[derive(Clone)]
pub struct Malloc {
    pub name: &'static str,
    pub version: String,
    /// What `LD_PRELOAD` is to be; empty for the C library's own.
    pub library: PathBuf,
    /// Variables of its environment.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Malloc {
    /// The C library's own.
    pub fn of_c_library() -> Self {
        Self {
            name: "glibc",
            version: build::c_library_version(),
            library: PathBuf::new(),
            settings: &[],
        }
    }

    /// Has the command's program run with it in the C library's place.
    pub fn preload<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        command.env("LD_PRELOAD", &self.library).envs(self.settings.iter().copied())
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

/// One of them.
struct Kind {
    name: &'static str,
    source: Source,
    /// Variables of its environment.
    settings: &'static [(&'static str, &'static str)],
}

impl Kind {
    const fn new(name: &'static str, source: Source) -> Self {
        Self { name, source, settings: &[] }
    }
}

/// Those that every suite compares, in the order of the tables.
const ALL: [Kind; 8] = [
    Kind::new("heapmaster", Source::Here),
    Kind::new("mimalloc2", Source::Crate("libmimalloc-sys", build::mimalloc2)),
    Kind::new("mimalloc3", Source::Crate("libmimalloc-sys", build::mimalloc3)),
    Kind::new("snmalloc", Source::Crate("snmalloc-sys", build::snmalloc)),
    Kind::new("jemalloc", Source::Crate("tikv-jemalloc-sys", build::jemalloc)),
    Kind::new("rpmalloc", Source::Crate("rpmalloc-sys", build::rpmalloc)),
    Kind::new(
        "tcmalloc",
        Source::System { file: "libtcmalloc_minimal.so.4", package: "libtcmalloc-minimal4" },
    ),
    Kind::new("glibc", Source::C),
];

/// Those that look for errors of programs, at a price.
const CHECKING: [Kind; 5] = [
    Kind {
        settings: &[("HEAPMASTER_HARDENED", "yes")],
        ..Kind::new("heapmaster-hardened", Source::Here)
    },
    Kind {
        // Without it, it says nothing in a release build.
        settings: &[("MIMALLOC_SHOW_ERRORS", "1")],
        ..Kind::new("mimalloc3-secure", Source::Crate("libmimalloc-sys", build::mimalloc3_secure))
    },
    Kind::new("snmalloc-checks", Source::Crate("snmalloc-sys", build::snmalloc_checks)),
    Kind::new(
        "scudo",
        Source::System {
            file: "libclang_rt.scudo_standalone-x86_64.so",
            package: "libclang-rt-14-dev",
        },
    ),
    Kind::new("hardened_malloc", Source::Crate("hardened-malloc-sys", build::hardened_malloc)),
];

/// HeapMaster's name among them.
pub const HEAPMASTER: &str = ALL[0].name;

/// That of its hardened mode.
#[cfg(test)]
pub const HARDENED: &str = CHECKING[0].name;

fn kinds() -> impl Iterator<Item = &'static Kind> {
    ALL.iter().chain(&CHECKING)
}

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    kinds().map(|kind| kind.name)
}

/// HeapMaster and those of the others that are named; when none is, all that every suite compares. Builds what has
/// to be built.
pub fn chosen(named: &[String]) -> Result<Vec<Malloc>> {
    let usual: Vec<_> = ALL.iter().map(|kind| kind.name.to_owned()).collect();
    build_named(if named.is_empty() { &usual } else { named })
}

/// The same; when none is named, all.
pub fn chosen_with_checking(named: &[String]) -> Result<Vec<Malloc>> {
    let all: Vec<_> = names().map(str::to_owned).collect();
    build_named(if named.is_empty() { &all } else { named })
}

fn build_named(named: &[String]) -> Result<Vec<Malloc>> {
    if let Some(unknown) = named.iter().find(|it| names().all(|name| name != **it)) {
        let known: Vec<_> = names().collect();
        return Err(format!("there is no peer {unknown}; they are {}", known.join(", ")).into());
    }
    let wanted = |kind: &&Kind| kind.name == HEAPMASTER || named.iter().any(|it| it == kind.name);
    let builder = Builder::new()?;
    kinds().filter(wanted).map(|kind| builder.malloc(kind)).collect()
}

/// The version of each.
pub fn versions(mallocs: &[Malloc]) -> Vec<(String, String)> {
    mallocs.iter().map(|malloc| (malloc.name.to_owned(), malloc.version.clone())).collect()
}
