//! What `README.md` and `docs/guide.md` tell a reader to type does what they say.
//!
//! Each of their fenced blocks is one of these; any other fails a test.
//!
//! | block | what becomes of it |
//! |---|---|
//! | `sh` | those of a document are run in order, by one shell that stops at the first failure, in a copy of this folder |
//! | `c`, `c++`, `python` that begin with a comment of a file's name | written to that file, for the shell |
//! | `c`, `c++` without | compiled, where every warning is an error, and run |
//! | `rust` | tested by rustdoc; see `src/lib.rs` |
//! | `text` | compared with what the block before it printed; `...` stands for anything |
//! | behind the line [`ILLUSTRATION`] | nothing: it is shown to be looked at |
//! | behind the line [`TEST_COMMAND`] | run by `.ci/run` |
//!
//! In the copy, `cargo` works on this folder and this test's target folder, so that what is built is built once.

#[path = "../c_tests/harness.rs"]
mod harness;

use harness::{Link, Run, installed, workspace};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::id;
use std::time::Duration;

const DOCUMENTS: [&str; 2] = ["README.md", "docs/guide.md"];

/// Those whose links are followed, but whose blocks are not run.
const OTHERS: [&str; 6] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    "bindings/README.md",
    "docs/design.md",
];

const ILLUSTRATION: &str = "<!-- an illustration -->";
const TEST_COMMAND: &str = "<!-- the test command -->";

/// What the documents' shell commands call.
const PROGRAMS: [&str; 7] = ["addr2line", "bash", "cc", "c++", "make", "pkg-config", "python3"];

/// What is not copied: it is large, and made from the rest.
const MADE: [&str; 5] = [".git", ".venv", "node_modules", "results", "target"];

/// A release build on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1200);

/// A fenced block of a document.
struct Block {
    /// `README.md:12`, the line of its first fence.
    place: String,
    language: String,
    /// The line before it, if it is one of the two that say what to do with it.
    marker: Option<&'static str>,
    text: String,
}

impl Block {
    fn is_run(&self) -> bool {
        self.marker.is_none()
    }

    /// Whether there is an output of it to be compared with what is told of it.
    fn prints(&self) -> bool {
        let runs_by_itself = ["c", "c++", "sh"].contains(&self.language.as_str());
        self.is_run() && runs_by_itself && self.file().is_none()
    }

    /// The file that the block's first line names in a comment.
    fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let comment = match self.language.as_str() {
            "c" => first.strip_prefix("/* ")?.strip_suffix(" */")?,
            "c++" => first.strip_prefix("// ")?,
            "python" => first.strip_prefix("# ")?,
            _ => return None,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        (comment.contains('.') && comment.chars().all(is_name)).then_some(comment)
    }
}

/// The fenced blocks of a document, in order.
#[track_caller]
fn blocks(document: &str) -> Vec<Block> {
    let text = fs::read_to_string(workspace().join(document)).expect("the document can be read");
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    let mut before = "";
    for (line, number) in text.lines().zip(1..) {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(Block {
                    place: format!("{document}:{number}"),
                    language: language.to_owned(),
                    marker: [ILLUSTRATION, TEST_COMMAND].into_iter().find(|it| *it == before),
                    text: String::new(),
                });
            }
        } else if let Some(block) = blocks.last_mut().filter(|_| inside) {
            block.text += line;
            block.text.push('\n');
        }
        before = line;
    }
    assert!(!inside, "{document}: a block has no end");
    blocks
}

/// Whether the output is as expected, up to the ends of lines.
fn matches(expected: &str, output: &str) -> bool {
    fn lines(text: &str) -> Vec<&str> {
        text.trim_end().lines().map(str::trim_end).collect()
    }
    all_match(&lines(expected), &lines(output))
}

