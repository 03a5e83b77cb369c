//! Work for an allocator, written down before it is measured.
//!
//! A trace is the same for every peer: which block is released when does not depend on addresses. It never
//! holds more than the regions have room for, so an allocation that fails is a mistake of the suite.

use std::ops::Range;
use std::ptr;

use fastrand::Rng;

use crate::peers::Peer;
use crate::sizes::log_uniform;

const SEED: u64 = 1;

/// Blocks that are live at once in a mix, at most, and the sizes they have.
const MIX_LIVE: usize = 10_000;
const MIX_SIZES: Range<u32> = 16..8192;

/// A kind of work.
#[derive(Clone, Copy)]
pub enum Work {
    /// Allocates `size` bytes and releases them, over and over.
    Pair { size: u32 },
    /// Blocks of random sizes: while fewer than [`MIX_LIVE`] live, allocates one with probability
    /// `growth`, and otherwise releases a random one.
    ///
    /// With 1/2 the number of live blocks is a random walk that 100,000 operations take to some hundreds.
    /// With more it rises to the cap and stays there.
    Mix { growth: f64 },
}

impl Work {
    /// Whether thousands of blocks live at once.
    pub fn crowded(self) -> bool {
        matches!(self, Self::Mix { growth } if growth > 0.5)
    }
}

/// All kinds of work, by name.
pub const ALL: &[(&str, Work)] = &[
    ("pair-16", Work::Pair { size: 16 }),
    ("pair-64", Work::Pair { size: 64 }),
    ("pair-1024", Work::Pair { size: 1024 }),
    ("pair-2000", Work::Pair { size: 2000 }),
    ("mix", Work::Mix { growth: 0.5 }),
    ("mix-full", Work::Mix { growth: 0.75 }),
];

/// The work of that name.
pub fn find(name: &str) -> Result<Work, String> {
    let named = ALL.iter().find(|(known, _)| *known == name);
    named.map(|(_, work)| *work).ok_or_else(|| format!("no work is called {name}"))
}

/// One call of the allocator. A block has a slot in the driver's array while it lives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Alloc { slot: u32, size: u32 },
    Release { slot: u32, size: u32 },
}

/// A sequence of operations, and those that release what it leaves.
pub struct Trace {
    ops: Vec<Op>,
    rest: Vec<Op>,
}

impl Trace {
    /// `count` operations of this work; a pair counts as one.
    pub fn new(work: Work, count: usize) -> Self {
        match work {
            Work::Pair { size } => Self::pairs(size, count),
            Work::Mix { growth } => Self::mix(growth, count),
        }
    }

    fn pairs(size: u32, count: usize) -> Self {
        let pair = [Op::Alloc { slot: 0, size }, Op::Release { slot: 0, size }];
        Self { ops: pair.repeat(count), rest: Vec::new() }
    }

    fn mix(growth: f64, count: usize) -> Self {
        let mut rng = Rng::with_seed(SEED);
        let mut live: Vec<(u32, u32)> = Vec::new();
        // The slots in use are the live ones and these, with none left out.
        let mut vacant: Vec<u32> = Vec::new();
        let op = |_| {
            if live.is_empty() || (live.len() < MIX_LIVE && rng.f64() < growth) {
                let slot = vacant.pop().unwrap_or(live.len() as u32);
                let size = log_uniform(&mut rng, &MIX_SIZES);
                live.push((slot, size));
                Op::Alloc { slot, size }
            } else {
                let (slot, size) = live.swap_remove(rng.usize(..live.len()));
                vacant.push(slot);
                Op::Release { slot, size }
            }
        };
        let ops = (0..count).map(op).collect();
        let rest = live.iter().map(|&(slot, size)| Op::Release { slot, size }).collect();
        Self { ops, rest }
    }
}

/// Replays traces on one peer.
pub struct Driver<'a> {
    peer: &'a dyn Peer,
    slots: Vec<*mut u8>,
}

impl<'a> Driver<'a> {
    pub fn new(peer: &'a dyn Peer) -> Self {
        Self { peer, slots: vec![ptr::null_mut(); MIX_LIVE] }
    }

    /// Replays the operations, and leaves what they leave.
    pub fn replay(&mut self, trace: &Trace) {
        heapmaster_bench_replay(&trace.ops, self.peer, &mut self.slots);
    }

    /// The same with a call of the function that is counted for each operation.
    pub fn replay_one_by_one(&mut self, trace: &Trace) {
        for op in trace.ops.chunks(1) {
            heapmaster_bench_replay(op, self.peer, &mut self.slots);
        }
    }

    /// Releases what the replay of this trace has left.
    pub fn clear(&mut self, trace: &Trace) {
        heapmaster_bench_replay(&trace.rest, self.peer, &mut self.slots);
    }
}

/// What callgrind looks for, by its name: it counts the instructions of this function and its callees.
pub const REPLAY: &str = "heapmaster_bench_replay";

#[unsafe(no_mangle)]
#[inline(never)]
fn heapmaster_bench_replay(ops: &[Op], peer: &dyn Peer, slots: &mut [*mut u8]) {
    for op in ops {
        match *op {
            Op::Alloc { slot, size } => {
                let block = peer.alloc(size as usize);
                assert!(!block.is_null(), "the region is too small for the trace");
                // As a program would: the first touch of a block's memory is a part of its cost.
                // SAFETY: a block is aligned to 16 bytes and holds at least as many.
                unsafe { block.cast::<u64>().write(u64::from(size)) };
                slots[slot as usize] = block;
            }
            // SAFETY: a trace releases a slot's block once, with the size it was allocated with.
            Op::Release { slot, size } => unsafe {
                peer.release(slots[slot as usize], size as usize);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_trace_releases_each_block_once_with_its_size_and_keeps_to_the_cap() {
        for &(name, work) in ALL {
            let trace = Trace::new(work, 50_000);
            let mut live = HashMap::new();
            let mut most = 0;
            for op in trace.ops.iter().chain(&trace.rest) {
                match *op {
                    Op::Alloc { slot, size } => assert_eq!(live.insert(slot, size), None, "{name}"),
                    Op::Release { slot, size } => {
                        assert_eq!(live.remove(&slot), Some(size), "{name}");
                    }
                }
                most = most.max(live.len());
            }
            assert!(live.is_empty(), "{name}");
            assert!(most <= MIX_LIVE, "{name}");
            assert_eq!(most == MIX_LIVE, work.crowded(), "{name}");
        }
    }

    #[test]
    fn a_longer_mix_begins_with_the_shorter() {
        let [short, long] =
            [100, 200].map(|count| Trace::new(Work::Mix { growth: 0.5 }, count).ops);
        assert_eq!(short[..], long[..100]);
    }
}
