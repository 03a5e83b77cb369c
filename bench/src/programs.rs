//! Programs under an allocator: what a run costs, and whether its result is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::Result;
use crate::mallocs::{Builder, Malloc, command, run};

/// What one run took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Seconds of CPU time of the program and of those that it started and waited for.
    pub cpu: f64,
    /// Seconds from start to end.
    pub elapsed: f64,
    /// The most memory that one of its processes had at a time, in MiB.
    pub peak: f64,
}

/// Starts programs with an allocator preloaded.
pub struct Launcher {
    workloads: PathBuf,
}

/// A folder of sources, and how they are compiled.
struct Kind {
    folder: &'static str,
    header: &'static str,
    extension: &'static str,
    compiler: &'static str,
    flags: &'static [&'static str],
}

const WORKLOAD: Kind = Kind {
    folder: "workloads",
    header: "workload.h",
    extension: "c",
    compiler: "cc",
    flags: &["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"],
};

/// Neither the compiler nor the C library may see the errors, which it is the malloc's to find.
const MISUSE: Kind = Kind {
    folder: "misuse",
    header: "misuse.h",
    extension: "cpp",
    compiler: "c++",
    flags: &["-std=c++17", "-O0", "-w", "-U_FORTIFY_SOURCE", "-fno-stack-protector"],
};

impl Launcher {
    /// Compiles what it needs.
    pub fn new() -> Result<Self> {
        let launcher = Self { workloads: Builder::new()?.folder("workloads")? };
        launcher.workload("launch")?;
        Ok(launcher)
    }

    /// The program of this workload, compiled unless it is newer than its sources.
    pub fn workload(&self, name: &str) -> Result<PathBuf> {
        self.compiled(&WORKLOAD, name)
    }

    /// The same of a program that misuses memory.
    pub fn misuse(&self, name: &str) -> Result<PathBuf> {
        self.compiled(&MISUSE, name)
    }

    fn compiled(&self, kind: &Kind, name: &str) -> Result<PathBuf> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind.folder);
        let source = sources.join(name).with_extension(kind.extension);
        let program = self.workloads.join(name);
        let age = |file: &Path| fs::metadata(file).and_then(|it| it.modified()).ok();
        let newest = age(&source).max(age(&sources.join(kind.header)));
        if age(&program) <= newest {
            // Moved into place when it is whole: others may run it, or make it too.
            let made = self.workloads.join(format!("{name}-{}", here()));
            let mut compiler = command(kind.compiler);
            // The compiler must not know what malloc does, or it leaves calls out.
            compiler.args(kind.flags).args(["-fno-builtin", "-pthread"]);
            run(compiler.arg(source).arg("-o").arg(&made))?;
            fs::rename(made, &program)?;
        }
        Ok(program)
    }

    /// Runs it to its end, in an empty folder of its own. What it prints is the second part.
    pub fn run(&self, program: &Program, malloc: &Malloc) -> Result<(Cost, Vec<u8>)> {
        let folder = self.workloads.join(format!("scratch-{}", here()));
        fs::create_dir_all(&folder)?;
        let result = folder.join(".cost");
        let output = command(&self.workloads.join("launch").to_string_lossy())
            .current_dir(&folder)
            .arg(&result)
            .arg(&malloc.library)
            .arg(&program.path)
            .args(&program.arguments)
            .envs(malloc.settings.iter().copied())
            .stdin(Stdio::null())
            .output()?;
        let cost = fs::read_to_string(&result);
        fs::remove_dir_all(&folder)?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            let (program, status) = (program.path.display(), output.status);
            return Err(format!("{program} on {}: {status}\n{messages}", malloc.name).into());
        }
        let figures: Vec<f64> =
            cost?.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [cpu, elapsed, peak] = figures[..] else {
            return Err("the launcher says little".into());
        };
        let cost = Cost { cpu: cpu / 1e6, elapsed: elapsed / 1e6, peak: peak / 1024.0 };
        Ok((cost, output.stdout))
    }

    /// Starts it, to be ended by the caller.
    pub fn start(&self, program: &Program, malloc: &Malloc) -> Result<Child> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(malloc.preload(&mut command).spawn()?)
    }
}

/// A name that no other thread of any process uses.
fn here() -> String {
    format!("{}-{:?}", std::process::id(), thread::current().id())
}

/// A program and its arguments.
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&it| it.to_owned()).collect();
        Self { path: path.into(), arguments }
    }
}

/// Whether there is such a program.
pub fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    found.is_ok_and(|output| output.status.success())
}
