//! What a program writes to memory of a hardened pool that it has released.

use crate::abi::{Pool, Status};
use crate::damage::HEADER;
use crate::{Shown, are_all, checked, expect_error, walk};
use heapmaster::Error;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// A byte of free memory that was written to.
#[derive(Clone, Copy, Debug)]
pub struct Poison {
    address: usize,
    byte: u8,
}

impl Poison {
    /// Writes to an address, if it is in free memory of the pool, and not in the header of a block that waits.
    pub fn put(pool: Pool, address: usize, byte: u8) -> Option<Poison> {
        let free = free_block(pool, address)?;
        if waits(&free, None) && address - free.address < header_of(&free) {
            return None;
        }
        assert_eq!(read(address), 0, "free memory of a hardened pool reads as zero");
        let byte = byte.max(1);
        // SAFETY: it is memory of ours that nobody uses; that is the point.
        unsafe { with_exposed_provenance_mut::<u8>(address).write(byte) };
        Some(Poison { address, byte })
    }

    pub fn address(&self) -> usize {
        self.address
    }

    /// The pool's books are sound, and a check finds the byte as long as the block waits, or is free, that it is in.
    pub fn check(&self, pool: Pool) {
        let status = checked(pool);
        match free_block(pool, self.address).filter(|_| self.is_there()) {
            Some(Shown { address: start, .. }) => {
                // Its user knew the block from behind the header on.
                let is_users = self.address - start >= HEADER;
                let block = if is_users { start + HEADER } else { start };
                expect_error(status, &Error::WrittenAfterRelease { pointer: self.address, block });
            }
            None => assert_eq!(status, Status::Ok),
        }
    }

    /// Whether nobody has got the memory since, unless the pool was told to forget all blocks.
    pub fn is_there(&self) -> bool {
        read(self.address) == self.byte
    }
}

/// All free memory of a hardened pool reads as zero, but for headers of blocks that wait, and for this.
pub fn expect_zeroes(pool: Pool, poison: Option<Poison>) {
    let but_for = poison.map_or(0, |poison| poison.address);
    for free in walk(pool).into_iter().filter(|shown| !shown.live) {
        let bytes = with_exposed_provenance::<u8>(free.address);
        // SAFETY: all of it is in a heap of ours, and nobody uses it.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, free.size) };
        let header = if waits(&free, poison) { header_of(&free) } else { 0 };
        let is_clean = match but_for.checked_sub(free.address) {
            Some(at) if at < free.size => {
                are_all(&bytes[header..at], 0) && are_all(&bytes[at + 1..], 0)
            }
            _ => are_all(&bytes[header..], 0),
        };
        assert!(is_clean, "the free block at {:#x} was written to", free.address);
    }
}

fn free_block(pool: Pool, address: usize) -> Option<Shown> {
    walk(pool).into_iter().find(|shown| !shown.live && shown.holds(address))
}

/// Whether a free block is one that waits in quarantine, and so has a header; a byte that was written to is none of it.
fn waits(free: &Shown, poison: Option<Poison>) -> bool {
    let poisoned = poison.map(|poison| poison.address);
    (free.address..free.address + 8).any(|address| Some(address) != poisoned && read(address) != 0)
}

/// Bytes of its header: where alignments of that many bytes may be, the start of the user's is among them.
fn header_of(free: &Shown) -> usize {
    if free.size > 1 << 20 { 24 } else { 16 }
}

fn read(address: usize) -> u8 {
    // SAFETY: it is in a heap of ours.
    unsafe { with_exposed_provenance::<u8>(address).read() }
}
