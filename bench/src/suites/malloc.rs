//! Programs with each allocator as their malloc: CPU time and peak memory, in rounds over all of them.
//!
//! The workloads are C programs of `workloads/`, with one thread and with several; the others are programs of
//! every day, whose output has to be what it is on the C library's malloc.

use std::collections::HashMap;
use std::path::Path;

use super::progress;
use crate::comparison::{Field, Figures};
use crate::mallocs::{self, HEAPMASTER, Malloc};
use crate::plot::{Bar, Plot};
use crate::programs::{Cost, Launcher, Program, installed};
use crate::report::Table;
use crate::sample::{Sample, geometric_mean};
use crate::{Findings, Options, Result};

/// The workloads, with the work that takes some tenths of a second.
const WORKLOADS: [(&str, usize); 10] = [
    ("small", 20_000_000),
    ("larson", 20_000_000),
    ("pipeline", 10_000_000),
    ("handover", 8_000_000),
    ("lifetimes", 20_000_000),
    ("churn", 6_000),
    ("large", 5_000),
    ("growth", 8_000_000),
    ("zeroed", 2_000_000),
    ("sharing", 400_000),
];
const THREADS: [usize; 3] = [1, 2, 8];

/// More threads than processors: who loses how much.
const CROWDED: [(&str, usize); 3] = [("larson", 64), ("handover", 64), ("small", 64)];

/// A program of every day, from this folder's scripts or those of the tests, and its arguments.
const PROGRAMS: [(&str, &str, &[&str]); 11] = [
    ("python objects", "python3", &["{tests}/churn.py"]),
    ("python json", "python3", &["{tests}/json_text.py"]),
    ("lua", "lua5.4", &["{tests}/churn.lua"]),
    ("perl", "perl", &["{tests}/text.pl"]),
    ("ruby", "ruby", &["{programs}/objects.rb"]),
    ("sqlite", "sqlite3", &["-bail", ":memory:", ".read {programs}/rows.sql"]),
    ("redis", "bash", &["{programs}/store.sh"]),
    ("gcc", "gcc", &["-O2", "-S", "-o", "-", "-w", "{programs}/code.c"]),
    ("g++", "g++", &["-O1", "-std=c++17", "-S", "-o", "-", "{tests}/templates.cpp"]),
    (
        "ghostscript",
        "gs",
        &[
            "-q",
            "-dNOPAUSE",
            "-dBATCH",
            "-sDEVICE=ppmraw",
            "-r60",
            "-sOutputFile=-",
            "{programs}/pages.ps",
        ],
    ),
    ("z3", "z3", &["{programs}/multiplication.smt2"]),
];

/// What each program needs besides itself, and the package of Debian where it is found.
const NEEDED: [(&str, &str); 9] = [
    ("python3", "python3"),
    ("lua5.4", "lua5.4"),
    ("perl", "perl"),
    ("ruby", "ruby"),
    ("sqlite3", "sqlite3"),
    ("redis-server", "redis-server"),
    ("g++", "g++"),
    ("gs", "ghostscript"),
    ("z3", "z3"),
];

/// One line of the tables.
struct Case {
    name: String,
    program: Program,
}

