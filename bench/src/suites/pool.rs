//! Time per operation of one thread and of several on one pool, in rounds over all peers.
//!
//! Every measurement is over a new region.

use std::sync::Barrier;
use std::thread;

use super::progress;
use crate::clock;
use crate::comparison::{Field, Figures};
use crate::peers::{self, Arena, EMPTY, Kind, SharedPeer};
use crate::region;
use crate::trace::{Driver, Trace, Work};
use crate::{Findings, Options, Result};

const PAIR: (&str, Work) = ("alloc and release of 64 bytes", Work::Pair { size: 64 });
const FEW: (&str, Work) = ("mix of sizes, few blocks", Work::Mix { growth: 0.5 });
const MANY: (&str, Work) = ("mix of sizes, 10,000 blocks", Work::Mix { growth: 0.75 });

/// What one thread does, and what each of several does.
const ALONE: [(&str, Work); 3] = [PAIR, FEW, MANY];
const TOGETHER: [(&str, Work); 2] = [PAIR, FEW];
const THREADS: [usize; 2] = [2, 8];

/// Operations of all threads together, enough to outlast the system's turns.
const TOGETHER_COUNT: usize = 1_000_000;

pub fn run(options: &Options) -> Result<Findings> {
    let rounds = options.runs(3, 15);
    let count = if options.quick { 100_000 } else { 1_000_000 };
    let pools = options.pools()?;
    let (all, shared) = (field(&pools, |_| true), field(&pools, Kind::is_shared));
    let bar = progress(
        rounds * (ALONE.len() * all.len() + THREADS.len() * TOGETHER.len() * shared.len()),
    );
    let rounds =
        |field: &Field<_>, title: &str, measure: &dyn Fn(&Kind) -> Option<f64>| -> Figures {
            field.rounds(rounds, |name, kind| {
                bar.set_message(format!("{title} on {name}"));
                bar.inc(1);
                measure(kind)
            })
        };
    let mut tables = Vec::new();
    for (title, work) in ALONE {
        let trace = Trace::new(work, count);
        let figures = rounds(&all, title, &|kind| {
            (!(kind.linear && work.crowded())).then(|| alone(kind, &trace) / count as f64)
        });
        tables.push(figures.table(format!("CPU time: {title}"), "ns"));
    }
    for threads in THREADS {
        for (title, work) in TOGETHER {
            let trace = Trace::new(work, TOGETHER_COUNT / threads);
            let figures = rounds(&shared, title, &|kind| {
                Some(together(kind, &trace, threads) / TOGETHER_COUNT as f64)
            });
            let title = format!("Elapsed time: {title}, {threads} threads on one pool");
            tables.push(figures.table(title, "ns"));
        }
    }
    bar.finish_and_clear();
    Ok(Findings { versions: peers::versions(), tables })
}

/// HeapMaster, those of the peers that fit, and the driver alone.
fn field(peers: &[&'static Kind], fits: fn(&Kind) -> bool) -> Field<&'static Kind> {
    let heapmaster = &peers::ALL[0];
    let others = peers.iter().filter(|peer| peer.name != heapmaster.name && fits(peer));
    let others = others.map(|&peer| (peer.name.to_owned(), peer));
    let driver = ("the driver alone".to_owned(), EMPTY);
    Field::new((heapmaster.name, heapmaster), others.chain([driver]))
}

/// Nanoseconds of CPU time that the trace takes on a peer which has done it once before.
fn alone(kind: &Kind, trace: &Trace) -> f64 {
    let arena = Arena::new(kind, region::SIZE).expect("64 MiB are enough for every peer");
    let mut driver = Driver::new(&*arena);
    driver.replay(trace);
    driver.clear(trace);
    let start = clock::cpu_time();
    driver.replay(trace);
    clock::cpu_time() - start
}

/// Nanoseconds that pass from when the first of the threads begins to replay the trace until the last is
/// done, after all have done it once before.
fn together(kind: &Kind, trace: &Trace, threads: usize) -> f64 {
    let arena = Arena::shared(kind, region::SIZE).expect("64 MiB are enough for every peer");
    let peer: &SharedPeer = &*arena;
    let warm = Barrier::new(threads);
    let work = || {
        let mut driver = Driver::new(peer);
        driver.replay(trace);
        driver.clear(trace);
        warm.wait();
        let start = clock::monotonic();
        driver.replay(trace);
        start..clock::monotonic()
    };
    let times: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let start = times.iter().map(|time| time.start).fold(f64::INFINITY, f64::min);
    let end = times.iter().map(|time| time.end).fold(0.0, f64::max);
    end - start
}
