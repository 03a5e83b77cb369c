//! How much of its region an allocator can hand out: at first, after long use, in one piece, and of a
//! small region.
//!
//! Payload is what was asked for, not what the allocator made of it: rounding, headers, bookkeeping and
//! holes all count against it. What an allocator keeps outside the region doesn't; the last column of the
//! table of small regions shows how much that is.

use super::progress;
use crate::load::Load;
use crate::peers::{self, Arena, Kind, Peer};
use crate::plot::{Bar, Plot};
use crate::region;
use crate::report::Table;
use crate::sample::Sample;
use crate::{Findings, Options, Result};

/// How finely the sustained load is sought, in percent of the region.
const RESOLUTION: f64 = 0.25;

/// How finely the largest free block is sought, in bytes.
const GRAIN: usize = 16;

/// How hard the suite tries.
struct Effort {
    /// Blocks replaced before a load counts as sustained.
    sustained: usize,
    /// Blocks replaced before the largest free block is sought.
    churn: usize,
}

const FULL: Effort = Effort { sustained: 300_000, churn: 1_000_000 };
const QUICK: Effort = Effort { sustained: 30_000, churn: 100_000 };

pub fn run(options: &Options) -> Result<Findings> {
    let effort = if options.quick { QUICK } else { FULL };
    let pools = options.pools()?;
    let mut tables = large(&pools, &effort, options.runs(1, 5) as u64);
    tables.push(small(&pools));
    Ok(Findings { versions: peers::versions(), tables })
}

/// A table for each question about a large region.
fn large(peers: &[&'static Kind], effort: &Effort, seeds: u64) -> Vec<Table> {
    let peers: Vec<_> = peers.iter().filter(|peer| !peer.linear).collect();
    let &Effort { sustained: replaced, churn } = effort;
    let bar = progress(peers.len() * seeds as usize);
    let ask = |peer: &Kind, seed| {
        bar.set_message(format!("{}, seed {seed}", peer.name));
        let (block, by_statistics) = largest_block(peer, seed, churn);
        let sustained = sustained(peer, seed, replaced);
        bar.inc(1);
        [Some(filled(peer, seed)), Some(sustained), Some(block), by_statistics]
    };
    let questions = [
        "Payload at the first failure, % of the region".to_owned(),
        format!("Highest payload without a failure in {replaced} replacements, % of the region"),
        format!("Largest free block after {churn} replacements at half load, % of what is free"),
        "The same by the allocator's own statistics".to_owned(),
    ];
    let mut tables = questions.map(|title| Table {
        title: format!("{title}; seeds: {seeds}"),
        columns: ["least", "median", "most"].map(|heading| (heading.to_owned(), 1)).into(),
        rows: Vec::new(),
        plot: Some(Plot::Bars {
            axis: "%, median, least and most".to_owned(),
            bars: vec![Bar { middle: 1, low: 0, high: 2 }],
        }),
    });
    for peer in peers {
        let answers: Vec<_> = (0..seeds).map(|seed| ask(peer, seed)).collect();
        for (question, table) in tables.iter_mut().enumerate() {
            // Nobody but HeapMaster answers the last question; who can't is not listed.
            if let Some(sample) = Sample::new(answers.iter().map(|answers| answers[question])) {
                let figures = [sample.min(), sample.median(), sample.max()];
                table.rows.push((peer.name.to_owned(), figures.map(Some).into()));
            }
        }
    }
    bar.finish_and_clear();
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn arena(kind: &Kind) -> Arena {
    Arena::new(kind, region::SIZE).expect("64 MiB are enough for every peer")
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Fills the region until a request fails.
fn filled(kind: &Kind, seed: u64) -> f64 {
    let arena = arena(kind);
    let mut load = Load::new(&*arena, seed);
    load.fill();
    percent(load.payload(), arena.size())
}

/// Seeks the highest load that is sustained, each try over a new region.
fn sustained(kind: &Kind, seed: u64, replacements: usize) -> f64 {
    let (mut good, mut bad) = (0.0, 100.0);
    while bad - good > RESOLUTION {
        let middle = f64::midpoint(good, bad);
        if sustains(kind, seed, middle, replacements) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    good
}

/// Whether no request fails while random blocks are replaced at this load, in percent of the region.
fn sustains(kind: &Kind, seed: u64, load: f64, replacements: usize) -> bool {
    let arena = arena(kind);
    let payload = (load / 100.0 * arena.size() as f64) as usize;
    let mut load = Load::new(&*arena, seed);
    load.grow_to(payload)
        && (0..replacements).all(|_| {
            load.remove();
            load.grow_to(payload)
        })
}

/// Fills the region, releases half of the blocks, replaces many, and seeks the largest block that can be
/// had then. The second figure is what the allocator itself says.
fn largest_block(kind: &Kind, seed: u64, churn: usize) -> (f64, Option<f64>) {
    let arena = arena(kind);
    let mut load = Load::new(&*arena, seed);
    load.fill();
    for _ in 0..load.len() / 2 {
        load.remove();
    }
    for _ in 0..churn {
        load.remove();
        // At half load there is room, and where there is none the block is just not replaced.
        load.add();
    }
    let free = arena.size() - load.payload();
    let by_statistics = arena.largest_free_share().map(|share| 100.0 * share);
    (percent(largest(&*arena, free), free), by_statistics)
}

/// Size of the largest block that can be had, less than `limit`.
fn largest(peer: &dyn Peer, limit: usize) -> usize {
    let (mut good, mut bad) = (0, limit);
    while bad - good > GRAIN {
        let middle = usize::midpoint(good, bad);
        let block = peer.alloc(middle);
        if block.is_null() {
            bad = middle;
        } else {
            // SAFETY: the block is live and has this size.
            unsafe { peer.release(block, middle) };
            good = middle;
        }
    }
    good
}

fn small(peers: &[&'static Kind]) -> Table {
    let count = |peer: &Kind, region, size| {
        let arena = Arena::new(peer, region)?;
        Some((0..).take_while(|_| !arena.alloc(size).is_null()).count() as f64)
    };
    let outside = |peer: &Kind| Some(Arena::new(peer, region::SIZE)?.outside() as f64);
    let columns =
        ["256 B in 4096 B", "64 B in 4096 B", "1 KiB in 64 KiB", "bytes kept outside the region"];
    Table {
        title: "Blocks that a small region holds".to_owned(),
        columns: columns.map(|heading| (heading.to_owned(), 0)).into(),
        rows: peers
            .iter()
            .map(|peer| {
                let figures = [
                    count(peer, 4096, 256),
                    count(peer, 4096, 64),
                    count(peer, 65536, 1024),
                    outside(peer),
                ];
                (peer.name.to_owned(), figures.into())
            })
            .collect(),
        plot: None,
    }
}
