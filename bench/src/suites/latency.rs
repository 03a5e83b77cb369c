//! How long single calls of malloc and free take, as programs feel it: with the clock, the interrupts and the
//! page faults.

use hdrhistogram::Histogram;

use super::progress;
use crate::comparison::CONTROL;
use crate::mallocs::{self, Malloc};
use crate::plot::{Axis, Plot, Series};
use crate::programs::{Launcher, Program};
use crate::report::Table;
use crate::{Findings, Options, Result};

const THREADS: [usize; 3] = [1, 2, 8];
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p99.999", 0.99999)];

/// What all runs of one malloc have shown.
type Times = Histogram<u64>;

pub fn run(options: &Options) -> Result<Findings> {
    let mallocs = mallocs::chosen(&options.peers)?;
    let launcher = Launcher::new()?;
    let path = launcher.workload("latency")?;
    let rounds = options.runs(1, 5);
    let operations = if options.quick { 400_000 } else { 4_000_000 };
    let bar = progress(THREADS.len() * rounds * (mallocs.len() + 2));
    let mut tables = Vec::new();
    for threads in THREADS {
        // HeapMaster twice, and the clock alone, which needs no malloc.
        let clock = &mallocs[mallocs.len() - 1];
        let again = format!("{}{CONTROL}", mallocs[0].name);
        let mut rows: Vec<(String, &Malloc, usize, Times)> = Vec::new();
        let mut row = |name: &str, malloc, work| -> Result<()> {
            rows.push((name.to_owned(), malloc, work, Histogram::new(3)?));
            Ok(())
        };
        row(mallocs[0].name, &mallocs[0], operations)?;
        row(&again, &mallocs[0], operations)?;
        for malloc in &mallocs[1..] {
            row(malloc.name, malloc, operations)?;
        }
        row("the clock alone", clock, 0)?;
        for _ in 0..rounds {
            for (name, malloc, work, times) in &mut rows {
                bar.set_message(format!("{name}, {threads} threads"));
                let program = Program::new(&path, &[&threads.to_string(), &work.to_string()]);
                let (_, samples) = launcher.run(&program, malloc)?;
                for sample in samples.chunks_exact(4) {
                    let nanoseconds = u32::from_ne_bytes(sample.try_into()?);
                    times.record(nanoseconds.into())?;
                }
                bar.inc(1);
            }
        }
        tables.push(table(threads, &rows));
    }
    bar.finish_and_clear();
    Ok(Findings { versions: mallocs::versions(&mallocs), tables })
}

fn table(threads: usize, rows: &[(String, &Malloc, usize, Times)]) -> Table {
    let mut columns: Vec<_> = QUANTILES.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
    columns.push(("most".to_owned(), 0));
    let figures = |times: &Times| {
        let quantiles = QUANTILES.iter().map(|(_, share)| times.value_at_quantile(*share) as f64);
        quantiles.chain([times.max() as f64]).map(Some).collect()
    };
    let series = rows.iter().map(|(name, _, _, times)| -> Series {
        // One call in so many takes at least so long.
        let points = (0..=60).map(|step| {
            let one_in = 10_f64.powf(f64::from(step) / 10.0);
            (one_in, times.value_at_quantile(1.0 - 1.0 / one_in).max(1) as f64)
        });
        (name.clone(), points.collect())
    });
    Table {
        title: format!("Nanoseconds of a call of malloc or free, {threads} threads"),
        columns,
        rows: rows.iter().map(|(name, _, _, times)| (name.clone(), figures(times))).collect(),
        plot: Some(Plot::Lines {
            x: Axis { title: "one call in so many takes at least".to_owned(), logarithmic: true },
            y: Axis { title: "nanoseconds".to_owned(), logarithmic: true },
            series: series.collect(),
        }),
    }
}
