//! The manual pages are well-formed, and tell of every function and every setting.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Run, installed, listed_symbols, shared_library, workspace};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const PAGES: [&str; 2] = ["heapmaster.3", "heapmaster-malloc.7"];

fn page(name: &str) -> PathBuf {
    workspace().join("packaging/man").join(name)
}

fn source(name: &str) -> String {
    fs::read_to_string(page(name)).expect("the manual can be read")
}

#[test]
fn mandoc_and_groff_have_nothing_to_complain_of() {
    if !installed(&["mandoc", "groff"]) {
        return;
    }
    for name in PAGES {
        Run::new("mandoc").args(["-T", "lint", "-W", "warning,stop"]).arg(page(name)).succeed();
        let groff =
            Run::new("groff").args(["-mandoc", "-Tutf8", "-ww", "-z"]).arg(page(name)).succeed();
        assert_eq!(groff.stderr, "", "groff about {name}");
    }
}

#[test]
fn every_function_has_its_prototype() {
    let source = source("heapmaster.3");
    let (_, synopsis) = source.split_once(".Sh SYNOPSIS").expect("there is a synopsis");
    let (synopsis, _) = synopsis.split_once(".Sh ").expect("there is more");
    let shown: BTreeSet<String> = synopsis
        .lines()
        .filter_map(|line| line.strip_prefix(".Fn ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, listed_symbols("heapmaster"));
}

/// By compiling both: a function can be declared twice only if the types are the same.
#[test]
fn prototypes_are_those_of_the_header() {
    let mut declarations = String::from("#include <heapmaster.h>\n");
    for (result, function) in
        source("heapmaster.3").lines().zip(source("heapmaster.3").lines().skip(1))
    {
        let (Some(result), Some(function)) =
            (result.strip_prefix(".Ft "), function.strip_prefix(".Fn "))
        else {
            continue;
        };
        let (name, arguments) =
            function.split_once(' ').expect("a function has arguments, or void");
        let arguments = arguments.replace("\" \"", ", ").replace('"', "");
        declarations += &format!("{} {name}({arguments});\n", result.replace('"', ""));
    }
    assert_eq!(declarations.matches(");").count(), listed_symbols("heapmaster").len());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("manual.c");
    fs::write(&file, declarations + "int main(void) { return 0; }\n")
        .expect("a source can be written");
    harness::build(&file, harness::Link::Nothing, &[]).run().succeed();
}

#[test]
fn every_setting_is_told_with_its_values() {
    let manual = source("heapmaster-malloc.7");
    let listing = Run::new("/bin/true")
        .env("HEAPMASTER_HELP", "yes")
        .env("LD_PRELOAD", shared_library("heapmaster_malloc"))
        .succeed()
        .stderr;
    let mut settings = 0;
    for line in listing.lines().filter_map(|line| line.strip_prefix("heapmaster: HEAPMASTER_")) {
        let (name, rest) = line.split_once(": ").expect("a setting is told of");
        let (_, values) = rest.rsplit_once(": ").expect("its values are told");
        let item = format!(".It Ev HEAPMASTER_{name}\n");
        let (_, told) = manual.split_once(&item).unwrap_or_else(|| panic!("{item} is missing"));
        let told = told.split(".It ").next().expect("there is a text");
        for value in values.split(", ").map(|value| value.trim_end_matches(" (default)")) {
            assert!(told.contains(&format!(".Cm {value}")), "{name}={value} is missing: {told}");
        }
        settings += 1;
    }
    assert!(settings > 0, "{listing}");
    assert_eq!(manual.matches(".It Ev HEAPMASTER_").count(), settings);
}
