//! Programs of every day with HeapMaster as their malloc: what they compute must be what it always was.
//!
//! Most of the work is in the scripts beside this file, which check themselves and print results known in closed
//! form. A program that is not installed skips its tests; where `CI` is set, it fails them.

#[path = "../../c_tests/harness.rs"]
mod harness;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use harness::{Run, installed, shared_library};
use tempfile::{TempDir, tempdir};

/// Every program tested here, with arguments that make it end soon.
const PROGRAMS: [(&str, &[&str]); 14] = [
    ("bash", &["-c", ":"]),
    ("cargo", &["--version"]),
    ("g++", &["--version"]),
    ("gcc", &["--version"]),
    ("git", &["--version"]),
    ("lua5.4", &["-v"]),
    ("node", &["--version"]),
    ("perl", &["-e", "1"]),
    ("python3", &["--version"]),
    ("redis-server", &["--version"]),
    ("sort", &["/dev/null"]),
    ("sqlite3", &["--version"]),
    ("tar", &["--version"]),
    ("xz", &["--version"]),
];

/// What one program might take from us and another from libc, to the end of both.
const ALLOCATION: [&str; 10] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "malloc_usable_size",
    "cfree",
];

#[test]
fn every_program_takes_its_memory_from_heapmaster_alone() {
    for (program, arguments) in PROGRAMS {
        if installed(&[program]) {
            let (ours, others): (Vec<_>, Vec<_>) = allocation_functions(program, arguments)
                .into_iter()
                .partition(|(_, library)| library.ends_with("/libheapmaster_malloc.so"));
            assert!(!ours.is_empty(), "{program} has not loaded the library");
            assert!(others.is_empty(), "{program} takes memory elsewhere: {others:?}");
        }
    }
}

#[test]
fn python_reads_back_the_json_it_wrote() {
    let Some(python) = python() else { return };
    let digest = Run::new(python).arg(script("json_text.py")).succeed().stdout;
    check_python("json_text.py", &digest);
}

#[test]
fn python_objects_survive_the_churn_around_them() {
    check_python("churn.py", "survived 120000\n");
}

#[test]
fn python_threads_release_each_others_objects() {
    check_python("threads.py", "19999900000\n");
}

#[test]
fn python_forks_workers_while_its_threads_allocate() {
    check_python("processes.py", "2664667000 1999000\n");
}

#[test]
fn perl_counts_sorts_and_matches_text() {
    check_also_hardened(&["perl"], "text.pl", "20000100000 4900000\n");
}

#[test]
fn perl_children_answer_through_pipes() {
    check(&["perl"], "processes.pl", "50000\n");
}

#[test]
fn lua_tables_survive_an_eager_collector() {
    check(&["lua5.4"], "churn.lua", "300150000\t1288895\t20000100000\n");
}

#[test]
fn node_shares_buffers_among_workers_and_children() {
    check_also_hardened(&["node"], "churn.js", "19362000 2755565 499500\n");
}

#[test]
fn bash_pipelines_and_subshells_compute_rightly() {
    let expected = "values seen 200 times: 1000\n\
                    in both lists: 2000\n\
                    doubled: 250500\n\
                    squares: 2666866670000\n\
                    joined: 16892\n\
                    jobs done\n";
    check(&["bash", "awk", "sort"], "pipelines.sh", expected);
}

#[test]
fn sort_with_threads_sorts_a_big_file() {
    if !installed(&["sort"]) {
        return;
    }
    let folder = empty_folder();
    let mut lines: Vec<String> = (0..600_000_u64)
        .map(|n| format!("{:06} {}\n", n * 7919 % 1_000_003, "x".repeat(n as usize % 30)))
        .collect();
    fs::write(folder.path().join("lines"), lines.concat()).unwrap();

    let sort = Run::new("sort").args(["--parallel=4", "--buffer-size=8M", "lines"]);
    let sorted = answer(on_heapmaster(inside(&folder, sort.env("LC_ALL", "C"))));

    lines.sort_unstable();
    assert!(sorted == lines.concat(), "the lines are not in order");
}

#[test]
fn tar_and_xz_give_back_the_files_they_packed() {
    check_also_hardened(&["bash", "tar", "xz"], "archive.sh", "120\n");
}

#[test]
fn git_clone_gc_and_fsck_leave_the_repository_intact() {
    if !installed(&["bash", "git"]) {
        return;
    }
    let [ours, usual] = [on_heapmaster as fn(Run) -> Run, |run| run].map(|surroundings| {
        let folder = empty_folder();
        answer(surroundings(inside(&folder, Run::new("bash").arg(script("git.sh")))))
    });
    assert_eq!(ours, usual);
    assert!(ours.ends_with("\n31\n"), "{ours}");
}

