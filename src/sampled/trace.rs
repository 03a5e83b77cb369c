//! Who did something: a thread, and the calls that it was in.

use crate::os;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most calls of a trace.
const MOST: usize = 16;

/// Writes the return addresses of the calls that the caller is in, innermost first, and says how many.
pub type TraceFn = fn(&mut [usize]) -> usize;

static TRACER: AtomicUsize = AtomicUsize::new(0);

/// Sets what traces calls. It may not allocate, nor wait.
pub fn set_tracer(tracer: TraceFn) {
    TRACER.store(tracer as usize, Relaxed);
}

/// A thread, and the calls that it was in.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// The thread's number; 0 if there is no trace.
    pub thread: u32,
    calls: [usize; MOST],
    count: u8,
}

impl Trace {
    pub(super) const EMPTY: Trace = Trace { thread: 0, calls: [0; MOST], count: 0 };

    /// That of the caller.
    pub(super) fn here() -> Trace {
        let mut trace = Trace { thread: os::thread_number(), ..Trace::EMPTY };
        let tracer = TRACER.load(Relaxed);
        if tracer != 0 {
            // SAFETY: it was stored as one.
            let tracer = unsafe { core::mem::transmute::<usize, TraceFn>(tracer) };
            trace.count = tracer(&mut trace.calls).min(MOST) as u8;
        }
        trace
    }

    /// The return addresses of the calls, innermost first.
    pub fn calls(&self) -> &[usize] {
        &self.calls[..self.count.into()]
    }
}

/// Who allocated a block, and who released it.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Who allocated it.
    pub allocated: Trace,
    /// Who released it; its thread is 0 if nobody has.
    pub released: Trace,
}

impl Record {
    pub(super) const EMPTY: Record = Record { allocated: Trace::EMPTY, released: Trace::EMPTY };
}