pub fn run(options: &Options) -> Result<Findings> {
    let mallocs = mallocs::chosen(&options.peers)?;
    let launcher = Launcher::new()?;
    let cases = cases(&launcher, options)?;
    let field = Field::new(
        (HEAPMASTER, &mallocs[0]),
        mallocs[1..].iter().map(|malloc| (malloc.name.to_owned(), malloc)),
    );
    let rounds = options.runs(1, 7);
    let bar = progress(rounds * cases.len() * field.len());
    let mut measured = Vec::new();
    for case in &cases {
        let mut outputs = HashMap::new();
        let mut failure = None;
        let costs = field.rounds(rounds, |name, malloc: &Malloc| {
            bar.set_message(format!("{} on {name}", case.name));
            bar.inc(1);
            match launcher.run(&case.program, malloc) {
                Ok((cost, output)) => {
                    outputs.entry(output).or_insert(name.to_owned());
                    Some(cost)
                }
                Err(error) if malloc.name == HEAPMASTER => {
                    failure = Some(error);
                    None
                }
                // A peer that fails has no figure; that is a finding.
                Err(error) => {
                    bar.println(error.to_string());
                    None
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        if outputs.len() > 1 {
            let whose: Vec<_> = outputs.values().collect();
            return Err(format!("{} has different results on {whose:?}", case.name).into());
        }
        measured.push((case.name.clone(), costs));
    }
    bar.finish_and_clear();
    let of = |figure: fn(&Cost) -> f64| -> Vec<(String, Figures)> {
        measured.iter().map(|(name, costs)| (name.clone(), costs.figures(figure))).collect()
    };
    let (cpu, peak) = (of(|cost| cost.cpu), of(|cost| cost.peak));
    let tables = vec![
        summary(&cpu, &peak),
        table("CPU time of the fastest round, ratio to HeapMaster's", &cpu, fastest),
        table("CPU time, ratio to HeapMaster's in the same round, median", &cpu, median),
        table("Half the distance of the quartiles of these ratios", &cpu, spread),
        table(
            "Elapsed time, ratio to HeapMaster's in the same round, median",
            &of(|cost| cost.elapsed),
            median,
        ),
        table("Peak memory, ratio to HeapMaster's, median", &peak, median),
        absolute(&cpu, &peak),
    ];
    Ok(Findings { versions: mallocs::versions(&mallocs), tables })
}

fn cases(launcher: &Launcher, options: &Options) -> Result<Vec<Case>> {
    let runs = WORKLOADS.iter().flat_map(|&(workload, work)| {
        let crowded = CROWDED.iter().filter(move |it| it.0 == workload).map(|it| it.1);
        THREADS.into_iter().chain(crowded).map(move |threads| (workload, work, threads))
    });
    let mut cases = Vec::new();
    for (workload, work, threads) in runs {
        let name = format!("{workload}, {threads}");
        if options.wants(&name) {
            let work = if options.quick { work / 10 } else { work };
            let arguments = [&*threads.to_string(), &work.to_string()];
            let program = Program::new(launcher.workload(workload)?, &arguments);
            cases.push(Case { name, program });
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        ("{programs}", here.join("programs")),
        ("{tests}", here.join("../malloc/tests/real_programs")),
    ];
    for (name, program, arguments) in PROGRAMS {
        if options.wants(name) {
            let place = |text: &&str| {
                folders.iter().fold((*text).to_owned(), |text, (key, folder)| {
                    text.replace(key, &folder.display().to_string())
                })
            };
            let arguments = arguments.iter().map(place).collect();
            cases.push(Case {
                name: name.to_owned(),
                program: Program { path: program.into(), arguments },
            });
        }
    }
    if cases.iter().any(|case| case.program.path.is_relative()) {
        install_missing()?;
    }
    if cases.is_empty() {
        return Err("no workload has such a name".into());
    }
    Ok(cases)
}

/// Installs the programs that are missing, where that is possible.
fn install_missing() -> Result<()> {
    let missing = || NEEDED.iter().filter(|it| !installed(it.0)).map(|it| it.1).collect::<Vec<_>>();
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("installing {} ...", packages.join(", "));
    // Where it can't be done, the check afterwards says so.
    let _ = mallocs::command("apt-get").args(["-qq", "update"]).status();
    let _ = mallocs::command("apt-get").args(["-qq", "-y", "install"]).args(&packages).status();
    match missing() {
        missing if missing.is_empty() => Ok(()),
        missing => {
            Err(format!("programs are missing: apt-get install {}", missing.join(" ")).into())
        }
    }
}

/// One figure of each allocator, the reference first.
type Ratios = Vec<(String, Option<f64>)>;

fn fastest(figures: &Figures) -> Ratios {
    figures.ratios_of_least().map(|(name, ratio)| (name.to_owned(), ratio)).collect()
}

fn median(figures: &Figures) -> Ratios {
    of_ratios(figures, Sample::median)
}

fn spread(figures: &Figures) -> Ratios {
    of_ratios(figures, |ratios| (ratios.quantile(0.75) - ratios.quantile(0.25)) / 2.0)
}

fn of_ratios(figures: &Figures, figure: fn(&Sample) -> f64) -> Ratios {
    let of =
        |(name, ratios): (&str, Option<Sample>)| (name.to_owned(), ratios.as_ref().map(figure));
    figures.ratios().map(of).collect()
}

/// The figures of each allocator over all cases.
fn summary(cpu: &[(String, Figures)], peak: &[(String, Figures)]) -> Table {
    let of_all = |cases: &[(String, Figures)], figure: fn(&Figures) -> Ratios, entry: usize| {
        let ratios: Vec<_> = cases.iter().map(|(_, figures)| figure(figures)[entry].1).collect();
        let sample = Sample::new(ratios.iter().copied());
        let end = |end: fn(&Sample) -> f64| sample.as_ref().map(end);
        [geometric_mean(ratios), end(Sample::min), end(Sample::max)]
    };
    let names = fastest(&cpu[0].1).into_iter().map(|(name, _)| name);
    let columns = [
        "CPU time of the fastest rounds, geometric mean of ratios",
        "least",
        "most",
        "peak memory, geometric mean of ratios",
        "least",
        "most",
    ];
    let bars = [0, 3].map(|middle| Bar { middle, low: middle + 1, high: middle + 2 });
    Table {
        title: format!("All {} cases, ratios to HeapMaster's", cpu.len()),
        columns: columns.map(|heading| (heading.to_owned(), 2)).into(),
        rows: names
            .enumerate()
            .map(|(entry, name)| {
                (name, [of_all(cpu, fastest, entry), of_all(peak, median, entry)].concat())
            })
            .collect(),
        plot: Some(Plot::Bars { axis: "least and most".to_owned(), bars: bars.into() }),
    }
}

/// One figure for each case and allocator.
fn table(title: &str, cases: &[(String, Figures)], figure: fn(&Figures) -> Ratios) -> Table {
    let others = |figures: &Figures| figure(figures).into_iter().skip(1);
    let columns = others(&cases[0].1).map(|(name, _)| (name, 2)).collect();
    let row = |(name, figures): &(String, Figures)| {
        (name.clone(), others(figures).map(|(_, figure)| figure).collect())
    };
    Table { title: title.to_owned(), columns, rows: cases.iter().map(row).collect(), plot: None }
}

/// What the ratios are of.
fn absolute(cpu: &[(String, Figures)], peak: &[(String, Figures)]) -> Table {
    let row = |((name, cpu), (_, peak)): (&(String, Figures), &(String, Figures))| {
        (
            name.clone(),
            vec![cpu.reference().map(|it| it.median()), peak.reference().map(|it| it.median())],
        )
    };
    Table {
        title: "HeapMaster's own figures, median".to_owned(),
        columns: vec![("CPU seconds".to_owned(), 3), ("peak MiB".to_owned(), 1)],
        rows: cpu.iter().zip(peak).map(row).collect(),
        plot: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_compiles_and_ends_with_any_number_of_threads() {
        let launcher = Launcher::new().unwrap();
        for (workload, work) in WORKLOADS {
            for threads in THREADS {
                let arguments = [&*threads.to_string(), &(work / 1000).max(20).to_string()];
                let program = Program::new(launcher.workload(workload).unwrap(), &arguments);
                let (cost, output) = launcher.run(&program, &Malloc::of_c_library()).unwrap();
                assert!(cost.cpu > 0.0 && cost.elapsed > 0.0 && cost.peak > 0.5, "{workload}");
                assert!(output.is_empty(), "{workload}");
            }
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let launcher = Launcher::new().unwrap();
        let program = Program::new(launcher.workload("small").unwrap(), &["1"]);
        let error = launcher.run(&program, &Malloc::of_c_library()).err().unwrap().to_string();
        assert!(error.contains("small on glibc") && error.contains("usage:"), "{error}");
    }
}