#[test]
fn sqlite_answers_right_about_a_million_rows() {
    if !installed(&["sqlite3"]) {
        return;
    }
    let folder = empty_folder();
    let read = format!(".read {}", script("million_rows.sql").display());
    let sqlite = inside(&folder, Run::new("sqlite3").args(["-bail", "rows.db", &read]));
    let expected = "wal\n\
                    1000000|500000500000|18888896\n\
                    1000|1000|1000\n\
                    765432\n\
                    1988795\n\
                    999\n\
                    500000|250000500000\n\
                    ok\n";
    assert_eq!(answer(on_heapmaster(sqlite)), expected);
}

#[test]
fn redis_keeps_its_data_through_load_background_save_and_restart() {
    let data = "keys: 75004\n\
                strings: 25800000\n\
                appended: 0000000000000600000000000006\n\
                collections: 20000 20000 12345 0\n";
    let expected = format!("{data}saved in the background: ok\nbenchmarked: 10\n{data}");
    check(&["bash", "redis-server", "redis-cli", "redis-benchmark"], "redis.sh", &expected);
}

#[test]
fn gcc_compiles_c_into_the_same_bytes_and_they_run() {
    let (source, expected) = generated_c(800);
    check_compiler("gcc", &["-O2"], ("generated.c", &source), &expected);
}

#[test]
fn gxx_compiles_templates_into_the_same_bytes_and_they_run() {
    let source = fs::read_to_string(script("templates.cpp")).unwrap();
    let expected = "2880067194370816120\n\
                    1\n\
                    5000050000\n\
                    4999950000 4999950000 4999950000 4999950000\n\
                    200000 200000\n\
                    20200000\n";
    check_compiler("g++", &["-O2", "-std=c++17", "-pthread"], ("templates.cpp", &source), expected);
}

#[test]
fn cargo_builds_and_runs_a_crate() {
    if !installed(&["cargo"]) {
        return;
    }
    let folder = empty_folder();
    // A workspace of its own, wherever the folder for temporary files lies.
    let manifest = "[package]\nname = \"words\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::copy(script("words.rs"), folder.path().join("src/main.rs")).unwrap();

    let cargo = Run::new("cargo").args(["run", "--release", "--offline", "--quiet"]);
    let cargo = cargo.env("CARGO_TARGET_DIR", folder.path().join("target"));
    assert_eq!(answer(on_heapmaster(inside(&folder, cargo))), "1000 400000\n");
}

/// The first of these programs runs a script that needs the others too, in an empty folder.
#[track_caller]
fn check(programs: &[&str], name: &str, expected: &str) {
    check_in(USUAL, programs, name, expected);
}

/// The same, then in the hardened mode.
#[track_caller]
fn check_also_hardened(programs: &[&str], name: &str, expected: &str) {
    check_in(USUAL, programs, name, expected);
    check_in(HARDENED, programs, name, expected);
}

/// Values of `HEAPMASTER_HARDENED`.
const USUAL: &str = "no";
const HARDENED: &str = "yes";

#[track_caller]
fn check_in(mode: &str, programs: &[&str], name: &str, expected: &str) {
    if installed(programs) {
        let folder = empty_folder();
        let run = inside(&folder, Run::new(programs[0]).arg(script(name)));
        let run = run.env("HEAPMASTER_HARDENED", mode);
        assert_eq!(answer(on_heapmaster(run)), expected, "HEAPMASTER_HARDENED={mode}");
    }
}

/// As `check_also_hardened`, with every object from malloc; and with malloc behind python's own allocator.
#[track_caller]
fn check_python(name: &str, expected: &str) {
    let Some(python) = python() else { return };
    for (allocator, mode) in [("malloc", USUAL), ("malloc", HARDENED), ("pymalloc", USUAL)] {
        let run = Run::new(&python).arg(script(name)).env("PYTHONMALLOC", allocator);
        let run = run.env("HEAPMASTER_HARDENED", mode);
        let settings = format!("PYTHONMALLOC={allocator} HEAPMASTER_HARDENED={mode}");
        assert_eq!(answer(on_heapmaster(run)), expected, "with {settings}");
    }
}

