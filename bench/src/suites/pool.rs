//! CPU time per operation, one thread, in rounds over all peers.
//!
//! Every measurement is over a new region.

use std::mem::MaybeUninit;

use super::progress;
use crate::comparison::Field;
use crate::peers::{self, Arena, EMPTY, Kind};
use crate::region;
use crate::report::Table;
use crate::trace::{Driver, Trace, Work};
use crate::{Options, Result};

const WORKS: &[(&str, Work)] = &[
    ("alloc and release of 64 bytes", Work::Pair { size: 64 }),
    ("mix of sizes, few blocks", Work::Mix { growth: 0.5 }),
    ("mix of sizes, 10,000 blocks", Work::Mix { growth: 0.75 }),
];

pub fn run(options: &Options) -> Result<Vec<Table>> {
    let rounds = options.runs(3, 15);
    let count = if options.quick { 100_000 } else { 1_000_000 };
    let heapmaster = &peers::ALL[0];
    let others = options.peers().into_iter().filter(|peer| peer.name != heapmaster.name);
    let others = others.map(|peer| (peer.name.to_owned(), peer));
    let driver = ("the driver alone".to_owned(), EMPTY);
    let field = Field::new((heapmaster.name, heapmaster), others.chain([driver]));

    let bar = progress(WORKS.len() * rounds * field.len());
    let tables = WORKS.iter().map(|(title, work)| {
        let trace = Trace::new(*work, count);
        let figures = field.rounds(rounds, |name, kind| {
            bar.set_message(format!("{title} on {name}"));
            bar.inc(1);
            (!(kind.linear && work.crowded())).then(|| measure(kind, &trace) / count as f64)
        });
        figures.table(format!("CPU time: {title}"), "ns")
    });
    let tables = tables.collect();
    bar.finish_and_clear();
    Ok(tables)
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
