//! Whether memory comes back to the system: RSS while a program grows, frees and idles, RSS of long runs, and
//! what a process and a thread need at the least.

use std::str::FromStr;
use std::time::Duration;
use std::{fs, thread};

use super::progress;
use crate::mallocs::{self, Malloc};
use crate::plot::{Axis, Plot, Series};
use crate::programs::{Launcher, Program};
use crate::report::Table;
use crate::{Findings, Options, Result};

/// Threads of the program `tide`, and what they mean.
const TIDES: [(usize, &str); 2] =
    [(1, "the program idles"), (2, "another thread goes on allocating")];

/// Programs that run on and on, which should not grow.
const LONG_RUNS: [(&str, usize); 3] = [("pipeline", 2), ("churn", 2), ("handover", 2)];

pub fn run(options: &Options) -> Result<Findings> {
    let mallocs = mallocs::chosen(&options.peers)?;
    let launcher = Launcher::new()?;
    let bar = progress(mallocs.len() * (TIDES.len() + 1) + LONG_RUNS.len());
    let mut tables = Vec::new();
    for (threads, meaning) in TIDES {
        let mut tides = Vec::new();
        for malloc in &mallocs {
            bar.set_message(format!("{}, {meaning}", malloc.name));
            tides.push(Tide::watch(&launcher, malloc, threads, options.quick)?);
            bar.inc(1);
        }
        tables.push(tide_table(meaning, &mallocs, &tides));
    }
    tables.push(footprints(&launcher, &mallocs, || bar.inc(1))?);
    let seconds = if options.quick { [1, 5] } else { [5, 60] };
    bar.set_message("long runs");
    tables.push(long_runs(&launcher, &mallocs, seconds, || bar.inc(1))?);
    bar.finish_and_clear();
    Ok(Findings { versions: mallocs::versions(&mallocs), tables })
}

/// RSS of one run, as the program saw it.
struct Tide {
    /// Phase, seconds since the start, MiB.
    points: Vec<(String, f64, f64)>,
}

impl Tide {
    fn watch(launcher: &Launcher, malloc: &Malloc, threads: usize, quick: bool) -> Result<Self> {
        let mebibytes = if quick { 64 } else { 512 };
        let arguments = [&*threads.to_string(), &mebibytes.to_string()];
        let program = Program::new(launcher.workload("tide")?, &arguments);
        let (_, output) = launcher.run(&program, malloc)?;
        let lines = String::from_utf8(output)?;
        let points = lines.lines().map(|line| {
            let mut words = line.split(' ');
            let phase = words.next()?.to_owned();
            let mut number = || f64::from_str(words.next()?).ok();
            Some((phase, number()? / 1e3, number()? / 1024.0))
        });
        let points = points.collect::<Option<_>>().ok_or("the program's report is no report")?;
        Ok(Self { points })
    }

    /// The last RSS of a phase, and when.
    fn end_of(&self, phase: &str) -> (f64, f64) {
        let point = self.points.iter().rev().find(|point| point.0 == phase);
        point.map_or((0.0, 0.0), |point| (point.1, point.2))
    }

    /// At the start, at the peak, right after the release, 1, 2 and 4 seconds later in MiB; the share that is
    /// back 2 seconds later in percent.
    fn figures(&self) -> Vec<Option<f64>> {
        let (start, peak) = (self.end_of("start").1, self.end_of("full").1);
        let (freed, right_after) = self.end_of("free");
        let later = |seconds: f64| {
            let mut points = self.points.iter().filter(|point| point.1 <= freed + seconds);
            points.next_back().map_or(0.0, |point| point.2)
        };
        let back = 100.0 * (peak - later(2.0)) / (peak - start);
        [start, peak, right_after, later(1.0), later(2.0), later(4.0), back].map(Some).into()
    }
}

fn tide_table(meaning: &str, mallocs: &[Malloc], tides: &[Tide]) -> Table {
    let columns =
        ["start", "peak", "right after", "after 1 s", "after 2 s", "after 4 s", "% back after 2 s"];
    let named = || mallocs.iter().map(|malloc| malloc.name.to_owned()).zip(tides);
    let series = named().map(|(name, tide)| -> Series {
        (name, tide.points.iter().map(|point| (point.1, point.2)).collect())
    });
    Table {
        title: format!("RSS in MiB before and after all but 0.1 % is released; {meaning}"),
        columns: columns.map(|heading| (heading.to_owned(), 1)).into(),
        rows: named().map(|(name, tide)| (name, tide.figures())).collect(),
        plot: Some(Plot::Lines {
            x: Axis { title: "seconds".to_owned(), logarithmic: false },
            y: Axis { title: "RSS in MiB".to_owned(), logarithmic: false },
            series: series.collect(),
        }),
    }
}

fn footprints(launcher: &Launcher, mallocs: &[Malloc], done: impl Fn()) -> Result<Table> {
    const THREADS: f64 = 200.0;
    const TRIES: usize = 9;
    let program = Program::new(launcher.workload("footprint")?, &[&THREADS.to_string(), "0"]);
    let mut rows = Vec::new();
    for malloc in mallocs {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            let (cost, output) = launcher.run(&program, malloc)?;
            let text = String::from_utf8(output)?;
            let figures: Vec<f64> = text
                .split_whitespace()
                .map(f64::from_str)
                .collect::<std::result::Result<_, _>>()?;
            let [before, during] = figures[..] else { return Err("no footprint".into()) };
            tries.push([before, (during - before) / THREADS, cost.peak * 1024.0]);
        }
        // Where libraries lie in memory is random, and with it which of their pages are loaded.
        let median = |figure: usize| {
            tries.sort_by(|a, b| a[figure].total_cmp(&b[figure]));
            Some(tries[TRIES / 2][figure])
        };
        rows.push((malloc.name.to_owned(), [0, 1, 2].map(median).into()));
        done();
    }
    let columns = ["process that has one block", "each of 200 threads with one", "peak with all"];
    Ok(Table {
        title: "RSS at the least, KiB, median".to_owned(),
        columns: columns.map(|heading| (heading.to_owned(), 0)).into(),
        rows,
        plot: None,
    })
}

/// RSS of programs that run on and on, at two times.
fn long_runs(
    launcher: &Launcher,
    mallocs: &[Malloc],
    seconds: [u64; 2],
    done: impl Fn(),
) -> Result<Table> {
    let mut rows: Vec<_> = mallocs.iter().map(|it| (it.name.to_owned(), Vec::new())).collect();
    let mut columns = Vec::new();
    for (workload, threads) in LONG_RUNS {
        let arguments = [&*threads.to_string(), &u32::MAX.to_string()];
        let program = Program::new(launcher.workload(workload)?, &arguments);
        // All at once: it is memory that counts, not time.
        let runs: Result<Vec<_>> =
            mallocs.iter().map(|malloc| launcher.start(&program, malloc)).collect();
        let mut runs = runs?;
        let mut passed = 0;
        for at in seconds {
            thread::sleep(Duration::from_secs(at - passed));
            passed = at;
            columns.push((format!("{workload}, MiB after {at} s"), 1));
            for (run, (_, figures)) in runs.iter().zip(&mut rows) {
                figures.push(resident(run.id()));
            }
        }
        for run in &mut runs {
            run.kill()?;
            run.wait()?;
        }
        done();
    }
    Ok(Table { title: "RSS of long runs".to_owned(), columns, rows, plot: None })
}

/// RSS of a process in MiB; `None` if it has ended.
fn resident(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(f64::from_str(line.trim().strip_suffix(" kB")?).ok()? / 1024.0)
}
