//! CPU time per operation, one thread, in rounds over all peers.
//!
//! A round measures every peer once, each over a new region, in random order: what the machine does
//! meanwhile falls on all of them. HeapMaster takes part twice; how far the
//! two are apart is what the figures of the others are uncertain by.

use std::mem::MaybeUninit;

use fastrand::Rng;

use super::progress;
use crate::peers::{self, Arena, EMPTY, Kind};
use crate::region;
use crate::report::Table;
use crate::sample::Sample;
use crate::trace::{Driver, Trace, Work};
use crate::{Options, Result};

const WORKS: &[(&str, Work)] = &[
    ("alloc and release of 64 bytes", Work::Pair { size: 64 }),
    ("mix of sizes, few blocks", Work::Mix { growth: 0.5 }),
    ("mix of sizes, 10,000 blocks", Work::Mix { growth: 0.75 }),
];

pub fn run(options: &Options) -> Result<Vec<Table>> {
    let (rounds, count) = if options.quick { (3, 100_000) } else { (15, 1_000_000) };
    let heapmaster = &peers::ALL[0];
    let mut entries = vec![(heapmaster.name.to_owned(), heapmaster)];
    entries.push((format!("{} again", heapmaster.name), heapmaster));
    let others = options.peers().into_iter().filter(|peer| peer.name != heapmaster.name);
    entries.extend(others.map(|peer| (peer.name.to_owned(), peer)));
    entries.push(("the driver alone".to_owned(), EMPTY));

    let bar = progress(WORKS.len() * rounds * entries.len());
    let mut rng = Rng::with_seed(1);
    let mut order: Vec<_> = (0..entries.len()).collect();
    let mut tables = Vec::new();
    for (title, work) in WORKS {
        let trace = Trace::new(*work, count);
        let mut times = vec![Vec::new(); entries.len()];
        for _ in 0..rounds {
            rng.shuffle(&mut order);
            for &entry in &order {
                let (name, kind) = &entries[entry];
                bar.set_message(format!("{title} on {name}"));
                if !(kind.linear && work.crowded()) {
                    times[entry].push(measure(kind, &trace) / count as f64);
                }
                bar.inc(1);
            }
        }
        let names = entries.iter().map(|(name, _)| name.clone());
        tables.push(Table {
            title: format!("CPU time: {title}"),
            columns: vec![
                ("ns, median".to_owned(), 1),
                ("ratio to heapmaster, median".to_owned(), 2),
                ("least".to_owned(), 2),
                ("most".to_owned(), 2),
            ],
            rows: names.zip(times.iter().map(|mine| figures(mine, &times[0]))).collect(),
        });
    }
    bar.finish_and_clear();
    Ok(tables)
}

/// A row: the median of a peer's times, and the ratios to the reference's of the same rounds.
fn figures(times: &[f64], reference: &[f64]) -> Vec<Option<f64>> {
    let time = Sample::new(times.iter().copied().map(Some));
    let ratio = Sample::new(times.iter().zip(reference).map(|(mine, its)| Some(mine / its)));
    let ratio = ratio.as_ref();
    vec![
        time.map(|time| time.median()),
        ratio.map(Sample::median),
        ratio.map(Sample::min),
        ratio.map(Sample::max),
    ]
}

/// Nanoseconds that the trace takes on a peer which has done it once before.
fn measure(kind: &Kind, trace: &Trace) -> f64 {
    let arena = Arena::new(kind, region::SIZE).expect("64 MiB are enough for every peer");
    let mut driver = Driver::new(&*arena);
    driver.replay(trace);
    driver.clear(trace);
    let start = cpu_time();
    driver.replay(trace);
    cpu_time() - start
}

/// CPU time of this process so far, in nanoseconds.
fn cpu_time() -> f64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is good for a write.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(status, 0, "every Linux has this clock");
    // SAFETY: the call has succeeded, so it has written the time.
    let time = unsafe { time.assume_init() };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
