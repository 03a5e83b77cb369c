//! Builds them: HeapMaster by cargo, the others from the sources that their crates carry, with the options
//! that their own release builds use.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

use super::{Kind, Malloc, Source};
use crate::Result;

/// The commands that make `library` of a crate's folder.
pub type Recipe = fn(sources: &Path, library: &Path) -> Vec<Command>;

/// What every compilation has: optimized, for a shared library, with thread-local variables at fixed places.
const SHARED: [&str; 6] =
    ["-O3", "-DNDEBUG", "-shared", "-fPIC", "-pthread", "-ftls-model=initial-exec"];

fn compile(compiler: &str, flags: &[&str], includes: &[&Path], file: &Path, out: &Path) -> Command {
    let mut command = command(compiler);
    command.args(SHARED).args(flags);
    for folder in includes {
        command.arg("-I").arg(folder);
    }
    command.arg(file).arg("-o").arg(out);
    command
}

pub fn mimalloc2(sources: &Path, library: &Path) -> Vec<Command> {
    mimalloc(&sources.join("c_src/mimalloc/v2"), library, &[])
}

pub fn mimalloc3(sources: &Path, library: &Path) -> Vec<Command> {
    mimalloc(&sources.join("c_src/mimalloc/v3"), library, &[])
}

pub fn mimalloc3_secure(sources: &Path, library: &Path) -> Vec<Command> {
    mimalloc(&sources.join("c_src/mimalloc/v3"), library, &["-DMI_SECURE=4"])
}

fn mimalloc(sources: &Path, library: &Path, checks: &[&str]) -> Vec<Command> {
    let flags = [
        "-DMI_MALLOC_OVERRIDE",
        "-DMI_BUILD_RELEASE",
        "-DMI_DEBUG=0",
        "-fno-builtin-malloc",
        "-fvisibility=hidden",
    ];
    let flags = [&flags, checks].concat();
    let (include, source) = (sources.join("include"), sources.join("src"));
    vec![compile("cc", &flags, &[&include, &source], &source.join("static.c"), library)]
}

pub fn snmalloc(sources: &Path, library: &Path) -> Vec<Command> {
    snmalloc_with(sources, library, &[])
}

pub fn snmalloc_checks(sources: &Path, library: &Path) -> Vec<Command> {
    snmalloc_with(sources, library, &["-DSNMALLOC_CHECK_CLIENT"])
}

fn snmalloc_with(sources: &Path, library: &Path, checks: &[&str]) -> Vec<Command> {
    let flags = [&["-std=c++20", "-mcx16", "-DSNMALLOC_USE_WAIT_ON_ADDRESS=1"], checks].concat();
    let source = sources.join("upstream/src");
    let replaced = source.join("snmalloc/override");
    let mut command = compile("c++", &flags, &[&source], &replaced.join("malloc.cc"), library);
    command.arg(replaced.join("new.cc")).arg("-latomic");
    vec![command]
}

pub fn rpmalloc(sources: &Path, library: &Path) -> Vec<Command> {
    let flags = ["-D_GNU_SOURCE", "-DENABLE_PRELOAD=1", "-DENABLE_OVERRIDE=1", "-fno-builtin"];
    vec![compile("cc", &flags, &[], &sources.join("rpmalloc/rpmalloc/rpmalloc.c"), library)]
}

pub fn hardened_malloc(sources: &Path, library: &Path) -> Vec<Command> {
    let vendor = sources.join("vendor/hardened-malloc");
    // C23 has the keywords that gcc 12 still takes from these headers.
    let flags = [
        "-std=gnu2x",
        "-include",
        "stdalign.h",
        "-include",
        "assert.h",
        "-D_GNU_SOURCE",
        "-fvisibility=hidden",
    ];
    let includes = [vendor.join("include"), vendor.join("third_party")];
    let mut command = compile(
        "cc",
        &flags,
        &includes.each_ref().map(PathBuf::as_path),
        &vendor.join("h_malloc.c"),
        library,
    );
    for file in ["chacha.c", "memory.c", "pages.c", "random.c", "util.c", "new.cc"] {
        command.arg(vendor.join(file));
    }
    command.arg("-lstdc++").args(defined(&sources.join("config-default.conf")));
    vec![command]
}

/// The lines `NAME=VALUE` of a file, as the compiler takes them.
fn defined(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("the crate has it");
    let lines = text.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
    lines.map(|line| format!("-D{line}")).collect()
}

pub fn jemalloc(sources: &Path, library: &Path) -> Vec<Command> {
    // Built where the sources lie, which is not to be cargo's folder.
    let folder = library.parent().expect("a library is in a folder").join("jemalloc");
    let mut clear = command("rm");
    clear.arg("-rf").arg(&folder);
    let mut copy = command("cp");
    copy.arg("-r").arg(sources.join("jemalloc")).arg(&folder);
    let mut script = command("cp");
    script.arg(sources.join("configure/configure")).arg(&folder);
    let mut configure = command("./configure");
    // The crate's sources have lost the version that git knows.
    configure.args(["--with-version=5.3.1-0-g0", "--disable-doc"]).current_dir(&folder);
    let mut make = command("make");
    make.args(["-j", "lib/libjemalloc.so.2"]).current_dir(&folder);
    let mut place = command("cp");
    place.arg(folder.join("lib/libjemalloc.so.2")).arg(library);
    vec![clear, copy, script, configure, make, place]
}