/// A compiler makes the same object as without us, and of it a program that prints what is expected.
#[track_caller]
fn check_compiler(compiler: &str, flags: &[&str], (name, source): (&str, &str), expected: &str) {
    if !installed(&[compiler]) {
        return;
    }
    let folder = empty_folder();
    fs::write(folder.path().join(name), source).unwrap();
    let compile =
        |arguments: &[&str]| inside(&folder, Run::new(compiler).args(flags).args(arguments));
    let object = || fs::read(folder.path().join("object.o")).unwrap();

    answer(compile(&["-c", name, "-o", "object.o"]));
    let usual = object();
    for mode in [USUAL, HARDENED] {
        let compile = compile(&["-c", name, "-o", "object.o"]).env("HEAPMASTER_HARDENED", mode);
        answer(on_heapmaster(compile));
        let settings = format!("HEAPMASTER_HARDENED={mode}");
        assert!(object() == usual, "{compiler} made another object with {settings}");
    }

    answer(on_heapmaster(compile(&["object.o", "-o", "program"])));
    assert_eq!(answer(on_heapmaster(Run::new(folder.path().join("program")))), expected);
}

/// A C program of many functions that lead from one to the next, and what it prints.
fn generated_c(functions: u64) -> (String, String) {
    let mut source = String::from("#include <stdint.h>\n#include <stdio.h>\n");
    let mut calls = String::new();
    let mut x = 1_u64;
    for n in 1..=functions {
        let _ = writeln!(
            source,
            "static uint64_t step{n}(uint64_t x) {{
                switch (x % 4) {{
                case 0: return x / 4 + {n};
                case 1: return x ^ {n};
                case 2: for (uint64_t i = 0; i < {n} % 50; ++i) x += (x >> 3) ^ i;
                default: return x * {n} + 7;
                }}
            }}"
        );
        let _ = writeln!(calls, "x = step{n}(x);");
        x = match x % 4 {
            0 => x / 4 + n,
            1 => x ^ n,
            2 => (0..n % 50)
                .fold(x, |x, i| x.wrapping_add((x >> 3) ^ i))
                .wrapping_mul(n)
                .wrapping_add(7),
            _ => x.wrapping_mul(n).wrapping_add(7),
        };
    }
    let _ = writeln!(
        source,
        "int main(void) {{\nvolatile uint64_t x = 1;\n{calls}printf(\"%llu\\n\", (unsigned long long)x);\n}}"
    );
    (source, format!("{x}\n"))
}

/// The allocation functions, each with its library, that the dynamic linker finds for any file of a program.
fn allocation_functions(program: &str, arguments: &[&str]) -> HashSet<(String, String)> {
    let folder = empty_folder();
    let run = Run::new(program).args(arguments).env("LD_DEBUG", "bindings");
    answer(on_heapmaster(run.env("LD_DEBUG_OUTPUT", folder.path().join("bindings"))));

    let files = fs::read_dir(&folder).unwrap();
    let bindings: String =
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    bindings
        .lines()
        .filter_map(symbol_and_library)
        // A program loaded at a fixed address answers itself for functions that it takes from us.
        .filter(|(symbol, library)| ALLOCATION.contains(symbol) && library.contains(".so"))
        .map(|(symbol, library)| (symbol.to_owned(), library.to_owned()))
        .collect()
}

/// Of "binding file git [0] to /lib/libc.so.6 [0]: normal symbol `malloc' [GLIBC_2.2.5]".
fn symbol_and_library(binding: &str) -> Option<(&str, &str)> {
    let (_, found) = binding.split_once(" [0] to ")?;
    let (library, symbol) = found.split_once(" [0]: normal symbol `")?;
    Some((symbol.split_once('\'')?.0, library))
}

/// Standard output of a run that succeeds and gives no reason to complain about or through HeapMaster.
#[track_caller]
fn answer(run: Run) -> String {
    let outcome = run.succeed();
    let complaint =
        |line: &str| line.starts_with("heapmaster:") || line.contains("cannot be preloaded");
    assert!(!outcome.stderr.lines().any(complaint), "{outcome}");
    outcome.stdout
}

/// With HeapMaster as the malloc of the program and of the programs that it starts.
fn on_heapmaster(run: Run) -> Run {
    run.env("LD_PRELOAD", shared_library("heapmaster_malloc"))
}

fn inside(folder: &TempDir, mut run: Run) -> Run {
    run.command.current_dir(folder);
    run
}

fn empty_folder() -> TempDir {
    tempdir().expect("a temporary folder can be created")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_programs").join(name)
}

/// The interpreter itself: `python3` may be a script that chooses one.
fn python() -> Option<PathBuf> {
    installed(&["python3"]).then(|| {
        let asked = Run::new("python3").args(["-c", "import sys; print(sys.executable)"]).succeed();
        asked.stdout.trim().into()
    })
}
