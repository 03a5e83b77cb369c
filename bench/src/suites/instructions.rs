//! Instructions per operation, exactly: counted by callgrind, without the driver's own.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use super::progress;
use crate::callgrind::{instructions, most_instructions};
use crate::counted::{Counted, Work};
use crate::mallocs::{self, HEAPMASTER, Malloc};
use crate::peers::{self, EMPTY, Kind};
use crate::plot::{Bar, Plot};
use crate::programs::Launcher;
use crate::report::Table;
use crate::trace::{self, ALL};
use crate::{Findings, Options, Result};

/// What is counted of mallocs.
const COUNTED: [(&str, Work); 8] = [
    ("pair of 64 B", Work::new("pair-64")),
    ("pair of 2000 B", Work::new("pair-2000")),
    ("mix", Work::new("mix")),
    ("mix, 1 MiB live", Work { live: 1, ..Work::new("mix") }),
    ("mix, 1 GiB live", Work { live: 1024, ..Work::new("mix") }),
    ("pair of 64 B, 10,000 spans of it", Work { live: 160, ..Work::new("pair-64") }),
    ("pair of 64 B, 1000 threads", Work { threads: 1000, ..Work::new("pair-64") }),
    ("mix, 1000 threads", Work { threads: 1000, ..Work::new("mix") }),
];

/// The other columns are about growth, and take long.
const QUICK: usize = 3;

pub fn run(options: &Options) -> Result<Findings> {
    // One list of names for two kinds of peers: each part takes those that it knows.
    let is_named =
        |name: &str| options.peers.is_empty() || options.peers.iter().any(|it| it == name);
    let known: Vec<_> = mallocs::names().chain(peers::ALL.iter().map(|it| it.name)).collect();
    if let Some(unknown) = options.peers.iter().find(|it| !known.contains(&it.as_str())) {
        return Err(format!("there is no peer {unknown}; they are {}", known.join(", ")).into());
    }
    let pools: Vec<_> = peers::ALL.iter().filter(|pool| is_named(pool.name)).collect();
    let named: Vec<_> = options
        .peers
        .iter()
        .filter(|peer| mallocs::names().any(|it| it == **peer))
        .cloned()
        .collect();
    let only_pools = named.is_empty() && !options.peers.is_empty();
    let mallocs = if only_pools { Vec::new() } else { mallocs::chosen(&named)? };
    let counted = if options.quick { &COUNTED[..QUICK] } else { &COUNTED };
    let bar = progress(ALL.len() * (pools.len() + 1) + counted.len() * (mallocs.len() + 1));
    let mut tables = Vec::new();
    if !mallocs.is_empty() {
        tables.push(of_mallocs(&mallocs, counted, &bar)?);
    }
    if !pools.is_empty() {
        tables.push(of_pools(&pools, options.quick, &bar)?);
        if !options.quick {
            tables.push(single_operations(&pools, &bar)?);
        }
    }
    bar.finish_and_clear();
    let versions = [mallocs::versions(&mallocs), peers::versions()].concat();
    Ok(Findings { versions, tables })
}

fn of_mallocs(mallocs: &[Malloc], works: &[(&str, Work)], bar: &ProgressBar) -> Result<Table> {
    let counted = Counted::new(&Launcher::new()?)?;
    let driver = works.iter().map(|(_, work)| {
        bar.inc(1);
        counted.driver(work)
    });
    let driver = driver.collect::<Result<Vec<_>>>()?;
    let rows = mallocs.iter().map(|malloc| {
        let costs = works.iter().zip(&driver).map(|((heading, work), driver)| {
            bar.set_message(format!("{heading} on {}", malloc.name));
            bar.inc(1);
            match counted.with(work, malloc) {
                Ok(cost) => Ok(Some(cost - driver)),
                Err(error) if malloc.name == HEAPMASTER => Err(error),
                // Valgrind has not room for everybody.
                Err(error) => {
                    bar.println(error.to_string().lines().next().unwrap_or_default());
                    Ok(None)
                }
            }
        });
        Ok((malloc.name.to_owned(), costs.collect::<Result<_>>()?))
    });
    Ok(Table {
        title: "Instructions of malloc and free together".to_owned(),
        columns: works.iter().map(|it| (it.0.to_owned(), 1)).collect(),
        rows: rows.collect::<Result<_>>()?,
        plot: Some(Plot::Bars {
            axis: "instructions".to_owned(),
            bars: (0..QUICK).map(Bar::plain).collect(),
        }),
    })
}