/// Knows where sources are and where libraries go.
pub struct Builder {
    repository: PathBuf,
    target: PathBuf,
    /// What cargo knows of `bench/peers`, once somebody asks.
    peers: OnceCell<Value>,
}

impl Builder {
    pub fn new() -> Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let metadata = metadata(&repository, &["--no-deps"])?;
        let target = metadata["target_directory"].as_str().ok_or("cargo names no target folder")?;
        Ok(Self { target: target.into(), repository, peers: OnceCell::new() })
    }

    /// The folder for what this program makes, besides its results.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join("bench").join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(super) fn malloc(&self, kind: &Kind) -> Result<Malloc> {
        let Kind { name, ref source, settings } = *kind;
        let (version, library) = match *source {
            Source::Here => {
                let mut cargo = cargo(&self.repository);
                let arguments = ["build", "--release", "--package", "heapmaster-malloc"];
                run(cargo.args(arguments).args(["--quiet", "--target-dir"]).arg(&self.target))?;
                let library = self.target.join("release/libheapmaster_malloc.so");
                (env!("CARGO_PKG_VERSION").to_owned(), library)
            }
            Source::Crate(package, recipe) => self.build(name, package, recipe)?,
            Source::System { file, package } => system_library(file, package)?,
            Source::C => return Ok(Malloc::of_c_library()),
        };
        Ok(Malloc { name, version, library, settings })
    }

    fn peers(&self) -> Result<&Value> {
        if let Some(peers) = self.peers.get() {
            return Ok(peers);
        }
        let peers = metadata(&self.repository.join("bench/peers"), &["--locked"])?;
        Ok(self.peers.get_or_init(|| peers))
    }

    /// Builds it unless the same has been built before.
    fn build(&self, name: &str, package: &str, recipe: Recipe) -> Result<(String, PathBuf)> {
        let peers = self.peers()?;
        let packages = peers["packages"].as_array().ok_or("cargo names no packages")?;
        let it = packages.iter().find(|it| it["name"] == package).ok_or("an unlisted package")?;
        let text = |key: &str| it[key].as_str().unwrap_or_default();
        let sources = Path::new(text("manifest_path")).parent().ok_or("a package in no folder")?;
        let library = self.folder("peers")?.join(format!("lib{name}.so"));
        let note = library.with_extension("so.made-by");
        let mut steps = recipe(sources, &library);
        let made_by = format!("{package} {}\n{steps:?}\n", text("version"));
        if !library.exists() || fs::read_to_string(&note).ok().as_ref() != Some(&made_by) {
            eprintln!("building {name} ...");
            for step in &mut steps {
                run(step)?;
            }
            check_exports(&library)?;
            fs::write(note, made_by)?;
        }
        Ok((format!("(of {package} {})", text("version")), library))
    }
}

/// A library that has not all of malloc's functions would leave some to the C library, unnoticed.
fn check_exports(library: &Path) -> Result<()> {
    const EXPORTS: [&str; 8] = [
        "malloc",
        "calloc",
        "realloc",
        "free",
        "aligned_alloc",
        "posix_memalign",
        "malloc_usable_size",
        "_Znwm",
    ];
    let symbols = run(command("nm").args(["-D", "--defined-only"]).arg(library))?;
    let has = |name: &&str| symbols.lines().any(|line| line.split(' ').next_back() == Some(*name));
    match EXPORTS.iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(missing) => Err(format!("{} has no {missing}", library.display()).into()),
    }
}

/// What cargo knows of the package in a folder.
fn metadata(folder: &Path, options: &[&str]) -> Result<Value> {
    let output =
        run(cargo(folder).args(["metadata", "--format-version=1", "--quiet"]).args(options))?;
    Ok(serde_json::from_str(&output)?)
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = command(&env::var("CARGO").unwrap_or("cargo".to_owned()));
    cargo.current_dir(folder);
    cargo
}

/// A command that nothing is preloaded to.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_PRELOAD");
    command
}

/// What the command prints; its messages if it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} can't be run: {error}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed:\n{messages}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The version and the place of a library that a package of the system has installed.
fn system_library(file: &str, package: &str) -> Result<(String, PathBuf)> {
    const FOLDERS: [&str; 4] = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux",
    ];
    let library = FOLDERS.iter().map(|folder| Path::new(folder).join(file)).find(|it| it.exists());
    let library = library.ok_or_else(|| format!("{file} is missing: apt-get install {package}"))?;
    let version = run(command("dpkg-query").args(["-W", "-f=${Version}", package]));
    Ok((version.unwrap_or("of the system".to_owned()), library))
}

pub(super) fn c_library_version() -> String {
    // SAFETY: the function gives a string of its own that lasts.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    version.to_string_lossy().into_owned()
}
