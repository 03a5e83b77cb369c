//! Measures HeapMaster and its peers on the same work.
//!
//! `cargo run --release -p heapmaster-bench -- SUITE [--peers a,b] [--quick]` prints markdown tables and
//! keeps them, with the figures as JSON, in `bench/results/`. A suite is one file in `suites/`; the rest is
//! what they share:
//!
//! ```text
//! region     memory for one allocator
//! peers      the allocators, behind one trait
//! sizes      random sizes of requests
//! trace      work for an allocator, written down before it is measured
//! load       live blocks of random sizes, for work that can't be written down before
//! clock      the clocks of the system
//! callgrind  counts the instructions of a trace in a process of its own
//! counted    the instructions of a program that calls malloc and free
//! sample     a figure measured several times
//! comparison rounds over all peers, and ratios with their spread
//! mallocs    allocators in malloc's place, built into libraries to preload
//! programs   programs under one of them, and what a run costs
//! report     tables, as markdown and JSON, with plots
//! plot       plots of tables, as SVG
//! ```

mod callgrind;
mod clock;
mod comparison;
mod counted;
mod load;
mod mallocs;
mod peers;
mod plot;
mod programs;
mod region;
mod report;
mod sample;
mod sizes;
mod suites;
mod trace;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use peers::Kind;
use report::{Report, Table};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Measures HeapMaster and its peers on the same work")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU time and peak memory of programs with each allocator as their malloc
    Malloc(Options),
    /// Instructions per operation, counted by callgrind
    Instructions {
        #[command(flatten)]
        options: Options,
        /// Fail if HeapMaster takes 2 % more than the committed table says
        #[arg(long)]
        check: bool,
        /// Write that table
        #[arg(long, conflicts_with = "check")]
        update: bool,
    },
    /// How much of its region an allocator can hand out, at first and after long use
    Fragmentation(Options),
    /// CPU time per operation, in rounds over all peers
    Pool(Options),
    /// How long single calls of malloc and free take
    Latency(Options),
    /// Memory over time: whether it comes back to the system
    MemoryReturn(Options),
    /// Programs with an error in their use of memory: under which malloc they end in a report
    Misuse(Options),
    /// What the checks cost that find such errors
    Checks(Options),
    /// Replays one trace; `instructions` runs this under callgrind
    #[command(hide = true)]
    Driver(callgrind::Driver),
}

/// What every suite is told.
#[derive(Args)]
struct Options {
    /// The peers to measure, all if none is named
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// The workloads to measure, by the beginnings of their names; all if none is named
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Repetitions of each measurement, instead of the suite's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Fewer repetitions and shorter work: to try the suite, not to quote
    #[arg(long)]
    quick: bool,
    /// Where the results are written
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
}

impl Options {
    /// The pools among the peers.
    fn pools(&self) -> Result<Vec<&'static Kind>> {
        if self.peers.is_empty() {
            return Ok(peers::ALL.iter().collect());
        }
        self.peers.iter().map(|name| Ok(peers::find(name)?)).collect()
    }

    /// Whether a workload of this name is to be measured.
    fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| workload.starts_with(start))
    }

    /// Repetitions: what the user says, or the suite's own number for a quick run or a full one.
    fn runs(&self, quick: u32, full: u32) -> usize {
        self.runs.unwrap_or(if self.quick { quick } else { full }) as usize
    }
}

/// What a suite finds.
struct Findings {
    /// Names and versions of what was measured.
    versions: Vec<(String, String)>,
    tables: Vec<Table>,
}

/// What a suite does.
type Suite = fn(&Options) -> Result<Findings>;

fn main() -> Result<()> {
    let (name, suite, options): (_, Suite, _) = match Cli::parse().command {
        Command::Malloc(options) => ("malloc", suites::malloc::run, options),
        Command::Instructions { check: true, .. } => return suites::instructions::check(),
        Command::Instructions { update: true, .. } => return suites::instructions::update(),
        Command::Instructions { options, .. } => {
            ("instructions", suites::instructions::run, options)
        }
        Command::Fragmentation(options) => ("fragmentation", suites::fragmentation::run, options),
        Command::Pool(options) => ("pool", suites::pool::run, options),
        Command::Latency(options) => ("latency", suites::latency::run, options),
        Command::MemoryReturn(options) => ("memory-return", suites::memory_return::run, options),
        Command::Misuse(options) => ("misuse", suites::misuse::run, options),
        Command::Checks(options) => ("checks", suites::checks::run, options),
        Command::Driver(driver) => {
            driver.run();
            return Ok(());
        }
    };
    let Findings { versions, tables } = suite(&options)?;
    let report = Report { suite: name, quick: options.quick, versions, tables };
    print!("{}", report.markdown());
    report.save(&options.out)
}
