//! What a program knows that uses an allocator: its blocks, and what it wrote into them.

use crate::are_all;
use std::collections::BTreeMap;
use std::ffi::c_void;

/// A live block, all of whose usable bytes were written.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub pointer: *mut c_void,
    /// Bytes asked for.
    pub size: usize,
    /// Bytes that may be used.
    pub usable: usize,
    /// What was asked for where it began to be where it is.
    pub alignment: usize,
    fill: u8,
}

impl Block {
    /// A block that no alignment was asked for of.
    pub fn unaligned(pointer: *mut c_void, size: usize) -> Block {
        Block { pointer, size, usable: size, alignment: LEAST_ALIGNMENT, fill: 0 }
    }

    pub fn address(&self) -> usize {
        self.pointer.addr()
    }

    pub fn end(&self) -> usize {
        self.address() + self.usable
    }

    /// Whether an address is that of a byte of the block, or, if it has none, of the block.
    pub fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.address()) < self.usable.max(1)
    }

    /// The address so many bytes into the block, or as many less as it has.
    pub fn inside(&self, offset: usize) -> usize {
        self.address() + offset % self.usable.max(1)
    }

    /// Fails unless the first bytes are what was written last.
    fn verify(&self, bytes: usize) {
        // SAFETY: the block is live, has that many bytes, and all of them were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.pointer.cast::<u8>(), bytes) };
        let kept = are_all(bytes, self.fill);
        assert!(kept, "the contents of the block at {:p} have changed", self.pointer);
    }
}

/// What every block is aligned to.
const LEAST_ALIGNMENT: usize = 16;

/// Bytes that a hardened block has behind those asked for.
const LEAST_TAIL: usize = 8;

/// The live blocks, by address.
#[derive(Default)]
pub struct Blocks {
    blocks: BTreeMap<usize, Block>,
    made: usize,
    hardened: bool,
}

impl Blocks {
    /// Of a hardened pool, if it is one.
    pub fn of_pool(hardened: bool) -> Blocks {
        Blocks { hardened, ..Blocks::default() }
    }

    /// Whether the pool can have a block of so many bytes; `None` are more than can be counted.
    pub fn may_be(&self, size: Option<usize>, alignment: usize) -> bool {
        /// What the header of a hardened block has room for.
        const MOST_HARDENED: usize = (1 << 44) - 1;
        let bytes = match size {
            Some(size) if self.hardened && size <= MOST_HARDENED => size
                .checked_add(alignment.max(LEAST_ALIGNMENT))
                .and_then(|bytes| bytes.checked_add(LEAST_TAIL)),
            size => size.filter(|_| !self.hardened),
        };
        bytes.is_some_and(|bytes| bytes <= isize::MAX as usize)
    }

    /// Whether the blocks are a hardened pool's.
    pub fn are_hardened(&self) -> bool {
        self.hardened
    }

    /// Notes a new block, and writes all its usable bytes.
    pub fn insert(&mut self, pointer: *mut c_void, size: usize, usable: usize) {
        self.insert_aligned(pointer, size, usable, LEAST_ALIGNMENT);
    }

    /// The same for a block of which an alignment was asked for.
    pub fn insert_aligned(
        &mut self,
        pointer: *mut c_void,
        size: usize,
        usable: usize,
        alignment: usize,
    ) {
        let address = pointer.addr();
        let alignment = alignment.max(LEAST_ALIGNMENT);
        let known = if self.hardened { usable == size } else { usable >= size.max(1) };
        assert!(known, "{usable} of {size} bytes can be used");
        assert!(address.is_multiple_of(alignment), "{pointer:p} is not aligned");
        let below = self.blocks.range(..address + usable.max(1)).next_back();
        let free = below.is_none_or(|(_, block)| block.end() <= address);
        assert!(free, "the new block at {pointer:p} overlaps a live one");
        self.made += 1;
        // No neighbour has the same.
        let fill = (self.made % 251) as u8 + 1;
        // SAFETY: the block is live and new, so that nobody else uses its bytes.
        unsafe { pointer.write_bytes(fill, usable) };
        self.put_back(Block { pointer, size, usable, alignment, fill });
    }

    /// Notes a block that was taken out, and is as it was.
    pub fn put_back(&mut self, block: Block) {
        block.verify(block.usable);
        let other = self.blocks.insert(block.address(), block);
        assert!(other.is_none(), "two live blocks are at {:p}", block.pointer);
    }

    /// Takes a block out, whose contents are as they were written.
    pub fn take(&mut self, block: Block) {
        block.verify(block.usable);
        self.blocks.remove(&block.address()).expect("only live blocks are taken");
    }

    /// The allocator has made `old`, which was taken out, hold `size` bytes, and says that it is at `pointer` now.
    pub fn insert_resized(&mut self, old: Block, pointer: *mut c_void, size: usize, usable: usize) {
        Block { pointer, ..old }.verify(old.usable.min(size));
        let stayed = pointer == old.pointer;
        let alignment = if stayed { old.alignment } else { LEAST_ALIGNMENT };
        self.insert_aligned(pointer, size, usable, alignment);
    }

    /// Some live block.
    pub fn pick(&self, pick: u8) -> Option<Block> {
        let pick = usize::from(pick) % self.blocks.len().max(1);
        self.blocks.values().nth(pick).copied()
    }

    /// Some live block to write beside: every other pick one of those that were aligned, of which more is watched.
    pub fn pick_to_damage(&self, pick: u8) -> Option<Block> {
        let aligned: Vec<_> =
            self.iter().filter(|block| block.alignment > LEAST_ALIGNMENT).collect();
        if pick % 2 == 1 && !aligned.is_empty() {
            Some(aligned[usize::from(pick / 2) % aligned.len()])
        } else {
            self.pick(pick / 2)
        }
    }

    /// The live block that holds an address.
    pub fn holding(&self, address: usize) -> Option<Block> {
        let (_, block) = self.blocks.range(..=address).next_back()?;
        block.holds(address).then_some(*block)
    }

    pub fn iter(&self) -> impl Iterator<Item = Block> {
        self.blocks.values().copied()
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub fn usable_bytes(&self) -> usize {
        self.iter().map(|block| block.usable).sum()
    }

    /// Forgets all blocks, whose contents are as they were written.
    pub fn clear(&mut self) {
        self.verify();
        self.blocks.clear();
    }

    /// Fails unless every block holds what was written to it.
    pub fn verify(&self) {
        self.iter().for_each(|block| block.verify(block.usable));
    }
}
