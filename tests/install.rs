//! What `make install` puts in place is all that a C or C++ program needs, found by plain paths, by pkg-config and by
//! CMake: `packaging/consumer` is built against it in every way, and run.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Run, installed, static_library, workspace};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAJOR: &str = env!("CARGO_PKG_VERSION_MAJOR");

/// Where files are installed, and where they would be on the machine that they are packaged for.
#[derive(Clone, Copy)]
enum Layout {
    /// All below one prefix, to be used where it is.
    Prefix,
    /// In a staging directory, with libraries and headers where a distribution has them.
    Staged,
}

use Layout::{Prefix, Staged};

/// An installation of a test's own, removed at its end.
struct Installation {
    layout: Layout,
    folder: PathBuf,
}

impl Installation {
    #[track_caller]
    fn new(layout: Layout, test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", id()));
        let installation = Self { layout, folder };
        installation.make("install").succeed();
        installation
    }

    fn make(&self, target: &str) -> Run {
        let built = static_library("heapmaster");
        let run = Run::new("make")
            .args(["--directory".as_ref(), workspace().as_os_str()])
            // What is installed is what the tests have built.
            .arg(format!("built={}", built.parent().expect("a library is in a folder").display()))
            .args(["CARGO=true", target]);
        match self.layout {
            Prefix => run.arg(format!("PREFIX={}", self.folder.display())),
            Staged => run.arg(format!("DESTDIR={}", self.folder.display())).args([
                "prefix=/usr",
                "libdir=/usr/lib/triplet",
                "includedir=/usr/include/hm",
            ]),
        }
    }

    fn prefix(&self) -> PathBuf {
        match self.layout {
            Prefix => self.folder.clone(),
            Staged => self.folder.join("usr"),
        }
    }

    fn libraries(&self) -> PathBuf {
        self.prefix().join(match self.layout {
            Prefix => "lib",
            Staged => "lib/triplet",
        })
    }

    fn headers(&self) -> PathBuf {
        self.prefix().join(match self.layout {
            Prefix => "include",
            Staged => "include/hm",
        })
    }

    /// What pkg-config says, as a shell would split it.
    #[track_caller]
    fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let run = Run::new("pkg-config")
            .args(arguments)
            .env("PKG_CONFIG_LIBDIR", self.libraries().join("pkgconfig"));
        let run = match self.layout {
            Prefix => run,
            Staged => run.env("PKG_CONFIG_SYSROOT_DIR", &self.folder),
        };
        run.succeed().stdout.split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles a source of `packaging/consumer`; `flags` say how it gets at the library.
    #[track_caller]
    fn compile(&self, source: &str, flags: &[String]) -> PathBuf {
        let program = self.folder.join(format!("{source}-program"));
        let compiler = if source.ends_with(".cpp") { "c++" } else { "cc" };
        Run::new(compiler)
            .arg(workspace().join("packaging/consumer").join(source))
            .args(flags)
            .arg("-o")
            .arg(&program)
            .succeed();
        program
    }

    fn run(&self, program: &Path) -> Run {
        Run::new(program).env("LD_LIBRARY_PATH", self.libraries())
    }

