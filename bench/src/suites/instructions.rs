//! Instructions per operation, exactly: counted by callgrind, without the driver's own.

use std::ops::Range;

use super::progress;
use crate::callgrind::instructions;
use crate::peers::{self, EMPTY, Kind};
use crate::plot::{Bar, Plot};
use crate::report::Table;
use crate::trace::{ALL, Work};
use crate::{Findings, Options, Result};

pub fn run(options: &Options) -> Result<Findings> {
    let pools = options.pools()?;
    let bar = progress(ALL.len() * (pools.len() + 1));
    let measure = |peer: &Kind, (name, work): &(&str, Work)| {
        bar.set_message(format!("{name} on {}", peer.name));
        let cost = per_operation(peer, name, counted(*work, options.quick));
        bar.inc(1);
        cost
    };
    let driver = ALL.iter().map(|work| measure(EMPTY, work)).collect::<Result<Vec<_>>>()?;
    let rows = pools.iter().map(|peer| {
        let costs =
            ALL.iter().zip(&driver).map(|(work, driver)| Ok(Some(measure(peer, work)? - driver)));
        Ok((peer.name.to_owned(), costs.collect::<Result<_>>()?))
    });
    let rows = rows.collect::<Result<_>>()?;
    bar.finish_and_clear();
    let plot = Plot::Bars {
        axis: "instructions".to_owned(),
        bars: (0..ALL.len()).map(Bar::plain).collect(),
    };
    let table = Table {
        title: "Instructions per pair of alloc and release, and per operation of a mix".to_owned(),
        columns: ALL.iter().map(|(name, _)| ((*name).to_owned(), 1)).collect(),
        rows,
        plot: Some(plot),
    };
    Ok(Findings { versions: peers::versions(), tables: vec![table] })
}

/// Which of a work's operations count. The first pairs warm up: they touch memory for the first time and
/// set up what a size needs. A mix counts from its start, since that is how a program begins.
fn counted(work: Work, quick: bool) -> Range<usize> {
    match work {
        Work::Pair { .. } => 10_000..20_000,
        Work::Mix { .. } if quick => 0..10_000,
        Work::Mix { .. } => 0..100_000,
    }
}

/// Instructions per operation in this range of the work, the driver's own among them.
fn per_operation(peer: &Kind, work: &str, range: Range<usize>) -> Result<f64> {
    let before = instructions(peer, work, range.start)?;
    let after = instructions(peer, work, range.end)?;
    Ok((after - before) as f64 / range.len() as f64)
}
