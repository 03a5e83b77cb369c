//! What a program knows that uses an allocator: its blocks, and what it wrote into them.

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
    fill: u8,
}

impl Block {
    pub fn address(&self) -> usize {
        self.pointer.addr()
    }

    pub fn end(&self) -> usize {
        self.address() + self.usable
    }

    /// Fails unless the first bytes are what was written last.
    fn verify(&self, bytes: usize) {
        // SAFETY: the block is live, has that many bytes, and all of them were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.pointer.cast::<u8>(), bytes) };
        let kept = bytes.iter().all(|&byte| byte == self.fill);
        assert!(kept, "the contents of the block at {:p} have changed", self.pointer);
    }
}

/// The live blocks, by address.
#[derive(Default)]
pub struct Blocks {
    blocks: BTreeMap<usize, Block>,
    made: usize,
}

impl Blocks {
    /// Notes a new block, and writes all its usable bytes.
    pub fn insert(&mut self, pointer: *mut c_void, size: usize, usable: usize) {
        let address = pointer.addr();
        assert!(usable >= size.max(1), "{usable} of {size} bytes can be used");
        assert!(address.is_multiple_of(16), "{pointer:p} is not aligned");
        let below = self.blocks.range(..address + usable).next_back();
        let free = below.is_none_or(|(_, block)| block.end() <= address);
        assert!(free, "the new block at {pointer:p} overlaps a live one");
        self.made += 1;
        // No neighbour has the same.
        let fill = (self.made % 251) as u8 + 1;
        // SAFETY: the block is live and new, so that nobody else uses its bytes.
        unsafe { pointer.write_bytes(fill, usable) };
        self.blocks.insert(address, Block { pointer, size, usable, fill });
    }

    /// Takes a block out, whose contents are as they were written.
    pub fn take(&mut self, block: Block) {
        block.verify(block.usable);
        self.blocks.remove(&block.address()).expect("only live blocks are taken");
    }

    /// The allocator has made `old`, which was taken out, hold `size` bytes, and says that it is at `pointer` now.
    pub fn insert_resized(&mut self, old: Block, pointer: *mut c_void, size: usize, usable: usize) {
        Block { pointer, ..old }.verify(old.usable.min(size));
        self.insert(pointer, size, usable);
    }

    /// Some live block.
    pub fn pick(&self, pick: u8) -> Option<Block> {
        let pick = usize::from(pick) % self.blocks.len().max(1);
        self.blocks.values().nth(pick).copied()
    }

    /// The live block that holds an address.
    pub fn holding(&self, address: usize) -> Option<Block> {
        let (_, block) = self.blocks.range(..=address).next_back()?;
        (address < block.end()).then_some(*block)
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