fn of_pools(pools: &[&Kind], quick: bool, bar: &ProgressBar) -> Result<Table> {
    let measure = |peer: &Kind, (name, work): &(&str, trace::Work)| {
        bar.set_message(format!("{name} on {}", peer.name));
        let cost = per_operation(peer, name, operations(*work, quick));
        bar.inc(1);
        cost
    };
    let driver = ALL.iter().map(|work| measure(EMPTY, work)).collect::<Result<Vec<_>>>()?;
    let rows = pools.iter().map(|peer| {
        let costs =
            ALL.iter().zip(&driver).map(|(work, driver)| Ok(Some(measure(peer, work)? - driver)));
        Ok((peer.name.to_owned(), costs.collect::<Result<_>>()?))
    });
    Ok(Table {
        title: "Instructions per pair of alloc and release, and per operation of a mix".to_owned(),
        columns: ALL.iter().map(|(name, _)| ((*name).to_owned(), 1)).collect(),
        rows: rows.collect::<Result<_>>()?,
        plot: Some(Plot::Bars {
            axis: "instructions".to_owned(),
            bars: (0..ALL.len()).map(Bar::plain).collect(),
        }),
    })
}

/// The most that a single operation took, which is what a program with deadlines asks.
fn single_operations(pools: &[&Kind], bar: &ProgressBar) -> Result<Table> {
    const OPERATIONS: usize = 20_000;
    const MIXES: [&str; 2] = ["mix", "mix-full"];
    let measure = |peer: &Kind, work: &str| {
        bar.set_message(format!("single operations of {work} on {}", peer.name));
        most_instructions(peer, work, OPERATIONS)
    };
    let driver = MIXES.iter().map(|work| measure(EMPTY, work)).collect::<Result<Vec<_>>>()?;
    let rows = pools.iter().map(|peer| {
        let most = MIXES.iter().zip(&driver);
        let most = most.map(|(work, driver)| Ok(Some((measure(peer, work)? - driver) as f64)));
        Ok((peer.name.to_owned(), most.collect::<Result<_>>()?))
    });
    Ok(Table {
        title: format!("The most instructions of one of {OPERATIONS} operations"),
        columns: MIXES.iter().map(|work| ((*work).to_owned(), 0)).collect(),
        rows: rows.collect::<Result<_>>()?,
        plot: None,
    })
}

/// Which of a work's operations count. The first pairs warm up: they touch memory for the first time and
/// set up what a size needs. A mix counts from its start, since that is how a program begins.
fn operations(work: trace::Work, quick: bool) -> Range<usize> {
    match work {
        trace::Work::Pair { .. } => 10_000..20_000,
        trace::Work::Mix { .. } if quick => 0..10_000,
        trace::Work::Mix { .. } => 0..100_000,
    }
}

/// Instructions per operation in this range of the work, the driver's own among them.
fn per_operation(peer: &Kind, work: &str, range: Range<usize>) -> Result<f64> {
    let before = instructions(peer, work, range.start)?;
    let after = instructions(peer, work, range.end)?;
    Ok((after - before) as f64 / range.len() as f64)
}

/// How much more than the committed figure counts as a regression.
const TOLERANCE: f64 = 0.02;

/// What HeapMaster's own figures are by the committed table.
type Budget = BTreeMap<String, f64>;

fn budget_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// HeapMaster's own figures, as the committed table has them.
fn own_figures() -> Result<Budget> {
    let own = ["heapmaster", "heapmaster-st"].map(str::to_owned).into();
    let options =
        Options { peers: own, only: Vec::new(), runs: None, quick: true, out: PathBuf::new() };
    let mut figures = Budget::new();
    for table in run(&options)?.tables {
        let columns: Vec<_> = table.columns.iter().map(|column| &column.0).collect();
        for (name, costs) in table.rows {
            // The malloc substitute and the pool have one name.
            let of = if table.title.contains("malloc") { "malloc" } else { &name };
            let costs = columns.iter().zip(costs);
            figures.extend(costs.filter_map(|(column, cost)| {
                Some((format!("{of}: {column}"), (cost? * 10.0).round() / 10.0))
            }));
        }
    }
    Ok(figures)
}

/// Writes the table that [`check`] compares with.
pub fn update() -> Result<()> {
    fs::write(budget_file(), format!("{:#}\n", json!(own_figures()?)))?;
    Ok(())
}

/// Compares HeapMaster's figures with the committed table.
pub fn check() -> Result<()> {
    let budget: Budget = serde_json::from_str(&fs::read_to_string(budget_file())?)?;
    let figures = own_figures()?;
    let mut worse = Vec::new();
    for (name, now) in &figures {
        let Some(before) = budget.get(name) else {
            return Err(format!("{name} is not in {HEAPMASTER}'s table: run with --update").into());
        };
        println!("{name}: {now} ({before})");
        if *now > before * (1.0 + TOLERANCE) {
            worse.push(format!("{name}: {now} instructions, not {before}"));
        }
    }
    if worse.is_empty() { Ok(()) } else { Err(worse.join("\n").into()) }
}
