//! Builds C and C++ programs against this workspace's header and libraries, runs them with a time limit,
//! and tells everything about a failure.
//!
//! The integration tests of both packages share this file by
//! `#[path = "../c_tests/harness.rs"] mod harness;`, so that no crate exists only for testing.
//!
//! ```ignore
//! let program = harness::build("c_tests/misuse.c", Link::Shared("heapmaster"), &[]);
//! program.run().succeed();
//! Run::new("ls").env("LD_PRELOAD", harness::shared_library("heapmaster_malloc")).succeed();
//! ```

#![allow(dead_code, reason = "every test program uses a part of it")]

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, Write, stderr};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio, id};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far more than any program needs, also on a busy machine: no test depends on time, but none may hang.
const TIME_LIMIT: Duration = Duration::from_secs(120);
const TIME_LIMIT_UNDER_VALGRIND: Duration = Duration::from_secs(900);

/// Tells the stress tests how many seconds to go on, which count for no test's time limit. See `goes_on` in `stress.h`.
const STRESS_SECONDS: &str = "HEAPMASTER_TEST_SECONDS";

/// The profile of the libraries that the programs use, if it is not that of the test, whose own code matters little.
const PROFILE: &str = "HEAPMASTER_TEST_PROFILE";

/// Tells a C program to do with fewer rounds. See `rounds` in `check.h`.
const FEWER_ROUNDS: &str = "HEAPMASTER_TEST_FEWER_ROUNDS";

/// How a program gets at the library of this name.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    Shared(&'static str),
    Static(&'static str),
    /// Statically, in a program that has musl as its libc, which `musl-gcc` gives it.
    Musl(&'static str),
    Nothing,
}

/// A built program.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

/// A program about to run.
#[derive(Debug)]
pub struct Run {
    /// For what has no method here. Standard input is empty unless changed; the output streams are taken.
    pub command: Command,
    time_limit: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    pub command_line: String,
    /// `None`: it ran out of time and was killed.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("c_tests/harness.rs").exists())
        .expect("a package of the workspace lies inside it")
}

/// The programs of `c_tests/` in a language, by its extension, which the package `heapmaster` runs.
pub fn programs(extension: &str) -> Vec<String> {
    let entries = fs::read_dir(workspace().join("c_tests")).expect("c_tests can be read");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    let mut programs: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().expect("it has a name").to_string_lossy().into_owned())
        // The other package's.
        .filter(|name| !name.starts_with("malloc_"))
        .collect();
    programs.sort();
    programs
}

/// `lib<name>.so`, of the profile under test.
pub fn shared_library(name: &str) -> PathBuf {
    artifact(name, "so")
}

/// `lib<name>.a`, of the profile under test.
pub fn static_library(name: &str) -> PathBuf {
    artifact(name, "a")
}

/// The names that leave `lib<name>.so`, without their versions.
#[track_caller]
pub fn exported_symbols(name: &str) -> BTreeSet<String> {
    dynamic_symbols(name, "--defined-only")
}

/// The names that `lib<name>.so` takes from elsewhere, without their versions.
#[track_caller]
pub fn imported_symbols(name: &str) -> BTreeSet<String> {
    dynamic_symbols(name, "--undefined-only")
}

/// The names that are to leave `lib<name>.so`.
#[track_caller]
pub fn listed_symbols(name: &str) -> BTreeSet<String> {
    let list = workspace().join(format!("packaging/abi/lib{name}.symbols"));
    let list = fs::read_to_string(list).expect("every shared library has a list of its symbols");
    list.lines().map(str::to_owned).collect()
}

#[track_caller]
fn dynamic_symbols(name: &str, which: &str) -> BTreeSet<String> {
    let nm = Run::new("nm").args(["-D", "--format=posix", which]).arg(shared_library(name));
    let name = |line: &str| line.split([' ', '@']).next().map(str::to_owned);
    nm.succeed().stdout.lines().filter_map(name).collect()
}

/// Compiles a C or C++ source, a path relative to the workspace, into a program.
///
/// Every warning is an error. `flags` follow the flags set here, so that they win.
#[track_caller]
pub fn build(source: impl AsRef<Path>, link: Link, flags: &[&str]) -> Program {
    let source = workspace().join(source);
    let name = source.file_stem().expect("a source has a name").to_str().expect("names are UTF-8");
    let cpp = source.extension().is_some_and(|extension| extension == "cpp");

    let mut command = match link {
        Link::Musl(_) => Command::new("musl-gcc"),
        _ => compiler(cpp),
    };
    command.arg(if cpp { "-std=c++17" } else { "-std=c11" });
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]);
    command.arg("-I").arg(workspace().join("include"));
    command.args(flags).arg(&source);
    if let Some(sanitizer) = sanitizer() {
        command.args(sanitizer_flags(sanitizer));
    }
    let linkage = match link {
        Link::Shared(library) => {
            let folder = library_folder(library);
            command.arg("-L").arg(&folder).arg(format!("-l{library}"));
            // An old-style one: cargo runs tests with a LD_LIBRARY_PATH that would go before a new one, to
            // what an earlier `cargo build` has left behind.
            command.arg(format!("-Wl,--disable-new-dtags,-rpath,{}", folder.display()));
            "shared"
        }
        Link::Static(library) => {
            command.arg(static_library(library));
            "static"
        }
        Link::Musl(library) => {
            command.arg("-static").arg(static_library(library));
            "musl"
        }
        Link::Nothing => "alone",
    };
    // One source may become several programs.
    let variant = flags.concat().replace('/', "_");
    let path = output_folder().join(format!("{name}-{linkage}{variant}"));
    put_in_place(&path, |output| {
        command.arg("-o").arg(output);
        run(command, TIME_LIMIT).assert_success();
    });
    Program { path }
}

