//! Released blocks that wait before their memory is used again.
//!
//! A ring, first in, first out: a block leaves when there are too many behind it, or too many bytes. So memory is
//! handed out again at the earliest when [`Quarantine::MOST_BLOCKS`] others were released since, or more than
//! [`Quarantine::MOST_BYTES`] wait, itself among them, and a pointer to it that is still used meanwhile does no harm, or
//! shows.

use super::Region;

/// See the module.
pub(crate) struct Quarantine {
    ring: [Option<Region>; Quarantine::MOST_BLOCKS],
    /// Blocks that came and that left: where in the ring the next comes, and the oldest is.
    came: usize,
    left: usize,
    bytes: usize,
    /// The most of them.
    most_bytes: usize,
}

impl Quarantine {
    /// The most blocks that wait.
    pub(crate) const MOST_BLOCKS: usize = 128;

    /// The most bytes of them, as they weigh.
    pub(crate) const MOST_BYTES: usize = 256 << 10;

    /// A larger block does not wait: it may be what memory is short of.
    pub(crate) const LARGEST: usize = 4 << 20;

    pub(crate) const fn new() -> Quarantine {
        Quarantine::of(Quarantine::MOST_BYTES)
    }

    /// One of fewer bytes.
    pub(crate) const fn of(most_bytes: usize) -> Quarantine {
        Quarantine { ring: [None; Self::MOST_BLOCKS], came: 0, left: 0, bytes: 0, most_bytes }
    }

    /// Makes a new one where it is to be, by no way over the stack.
    ///
    /// # Safety
    /// There is memory for one, which nobody else uses.
    pub(crate) unsafe fn make(quarantine: *mut Quarantine) {
        // SAFETY: the caller's promise.
        unsafe {
            let ring = (&raw mut (*quarantine).ring).cast::<Option<Region>>();
            (0..Self::MOST_BLOCKS).for_each(|place| ring.add(place).write(None));
            (&raw mut (*quarantine).came).write(0);
            (&raw mut (*quarantine).left).write(0);
            (&raw mut (*quarantine).bytes).write(0);
            (&raw mut (*quarantine).most_bytes).write(Self::MOST_BYTES);
        }
    }

    /// Takes in a block, and lets the one out that its place is needed for, which is the oldest.
    #[inline(always)]
    pub(crate) fn push(&mut self, block: Region) -> Option<Region> {
        let out = self.ring[self.came % Self::MOST_BLOCKS].replace(block);
        self.came += 1;
        self.bytes += weight(block);
        if let Some(out) = out {
            self.left += 1;
            self.bytes -= weight(out);
        }
        out
    }

    /// Lets the oldest block out if there are too many bytes.
    #[inline(always)]
    pub(crate) fn pop_excess(&mut self) -> Option<Region> {
        if self.bytes > self.most_bytes { self.pop() } else { None }
    }

    /// Lets the oldest block out.
    pub(crate) fn pop(&mut self) -> Option<Region> {
        let block = self.ring[self.left % Self::MOST_BLOCKS].take()?;
        self.left += 1;
        self.bytes -= weight(block);
        Some(block)
    }

    /// Lets the oldest block out of those that are meant. Cost: a step a block that waits.
    pub(crate) fn pop_one_of(&mut self, is_meant: impl Fn(Region) -> bool) -> Option<Region> {
        let mut out = None;
        // Once round, so that the others wait in the same order.
        for _ in self.left..self.came {
            let Some(block) = self.pop() else { break };
            if out.is_none() && is_meant(block) {
                out = Some(block);
            } else {
                self.push(block);
            }
        }
        out
    }

    /// The blocks that wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Region> {
        self.ring.iter().flatten().copied()
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = Quarantine::of(self.most_bytes);
    }
}

/// What a block weighs: a few always wait, however large.
#[inline(always)]
fn weight(block: Region) -> usize {
    const MOST: usize = 32 << 10;
    block.len.min(MOST)
}
