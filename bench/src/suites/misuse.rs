//! Programs that misuse memory: under which malloc the error ends in a report.
//!
//! The programs of `misuse/` make one error each, which their arguments choose. Their classes, and how many there
//! are of each, are after the heap errors of the Juliet test suite (NIST, 2017): writes out of bounds and wrong
//! releases most, reads and uses after release fewer. Of all combinations of arguments a class has, a sample is
//! run that is drawn with the number of the class as the seed, whatever any malloc makes of them.
//!
//! An error counts as found if the malloc says something on standard error and the program is ended by a signal. A
//! crash without a word does not count, nor does a word after which the program goes on.

use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Output, Stdio};

use fastrand::Rng;

use super::progress;
use crate::mallocs::{self, Malloc, command};
use crate::programs::Launcher;
use crate::report::Table;
use crate::{Findings, Options, Result};

/// One kind of error.
struct Class {
    name: &'static str,
    /// Of the Common Weakness Enumeration; where a class has none of its own, that of its kin.
    cwe: u64,
    program: &'static str,
    /// What each argument may be.
    arguments: &'static [&'static [&'static str]],
    cases: usize,
}

const SIZES: &[&str] = &["8", "24", "100", "1000", "8000", "100000", "1048576"];
/// In bytes: next to it, a few further on, a page, far off.
const DISTANCES: &[&str] = &["1", "8", "16", "4096", "65536"];
const APIS: &[&str] = &["malloc", "calloc", "realloc", "aligned", "new", "new[]", "new-aligned"];
/// What becomes of a block that was left by its bounds.
const AFTERWARDS: &[&str] =
    &["released", "released-after-work", "replaced", "kept", "kept-at-work", "exits"];
const RELEASES: &[&str] = &["free", "delete", "delete[]", "realloc"];

/// Those of which HeapMaster finds every one.
const DOUBLE_FREE: &str = "double free";
const FREE_OF_NONE: &str = "free of no block";
const FREE_INSIDE: &str = "free inside a block";

const CLASSES: [Class; 10] = [
    Class {
        name: "write behind",
        cwe: 122,
        program: "out_of_bounds",
        arguments: &[
            &[
                "write-loop",
                "write-words",
                "write-memcpy",
                "write-memmove",
                "write-memset",
                "write-strcpy",
                "write-strncpy",
                "write-snprintf",
                "write-sprintf",
                "write-strcat",
                "write-index",
                "write-word",
                "write-records",
                "write-member",
                "write-system",
            ],
            SIZES,
            DISTANCES,
            APIS,
            AFTERWARDS,
        ],
        cases: 140,
    },
    Class {
        name: "write before",
        cwe: 124,
        program: "out_of_bounds",
        arguments: &[
            &[
                "write-index-before",
                "write-loop-before",
                "write-memcpy-before",
                "write-memset-before",
                "write-strcpy-before",
                "write-word-before",
            ],
            SIZES,
            DISTANCES,
            APIS,
            AFTERWARDS,
        ],
        cases: 40,
    },
    Class {
        name: "read behind",
        cwe: 126,
        program: "out_of_bounds",
        arguments: &[
            &[
                "read-loop",
                "read-words",
                "read-memcpy",
                "read-memmove",
                "read-memcmp",
                "read-index",
                "read-system",
                "read-records",
                "read-string",
            ],
            SIZES,
            DISTANCES,
            APIS,
            AFTERWARDS,
        ],
        cases: 50,
    },
    Class {
        name: "read before",
        cwe: 127,
        program: "out_of_bounds",
        arguments: &[
            &[
                "read-index-before",
                "read-loop-before",
                "read-memcpy-before",
                "read-memmove-before",
                "read-system-before",
            ],
            SIZES,
            DISTANCES,
            APIS,
            AFTERWARDS,
        ],
        cases: 30,
    },
    Class {
        name: DOUBLE_FREE,
        cwe: 415,
        program: "double_free",
        arguments: &[
            &[
                "at-once",
                "after-another",
                "after-work",
                "after-many",
                "in-a-loop",
                "first-elsewhere",
                "then-elsewhere",
                "both-elsewhere",
                "after-reuse",
                "resized",
            ],
            SIZES,
            APIS,
        ],
        cases: 60,
    },
    Class {
        name: "use after free",
        cwe: 416,
        program: "use_after_free",
        arguments: &[
            &[
                "write-first",
                "write-last",
                "write-all",
                "write-text",
                "count-up",
                "read-first",
                "read-last",
                "read-all",
                "read-text",
            ],
            SIZES,
            &[
                "at-once",
                "after-others",
                "after-reuse",
                "after-work",
                "elsewhere",
                "released-elsewhere",
                "after-resize",
            ],
            APIS,
            &["goes-on", "releases-others", "ends"],
        ],
        cases: 60,
    },
    Class {
        name: FREE_OF_NONE,
        cwe: 590,
        program: "invalid_free",
        arguments: &[
            &[
                "array",
                "in-array",
                "alloca",
                "argument",
                "static",
                "in-static",
                "constant",
                "function",
                "mapping",
                "in-mapping",
                "environment",
                "number",
            ],
            SIZES,
            RELEASES,
        ],
        cases: 50,
    },
    Class {
        name: FREE_INSIDE,
        cwe: 761,
        program: "invalid_free",
        arguments: &[&["second-byte", "quarter", "middle", "last-byte"], SIZES, RELEASES],
        cases: 30,
    },
    Class {
        name: "mismatched free",
        cwe: 762,
        program: "mismatched",
        arguments: &[
            &[
                "malloc delete",
                "malloc delete[]",
                "calloc delete",
                "calloc delete[]",
                "realloc delete",
                "realloc delete[]",
                "aligned delete",
                "text delete",
                "text delete[]",
                "new free",
                "new realloc",
                "new delete[]",
                "new[] free",
                "new[] realloc",
                "new[] delete",
                "new-aligned free",
                "objects free",
                "objects delete-object",
            ],
            SIZES,
        ],
        cases: 60,
    },
    Class {
        name: "wrong size",
        cwe: 763,
        program: "mismatched",
        arguments: &[
            &[
                "new delete-less",
                "new delete-one-less",
                "new delete-one-more",
                "new delete-more",
                "new[] delete[]-less",
                "new[] delete[]-more",
            ],
            SIZES,
        ],
        cases: 15,
    },
];

impl Class {
    /// The command lines of the first so many programs of the sample.
    fn sample(&self, cases: usize) -> Vec<String> {
        let mut all = vec![self.program.to_owned()];
        for words in self.arguments {
            let starts = all.iter();
            all = starts
                .flat_map(|start| words.iter().map(move |word| format!("{start} {word}")))
                .collect();
        }
        Rng::with_seed(self.cwe).shuffle(&mut all);
        all.truncate(cases);
        all
    }
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The malloc said something and stopped it.
    Reported,
    /// A signal, without a word: a crash, or a trap that a check ran into.
    Crashed,
    /// The malloc said something, and the program went on.
    Warned,
    /// As if nothing had been.
    WentOn,
    /// Killed, out of time.
    Hung,
}

const ENDS: [(End, &str); 5] = [
    (End::Reported, "reported and stopped"),
    (End::Warned, "reported, went on"),
    (End::Crashed, "ended by a signal without a word"),
    (End::Hung, "hung"),
    (End::WentOn, "went on"),
];

impl End {
    fn of(output: &Output) -> Result<End> {
        let said = !output.stderr.is_empty();
        match (output.status.signal(), output.status.code()) {
            (Some(libc::SIGALRM), _) => Ok(End::Hung),
            (Some(_), _) => Ok(if said { End::Reported } else { End::Crashed }),
            (None, Some(MISTAKE)) => {
                Err(format!("wrong arguments: {}", String::from_utf8_lossy(&output.stdout)).into())
            }
            (None, _) => Ok(if said { End::Warned } else { End::WentOn }),
        }
    }
}

/// The exit status of a program that was started wrongly.
const MISTAKE: i32 = 2;

/// Runs one program under a malloc.
fn end(launcher: &Launcher, command_line: &str, malloc: &Malloc) -> Result<End> {
    let mut words = command_line.split(' ');
    let program = launcher.misuse(words.next().unwrap_or_default())?;
    let output = command(&program.to_string_lossy())
        .args(words)
        .env("LD_PRELOAD", &malloc.library)
        .envs(malloc.settings.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    End::of(&output).map_err(|error| format!("{command_line}: {error}").into())
}

pub fn run(options: &Options) -> Result<Findings> {
    let mallocs = mallocs::chosen_with_checking(&options.peers)?;
    let launcher = Launcher::new()?;
    let classes: Vec<_> = CLASSES.iter().filter(|class| options.wants(class.name)).collect();
    let share = if options.quick { 5 } else { 1 };
    let samples: Vec<_> =
        classes.iter().map(|class| class.sample(class.cases.div_ceil(share))).collect();
    let programs: usize = samples.iter().map(Vec::len).sum();
    // What is placed at random may be found in one run and not in another.
    let runs = options.runs(1, 3);
    let bar = progress(programs * mallocs.len() * runs);
    // Of each malloc, of each class, of each program.
    let mut ends = vec![Vec::new(); mallocs.len()];
    for (malloc, ends) in mallocs.iter().zip(&mut ends) {
        for (class, sample) in classes.iter().zip(&samples) {
            bar.set_message(format!("{} on {}", class.name, malloc.name));
            let mut of_class = Vec::new();
            for program in sample {
                let of_runs: Result<Vec<_>> =
                    (0..runs).map(|_| end(&launcher, program, malloc)).collect();
                of_class.push(most_frequent(&of_runs?));
                bar.inc(runs as u64);
            }
            ends.push(of_class);
        }
    }
    bar.finish_and_clear();
    write_each(&options.out, &samples, &mallocs, &ends)?;
    let tables = vec![found(&classes, &samples, &mallocs, &ends), all_ends(&mallocs, &ends)];
    Ok(Findings { versions: mallocs::versions(&mallocs), tables })
}

/// Of equally frequent ones the worst.
fn most_frequent(ends: &[End]) -> End {
    let frequency = |end: End| ends.iter().filter(|it| **it == end).count();
    let of_all = ENDS.iter().map(|(end, _)| *end);
    of_all.max_by_key(|end| frequency(*end)).unwrap_or(End::WentOn)
}

fn found(
    classes: &[&Class],
    samples: &[Vec<String>],
    mallocs: &[Malloc],
    ends: &[Vec<Vec<End>>],
) -> Table {
    let headings = classes.iter().zip(samples);
    let mut columns: Vec<_> = headings
        .map(|(class, sample)| {
            (format!("{} (CWE-{}), of {}", class.name, class.cwe, sample.len()), 0)
        })
        .collect();
    let programs: usize = samples.iter().map(Vec::len).sum();
    columns.push((format!("all, of {programs}"), 0));
    columns.push(("%".to_owned(), 1));
    let row = |ends: &Vec<Vec<End>>| {
        let counts = ends.iter().map(|of_class| count(of_class, End::Reported));
        let all: f64 = counts.clone().sum();
        counts.chain([all, 100.0 * all / programs as f64]).map(Some).collect()
    };
    Table {
        title: "Programs with an error that end in a report".to_owned(),
        columns,
        rows: mallocs.iter().zip(ends).map(|(it, ends)| (it.name.to_owned(), row(ends))).collect(),
        plot: None,
    }
}

fn all_ends(mallocs: &[Malloc], ends: &[Vec<Vec<End>>]) -> Table {
    let row = |ends: &Vec<Vec<End>>| {
        ENDS.iter().map(|(end, _)| Some(count(&ends.concat(), *end))).collect()
    };
    Table {
        title: "How all of them ended".to_owned(),
        columns: ENDS.iter().map(|(_, heading)| ((*heading).to_owned(), 0)).collect(),
        rows: mallocs.iter().zip(ends).map(|(it, ends)| (it.name.to_owned(), row(ends))).collect(),
        plot: None,
    }
}

fn count(ends: &[End], end: End) -> f64 {
    ends.iter().filter(|it| **it == end).count() as f64
}

/// Writes how each program ended under each malloc, as `misuse-programs.tsv`.
fn write_each(
    folder: &Path,
    samples: &[Vec<String>],
    mallocs: &[Malloc],
    ends: &[Vec<Vec<End>>],
) -> Result<()> {
    let mut text = String::from("program");
    mallocs.iter().for_each(|malloc| write!(text, "\t{}", malloc.name).unwrap());
    text.push('\n');
    let ends: Vec<_> = ends.iter().map(|of_malloc| of_malloc.concat()).collect();
    for (index, program) in samples.iter().flatten().enumerate() {
        text.push_str(program);
        for ends in &ends {
            let name = ENDS.iter().find(|(end, _)| *end == ends[index]).map(|it| it.1);
            write!(text, "\t{}", name.unwrap_or_default()).unwrap();
        }
        text.push('\n');
    }
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("misuse-programs.tsv"), text)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::mallocs::HARDENED;

    #[test]
    fn a_sample_has_no_program_twice_and_begins_with_a_smaller_one() {
        for class in &CLASSES {
            let sample = class.sample(class.cases);
            assert_eq!(sample.len(), class.cases, "{}", class.name);
            let different: HashSet<_> = sample.iter().collect();
            assert_eq!(different.len(), class.cases, "{}", class.name);
            assert_eq!(sample[..5], class.sample(5));
        }
    }

    #[test]
    fn a_double_or_invalid_free_ends_in_a_report_in_both_modes() {
        let launcher = Launcher::new().unwrap();
        let modes = mallocs::chosen_with_checking(&[HARDENED.to_owned()]).unwrap();
        assert_eq!(modes.len(), 2);
        for class in &CLASSES {
            if [DOUBLE_FREE, FREE_OF_NONE, FREE_INSIDE].contains(&class.name) {
                for program in class.sample(20) {
                    for malloc in &modes {
                        let end = end(&launcher, &program, malloc).unwrap();
                        assert!(end == End::Reported, "{program} on {}", malloc.name);
                    }
                }
            }
        }
    }
}