/// Whether these programs, or files (what has a slash is one, maybe of the workspace), are there. If not, that is
/// said, and the caller skips its test; where `CI` is set, the test fails.
#[track_caller]
pub fn installed(needed: &[&str]) -> bool {
    let missing: Vec<_> = needed.iter().filter(|name| !is_there(name)).collect();
    for name in &missing {
        // Not by eprintln, whose words the test runner keeps for itself.
        let _ = writeln!(stderr(), "SKIPPED: {name} is not installed");
    }
    let required = env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(
        missing.is_empty() || !required,
        "CI skips no test: install {missing:?}, see .ci/install"
    );
    missing.is_empty()
}

fn is_there(name: &str) -> bool {
    if name.contains('/') {
        return workspace().join(name).exists();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(name).is_file())
}

impl Program {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn run(&self) -> Run {
        Run::new(&self.path)
    }

    /// Under memcheck, where every error and every leak makes the program fail. `None`, with a message, where
    /// valgrind is not installed.
    pub fn run_under_valgrind(&self) -> Option<Run> {
        if Command::new("valgrind").arg("--version").output().is_err() {
            eprintln!("skipped: valgrind is not installed");
            return None;
        }
        let run = Run::new("valgrind")
            .args(["-q", "--error-exitcode=99", "--leak-check=full"])
            .arg(&self.path)
            .fewer_rounds()
            .time_limit(TIME_LIMIT_UNDER_VALGRIND);
        Some(run)
    }
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        let stress = std::env::var(STRESS_SECONDS).ok().and_then(|seconds| seconds.parse().ok());
        let time_limit = TIME_LIMIT + Duration::from_secs(stress.unwrap_or(0));
        Self { command, time_limit }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// For a C program of which not the rounds matter but its surroundings.
    pub fn fewer_rounds(self) -> Self {
        self.env(FEWER_ROUNDS, "1")
    }

    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Runs it to its end, whatever that is.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        run(self.command, self.time_limit)
    }

    /// Runs it; anything but exit status 0 in time fails the test.
    #[track_caller]
    pub fn succeed(self) -> Outcome {
        self.finish().assert_success()
    }
}

impl Outcome {
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    #[track_caller]
    pub fn assert_success(self) -> Self {
        assert!(self.success(), "{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => writeln!(f, "{status}: {}", self.command_line)?,
            None => writeln!(f, "killed, out of time: {}", self.command_line)?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "--- {name}\n{}\n", text.trim_end())?;
            }
        }
        Ok(())
    }
}

#[track_caller]
fn run(mut command: Command, time_limit: Duration) -> Outcome {
    // Files without a name, not pipes: a program can't fill them, nor can a forgotten child keep us waiting
    // for their end.
    let [mut stdout, mut stderr] = [(), ()].map(|()| nameless_file());
    let copy = |file: &File| file.try_clone().expect("a file can be duplicated");
    command.stdout(copy(&stdout)).stderr(copy(&stderr)).process_group(0);
    let command_line = format!("{command:?}");
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("can't start {command_line}: {error}"));
    let status = wait(&mut child, time_limit);
    let [stdout, stderr] = [&mut stdout, &mut stderr].map(read_from_start);
    Outcome { command_line, status, stdout, stderr }
}