    /// Every file and link, from the root of the machine it is meant for, or from the prefix.
    fn files(&self) -> BTreeSet<String> {
        let listing =
            Run::new("find").arg(&self.folder).args(["!", "-type", "d", "-printf", "%P\n"]);
        listing.succeed().stdout.lines().map(str::to_owned).collect()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The libraries that a program is to be loaded with.
fn needed(program: &Path) -> String {
    Run::new("readelf").arg("-d").arg(program).succeed().stdout
}

/// Runs the consumer after compiling it in C and in C++ with these flags, and tells whether the library is loaded
/// with it, as it is if and only if it was linked dynamically.
#[track_caller]
fn check(installation: &Installation, consumer: &str, flags: &[String], loads: Option<&str>) {
    for language in ["c", "cpp"] {
        let program = installation.compile(&format!("{consumer}.{language}"), flags);
        let needed = needed(&program);
        match loads {
            Some(library) => {
                let soname = format!("[lib{library}.so.{MAJOR}]");
                assert!(needed.contains(&soname), "{soname} is missing: {needed}");
            }
            None => assert!(!needed.contains("libheapmaster"), "{needed}"),
        }
        installation.run(&program).succeed();
    }
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_file_goes_to_its_place_and_uninstall_takes_it_away() {
    if !installed(&["make", "find"]) {
        return;
    }
    let installation = Installation::new(Staged, "files");
    let headers = fs::read_dir(workspace().join("include")).expect("the headers can be listed");
    let headers: Vec<_> = headers
        .map(|entry| entry.expect("the headers can be listed").file_name().into_string())
        .map(|name| name.expect("headers have plain names"))
        .collect();
    assert!(headers.iter().any(|name| name == "heapmaster.h"));

    let mut expected: BTreeSet<_> = [
        "lib/triplet/cmake/HeapMaster/HeapMasterConfig.cmake",
        "lib/triplet/cmake/HeapMaster/HeapMasterConfigVersion.cmake",
        "lib/triplet/libheapmaster.a",
        "lib/triplet/pkgconfig/heapmaster-malloc.pc",
        "lib/triplet/pkgconfig/heapmaster.pc",
        "share/doc/heapmaster/LICENSE",
        "share/man/man3/heapmaster.3",
        "share/man/man7/heapmaster-malloc.7",
    ]
    .map(|file| format!("usr/{file}"))
    .into();
    expected.extend(headers.iter().map(|name| format!("usr/include/hm/{name}")));
    for library in ["heapmaster", "heapmaster_malloc"] {
        let names = [String::new(), format!(".{MAJOR}"), format!(".{VERSION}")];
        expected.extend(names.map(|version| format!("usr/lib/triplet/lib{library}.so{version}")));
    }
    assert_eq!(installation.files(), expected);

    installation.make("uninstall").succeed();
    assert_eq!(installation.files(), BTreeSet::new());
}

#[test]
fn a_prefix_that_is_no_absolute_path_is_refused() {
    if installed(&["make"]) {
        let outcome = Run::new("make")
            .args(["--directory".as_ref(), workspace().as_os_str()])
            .args(["CARGO=true", "install", "PREFIX=somewhere"])
            .finish();
        assert!(!outcome.success() && outcome.stderr.contains("absolute"), "{outcome}");
    }
}

#[test]
fn plain_paths_serve_programs() {
    if !installed(&["make", "cc", "c++"]) {
        return;
    }
    let installation = Installation::new(Prefix, "plain");
    let include = format!("-I{}", installation.headers().display());
    let libraries = format!("-L{}", installation.libraries().display());
    let with = |library| words([include.as_str(), libraries.as_str(), library]);

    check(&installation, "pool", &with("-lheapmaster"), Some("heapmaster"));
    check(&installation, "pool", &with("-l:libheapmaster.a"), None);
    check(&installation, "malloc", &with("-lheapmaster_malloc"), Some("heapmaster_malloc"));
}

#[test]
fn a_program_that_knows_nothing_of_it_runs_with_it_preloaded() {
    if !installed(&["make", "cc", "c++"]) {
        return;
    }
    let installation = Installation::new(Prefix, "preloaded");
    let library = format!("libheapmaster_malloc.so.{MAJOR}");
    for source in ["malloc.c", "malloc.cpp"] {
        let include = format!("-I{}", installation.headers().display());
        let program = installation.compile(source, &[include]);
        installation.run(&program).env("LD_PRELOAD", &library).succeed();
        assert!(!installation.run(&program).finish().success(), "it is told from libc's");
    }
}

#[test]
fn pkg_config_serves_programs() {
    if !installed(&["make", "cc", "c++", "pkg-config"]) {
        return;
    }
    for layout in [Prefix, Staged] {
        let installation = Installation::new(layout, "pkg-config");
        let shared = installation.pkg_config(&["--cflags", "--libs", "heapmaster"]);
        check(&installation, "pool", &shared, Some("heapmaster"));

        let mut all_static =
            installation.pkg_config(&["--static", "--cflags", "--libs", "heapmaster"]);
        all_static.push("-static".to_owned());
        check(&installation, "pool", &all_static, None);

        // A program that calls no function of the library itself needs it all the same.
        let mut malloc = words(["-Wl,--as-needed"]);
        malloc.extend(installation.pkg_config(&["--cflags", "--libs", "heapmaster-malloc"]));
        check(&installation, "malloc", &malloc, Some("heapmaster_malloc"));

        for package in ["heapmaster", "heapmaster-malloc"] {
            assert_eq!(installation.pkg_config(&["--modversion", package]), [VERSION]);
        }
    }
}

#[test]
fn cmake_serves_programs() {
    if !installed(&["make", "cc", "c++", "cmake", "ctest"]) {
        return;
    }
    for layout in [Prefix, Staged] {
        let installation = Installation::new(layout, "cmake");
        let build = installation.folder.join("build");
        configure(&installation, &build, VERSION).succeed();
        Run::new("cmake").arg("--build").arg(&build).succeed();
        let tests = Run::new("ctest").arg("--test-dir").arg(&build).succeed();
        assert!(tests.stdout.contains("100% tests passed, 0 tests failed out of 6"), "{tests}");
        assert!(!needed(&build.join("pool_c_static")).contains("libheapmaster"));
        assert!(needed(&build.join("pool_c_shared")).contains("libheapmaster.so"));
    }
}

#[test]
fn cmake_takes_no_version_for_a_later_one_or_one_of_another_soname() {
    if !installed(&["make", "cc", "c++", "cmake"]) {
        return;
    }
    let installation = Installation::new(Prefix, "cmake-versions");
    for version in [format!("{MAJOR}.999"), format!("{}.0", MAJOR.parse::<u32>().unwrap() + 1)] {
        let outcome =
            configure(&installation, &installation.folder.join(&version), &version).finish();
        let refused = format!("compatible with requested version \"{version}\"");
        let stderr = outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!outcome.success() && stderr.contains(&refused), "{outcome}");
    }
}

fn configure(installation: &Installation, build: &Path, version: &str) -> Run {
    Run::new("cmake")
        .arg("-S")
        .arg(workspace().join("packaging/consumer"))
        .arg("-B")
        .arg(build)
        .arg(format!("-DHEAPMASTER_VERSION={version}"))
        .arg(format!(
            "-DHeapMaster_DIR={}",
            installation.libraries().join("cmake/HeapMaster").display()
        ))
}
