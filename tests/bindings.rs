//! The bindings of other languages: the tests and examples of each, against the shared library, by the commands
//! that `bindings/README.md` gives. What is not installed skips a language; where `CI` is set, it fails the test.

#[path = "../c_tests/harness.rs"]
mod harness;

use std::env;
use std::fs;
use std::path::Path;

use harness::{Run, installed, library_folder, shared_library, workspace};

/// The folders of `bindings/`.
const LANGUAGES: [&str; 7] = ["csharp", "go", "java", "lua", "node", "python", "ruby"];

#[test]
fn every_binding_is_among_those_tested() {
    let entries = fs::read_dir(workspace().join("bindings")).unwrap().map(Result::unwrap);
    let mut folders: Vec<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, LANGUAGES);
}

#[test]
fn csharp() {
    if installed(&["mcs", "mono"]) {
        check("csharp", &[]);
    }
}

#[test]
fn go() {
    if installed(&["gcc", "go"]) {
        // The checkout may be another user's, whose repository git does not read.
        check("go", &[("GOFLAGS", "-buildvcs=false".into())]);
    }
}

#[test]
fn java() {
    let jars = ["hamcrest", "jna", "junit4"].map(|jar| format!("/usr/share/java/{jar}.jar"));
    if installed(&["java", "javac", &jars[0], &jars[1], &jars[2]]) {
        check("java", &[]);
    }
}

#[test]
fn lua() {
    if installed(&["luajit"]) {
        check("lua", &[]);
    }
}

#[test]
fn node() {
    if installed(&["npm", "node", "bindings/node/node_modules"]) {
        check("node", &[]);
    }
}

#[test]
fn python() {
    let environment = "bindings/python/.venv/bin";
    if !installed(&[environment]) {
        return;
    }
    let programs = workspace().join(environment);
    let install = "install --quiet --no-index --no-deps --no-build-isolation --force-reinstall .";
    inside("python", Run::new(programs.join("pip")).args(install.split(' '))).succeed();
    let path = env::var("PATH").unwrap_or_default();
    check("python", &[("PATH", format!("{}:{path}", programs.display()))]);
}

#[test]
fn ruby() {
    if !installed(&["gem", "ruby"]) {
        return;
    }
    let gems = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gems");
    let gem = gems.join("heapmaster.gem");
    fs::create_dir_all(&gems).unwrap();
    let build = Run::new("gem").args(["build", "heapmaster.gemspec", "--output"]);
    inside("ruby", build.arg(&gem)).succeed();
    let install = Run::new("gem").args(["install", "--local", "--no-document", "--install-dir"]);
    inside("ruby", install.arg(&gems).arg(&gem)).succeed();
    check("ruby", &[("GEM_PATH", format!("{}:", gems.display()))]);
}

/// A language's tests pass, and its example prints what all of them print, wherever the library is found.
#[track_caller]
fn check(language: &str, environment: &[(&str, String)]) {
    let [test, example] = documented_commands(language);
    let run = |command: &str| {
        let run = Run::new("bash").args(["-c", command]);
        let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
        inside(language, run)
    };
    let library = shared_library("heapmaster");
    run(&test).env("HEAPMASTER_LIBRARY", &library).succeed();

    let expected = fs::read_to_string(workspace().join("bindings/example.txt")).unwrap();
    let named = run(&example).env("HEAPMASTER_LIBRARY", &library).succeed();
    assert_eq!(without_addresses(&named.stdout), expected);
    let mut found = run(&example).env("LD_LIBRARY_PATH", library_folder("heapmaster"));
    found.command.env_remove("HEAPMASTER_LIBRARY");
    assert_eq!(without_addresses(&found.succeed().stdout), expected);
}

/// The last two cells of the row of a language's folder.
#[track_caller]
fn documented_commands(language: &str) -> [String; 2] {
    let readme = fs::read_to_string(workspace().join("bindings/README.md")).unwrap();
    let row = readme.lines().find(|line| line.contains(&format!("]({language}) |")));
    let row = row.unwrap_or_else(|| panic!("bindings/README.md has no row for {language}"));
    let cells: Vec<_> = row.trim_matches('|').split('|').collect();
    [cells.len() - 2, cells.len() - 1].map(|cell| cells[cell].trim().trim_matches('`').to_owned())
}

fn inside(language: &str, mut run: Run) -> Run {
    run.command.current_dir(workspace().join("bindings").join(language));
    run
}

fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "0x..." + part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit())
    })
}