/// Waits for its end, or kills it and its children.
fn wait(child: &mut Child, time_limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + time_limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("our own child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= end {
            break;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    let kill_group = format!("kill -KILL -{}", child.id());
    let _ = Command::new("sh").args(["-c", &kill_group]).status();
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn nameless_file() -> File {
    let path = unique(&output_folder().join("output"));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("can't create {}: {error}", path.display()));
    fs::remove_file(&path).expect("a new file can be removed");
    file
}

fn read_from_start(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("a file can be rewound");
    file.read_to_end(&mut bytes).expect("a file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The C or C++ compiler that a build script would use, with its usual flags.
fn compiler(cpp: bool) -> Command {
    // Looked for once: cc tries its flags on a file of a fixed name.
    static C: LazyLock<cc::Tool> = LazyLock::new(|| find_compiler(false));
    static CPP: LazyLock<cc::Tool> = LazyLock::new(|| find_compiler(true));
    let tool = if cpp { &*CPP } else { &*C };
    // Not `Tool::to_command`: it names the whole environment, and so would each failure.
    let mut command = Command::new(tool.path());
    command.args(tool.args());
    command
}

/// What watches the libraries, and is to watch the programs with them: cargo, which builds the libraries, takes its
/// flags from where we do.
fn sanitizer() -> Option<String> {
    let flags = std::env::var("RUSTFLAGS").ok()?;
    flags.split_whitespace().find_map(|flag| flag.strip_prefix("-Zsanitizer=")).map(str::to_owned)
}

/// The C compiler is to link rustc's run-time of the sanitizer, which knows the calls of both, under the name
/// that it gives its own.
fn sanitizer_flags(sanitizer: String) -> [String; 4] {
    let library = match sanitizer.as_str() {
        "address" => "asan",
        "thread" => "tsan",
        other => panic!("no C program is built for the {other} sanitizer"),
    };
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir"]);
    let printed = run(command, TIME_LIMIT).assert_success().stdout;
    let entries = fs::read_dir(printed.trim()).expect("rustc has a folder of libraries");
    let runtime = entries
        .map(|entry| entry.expect("its entries can be read").path())
        .find(|path| path.to_string_lossy().ends_with(&format!("_rt.{library}.a")))
        .unwrap_or_else(|| panic!("{} has no {library}", printed.trim()));
    let folder = output_folder().join("run-time");
    fs::create_dir_all(&folder).expect("a folder can be created");
    put_in_place(&folder.join(format!("lib{library}.a")), |link| {
        symlink(&runtime, link).expect("a link can be created");
    });
    [
        format!("-fsanitize={sanitizer}"),
        format!("-static-lib{library}"),
        "-L".to_owned(),
        folder.display().to_string(),
    ]
}

fn find_compiler(cpp: bool) -> cc::Tool {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let target = format!("{}-unknown-linux-{libc}", env::consts::ARCH);
    let mut build = cc::Build::new();
    build.cargo_metadata(false).cpp(cpp).target(&target).host(&target).out_dir(output_folder());
    build.opt_level(1).debug(true);
    build.get_compiler()
}

/// A folder with the shared library under the names it has when it is installed: cargo knows no soname.
pub fn library_folder(name: &str) -> PathBuf {
    let library = shared_library(name);
    let folder = output_folder().join("lib");
    fs::create_dir_all(&folder).expect("a folder can be created");
    for version in ["", concat!(".", env!("CARGO_PKG_VERSION_MAJOR"))] {
        put_in_place(&folder.join(format!("lib{name}.so{version}")), |link| {
            symlink(&library, link).expect("a link can be created");
        });
    }
    folder
}

/// A library of the workspace, built the way it ships but for the profile, which is the one under test.
fn artifact(name: &str, extension: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| build_what_ships(workspace()));
    let path = FOLDER.join(format!("lib{name}.{extension}"));
    assert!(path.exists(), "cargo has not built {}", path.display());
    path
}

/// Builds what ships of the package or workspace in this folder, in a target folder of its own, and says where it
/// is. For its tests cargo builds a package as one that unwinds, and not at all if it is nothing but a shared
/// library; and what ships, built into the same folder, would replace what the tests are linked with.
#[track_caller]
pub fn build_what_ships(package: impl AsRef<Path>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries");
    let mut built = folder.clone();
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--target-dir"]).arg(&folder);
    if sanitizer().is_some() {
        // It has a malloc of its own.
        command.args(["--package", "heapmaster-c"]);
    }
    // What is built with `--target` goes to a folder of that name.
    let triple = target_folder()
        .file_name()
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with(std::env::consts::ARCH)));
    if let Some(triple) = triple {
        command.arg("--target").arg(triple);
        built.push(triple);
    }
    command.args(["--profile", if profile() == "debug" { "dev" } else { profile() }]);
    command.current_dir(package);
    run(command, TIME_LIMIT_UNDER_VALGRIND).assert_success();
    built.join(profile())
}

fn test_folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = env::current_exe().expect("a running test has a path");
        test.parent().expect("a program lies in a folder").to_owned()
    });
    &FOLDER
}

fn target_folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is target/tmp")
}

/// The folder of the profile under test.
pub fn profile() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        env::var(PROFILE).unwrap_or_else(|_| {
            let folder = test_folder().parent().and_then(Path::file_name);
            folder.expect("deps lies in a folder").to_string_lossy().into_owned()
        })
    });
    &NAME
}

/// Where the programs go. Two test crates or two profiles don't meet here.
fn output_folder() -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME")).join(profile());
    fs::create_dir_all(&folder).expect("a folder can be created in target/tmp");
    folder
}

fn unique(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{count}", id()))
}

/// Makes a file elsewhere, then moves it to `path` in one step: tests that build the same program at once, or
/// run it, never see half of one.
fn put_in_place(path: &Path, make: impl FnOnce(&Path)) {
    let temporary = unique(path);
    make(&temporary);
    fs::rename(&temporary, path)
        .unwrap_or_else(|error| panic!("can't create {}: {error}", path.display()));
}