fn all_match(expected: &[&str], output: &[&str]) -> bool {
    match expected.split_first() {
        None => output.is_empty(),
        Some((&"...", left)) => {
            (0..=output.len()).any(|skipped| all_match(left, &output[skipped..]))
        }
        Some((line, left)) => output.split_first().is_some_and(|(printed, others)| {
            line_matches(line, printed) && all_match(left, others)
        }),
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let place = if parts.peek().is_some() { rest.find(part) } else { rest.rfind(part) };
        let Some(place) = place else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.is_empty()
}

/// Compares the output of the block at this index with the block of text behind it, if there is one.
#[track_caller]
fn assert_told(blocks: &[Block], index: usize, output: &str) {
    let Some(told) = blocks.get(index + 1) else { return };
    if told.language == "text" && told.is_run() {
        let (place, expected) = (&told.place, &told.text);
        assert!(matches(expected, output), "{place} says\n{expected}\nand it is\n{output}");
    }
}

/// A folder of a test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(document: &str) -> Self {
        let name = format!("{}-{}", document.replace('/', "-"), id());
        let scratch = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        for folder in ["bin", "copy", "home", "output"] {
            fs::create_dir_all(scratch.path(folder)).expect("a folder can be created");
        }
        scratch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Copies the workspace, and lends the copy a target folder and a cargo.
    fn copy_workspace(&self) {
        copy_tree(workspace(), &self.path("copy"));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries");
        fs::create_dir_all(&target).expect("a folder can be created");
        symlink(&target, self.path("copy/target")).expect("a link can be created");
        let cargo = self.path("bin/cargo");
        let home = env::var("HOME").unwrap_or_default();
        let script = format!(
            "#!/bin/sh\ncd '{}' && HOME='{home}' CARGO_TARGET_DIR='{}' exec '{}' \"$@\"\n",
            workspace().display(),
            target.display(),
            env!("CARGO"),
        );
        fs::write(&cargo, script).expect("a script can be written");
        fs::set_permissions(&cargo, Permissions::from_mode(0o755)).expect("it is ours");
    }

    fn output(&self, index: usize) -> String {
        let file = self.path("output").join(index.to_string());
        fs::read(file).map_or(String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let (path, name) = (entry.path(), entry.file_name());
        if MADE.iter().any(|made| *made == name) {
            continue;
        }
        if entry.file_type().expect("the folder can be read").is_dir() {
            fs::create_dir(to.join(&name)).expect("a folder can be created");
            copy_tree(&path, &to.join(&name));
        } else {
            fs::copy(&path, to.join(&name)).expect("a file can be copied");
        }
    }
}

/// Runs the shell's blocks of a document and compares what they print.
#[track_caller]
fn run_in_a_shell(document: &str) {
    if !installed(&PROGRAMS) {
        return;
    }
    let blocks = blocks(document);
    let scratch = Scratch::new(document);
    scratch.copy_workspace();
    let mut script = String::from("set -euo pipefail\n");
    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_run()) {
        if let Some(file) = block.file() {
            fs::write(scratch.path("copy").join(file), &block.text).expect("a file can be written");
        } else if block.language == "sh" {
            let output = scratch.path("output").join(index.to_string());
            let _ = writeln!(script, "exec >'{}' 2>&1\n{}", output.display(), block.text);
        }
    }
    let path = env::var("PATH").unwrap_or_default();
    let mut run = Run::new("bash")
        .args(["-c", &script])
        .env("PATH", format!("{}:{path}", scratch.path("bin").display()))
        .env("HOME", scratch.path("home"))
        .time_limit(TIME_LIMIT);
    run.command.current_dir(scratch.path("copy"));
    // Cargo's, which would go before what the document says.
    run.command.env_remove("LD_LIBRARY_PATH").env_remove("CARGO_TARGET_DIR");
    let outcome = run.finish();

    let commands = blocks.iter().enumerate().filter(|(_, it)| it.language == "sh" && it.is_run());
    let outputs: Vec<_> = commands.map(|(index, _)| (index, scratch.output(index))).collect();
    let told = || {
        let of = |(index, output): &(usize, String)| format!("{}:\n{output}", blocks[*index].place);
        outputs.iter().map(of).collect::<String>()
    };
    assert!(outcome.success(), "{outcome}\n{}", told());
    for (index, output) in &outputs {
        assert_told(&blocks, *index, output);
    }
}

/// Builds and runs the C and C++ programs of a document that are not for its shell.
#[track_caller]
fn run_programs(document: &str) {
    let blocks = blocks(document);
    let scratch = Scratch::new(&format!("{document}-programs"));
    for (index, block) in blocks.iter().enumerate() {
        let extension = match block.language.as_str() {
            "c" => "c",
            "c++" => "cpp",
            _ => continue,
        };
        if block.file().is_some() || !block.is_run() {
            continue;
        }
        let source = scratch.path(&format!("{}.{extension}", block.place.replace(['/', ':'], "-")));
        fs::write(&source, &block.text).expect("a source can be written");
        let outcome = harness::build(&source, Link::Static("heapmaster"), &[]).run().succeed();
        assert_told(&blocks, index, &outcome.stdout);
    }
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    run_in_a_shell("README.md");
}

#[test]
fn the_commands_of_the_guide_print_what_it_says() {
    run_in_a_shell("docs/guide.md");
}

#[test]
fn the_programs_print_what_the_documents_say() {
    for document in DOCUMENTS {
        run_programs(document);
    }
}

/// Of every block something is made, and every text is compared with something.
#[test]
fn no_block_is_left_out() {
    for document in DOCUMENTS {
        let blocks = blocks(document);
        let commands = blocks.iter().filter(|block| block.language == "sh");
        let commands: String = commands.map(|block| block.text.as_str()).collect();
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_run()) {
            let place = &block.place;
            match (block.language.as_str(), block.file()) {
                ("c" | "c++" | "python", Some(file)) => {
                    assert!(commands.contains(file), "{place}: no command uses {file}");
                }
                ("c" | "c++" | "rust" | "sh", None) => {}
                ("text", None) => {
                    let before = index.checked_sub(1).map(|before| &blocks[before]);
                    assert!(
                        before.is_some_and(Block::prints),
                        "{place}: the block before it prints nothing"
                    );
                }
                (language, _) => panic!("{place}: a block of `{language}` is not tested"),
            }
        }
        let tested = blocks.iter().filter(|block| block.is_run()).count();
        assert!(tested > 5, "{document} has {tested} blocks");
    }
}

/// What a link to a heading is called by the sites that show documents.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

/// Every relative link of a document, from its own folder, and to a heading that is there.
#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    for document in DOCUMENTS.into_iter().chain(OTHERS) {
        let path = workspace().join(document);
        let text = fs::read_to_string(&path).expect("the document can be read");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.parent().expect("a document lies in a folder").join(file),
            };
            assert!(target.exists(), "{document} links to {link}");
            if !place.is_empty() {
                let text = fs::read_to_string(&target).expect("the document can be read");
                let headings =
                    text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
                let found = headings.map(anchor).any(|heading| heading == place);
                assert!(found, "{document} links to {link}");
            }
        }
    }
}

#[test]
fn what_stands_for_anything_does() {
    assert!(matches("at 0x...: gone\n", "at 0x7f00: gone\n"));
    assert!(matches("first\n...\nlast\n", "first\na\nb\nlast"));
    assert!(matches("no dots", "no dots  \n"));
    for (expected, output) in [("a", "ab"), ("b", "ab"), ("a...c", "abcd"), ("a...b...c", "ac")] {
        assert!(!matches(expected, output), "{expected} is not {output}");
    }
}
