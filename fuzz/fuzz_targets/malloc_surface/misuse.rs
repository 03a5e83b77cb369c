//! What programs do wrong: pointers that are no block's, and what is written beside a block or to a released one.

use crate::World;
use crate::library::{Worker, checked, is_in_pool, misuses, usable_size};
use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::Status;
use heapmaster_fuzz::{Block, Size};
use std::ptr::with_exposed_provenance_mut;

#[derive(Debug, Arbitrary)]
pub(crate) enum Wrong {
    Interior { pick: u8, offset: Size },
    Freed(u8),
    BesideBlock { pick: u8, by: i8 },
    Wild(u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) enum MisusedCall {
    Free,
    FreeSizedTooLarge(u8),
    Realloc(Size),
    UsableSize,
}

const PAGE: usize = 4096;

impl World {
    fn address(&self, wrong: &Wrong) -> usize {
        match *wrong {
            Wrong::Interior { pick, offset } => {
                self.blocks.pick(pick).map_or(0, |block| block.inside(offset.bytes()))
            }
            Wrong::Freed(pick) => match self.freed.len() {
                0 => 0,
                len => self.freed[usize::from(pick) % len],
            },
            Wrong::BesideBlock { pick, by } => self
                .blocks
                .pick(pick)
                .map_or(0, |block| block.address().wrapping_add_signed(isize::from(by))),
            Wrong::Wild(address) => address as usize,
        }
    }

    pub(crate) fn misuse(&mut self, thread: u8, wrong: &Wrong, call: MisusedCall) {
        let address = self.address(wrong);
        let live = self.blocks.holding(address).filter(|block| block.address() == address);
        if address == 0 || live.is_some() {
            return;
        }
        let before = misuses();
        let answer = self.ask(thread, move |library| {
            let pointer = with_exposed_provenance_mut(address);
            // SAFETY: the library refuses what is no block.
            unsafe {
                match call {
                    MisusedCall::Free => (library.free)(pointer),
                    MisusedCall::FreeSizedTooLarge(size) => {
                        (library.free_sized)(pointer, size.into());
                    }
                    MisusedCall::Realloc(size) => {
                        return (library.realloc)(pointer, size.bytes()).addr();
                    }
                    MisusedCall::UsableSize => return (library.malloc_usable_size)(pointer),
                }
            }
            0
        });
        assert_eq!(answer.value, 0);
        match call {
            MisusedCall::Realloc(size) if size.bytes() != 0 => {
                assert!(matches!(answer.errno, Some(libc::EINVAL | libc::ENOMEM)));
            }
            _ => assert_eq!(answer.errno, None),
        }
        assert_eq!(misuses(), before + 1, "a wrong pointer is accepted");
    }

    /// A byte beside a block is written to, and the block can't be released until that is taken back.
    pub(crate) fn write_beside(
        &mut self,
        thread: u8,
        block: Block,
        byte: *mut u8,
        mask: u8,
        realloc: Option<Size>,
    ) {
        let before = misuses();
        // SAFETY: it is a byte of the block's armour, which nobody else changes.
        unsafe { *byte ^= mask };
        let address = block.pointer.expose_provenance();
        let answer = self.ask(thread, move |library| {
            let block = with_exposed_provenance_mut(address);
            // SAFETY: the library refuses the block.
            unsafe {
                match realloc {
                    Some(size) => (library.realloc)(block, size.bytes()).addr(),
                    None => {
                        (library.free)(block);
                        0
                    }
                }
            }
        });
        assert_eq!(answer.value, 0);
        assert_eq!(misuses(), before + 1, "what was written is not found");
        if is_in_pool(address) {
            assert!(matches!(checked(), Status::Overrun | Status::Underrun));
        }
        // SAFETY: as above.
        unsafe { *byte ^= mask };
        assert_eq!(usable_size(block.pointer), block.usable);
    }
}

/// The byte at an offset behind a block, if it is sure to be no page that is closed.
pub(crate) fn byte_behind(block: &Block, offset: usize) -> Option<*mut u8> {
    let end = block.address() + block.size;
    let is_open = block.size > 0 && (end + offset) / PAGE == (end - 1) / PAGE;
    is_open.then(|| block.pointer.wrapping_byte_add(block.size + offset).cast())
}

/// The same before a block. The page before one of the pool has its header, the page before a sampled one is closed.
pub(crate) fn byte_before(block: &Block, before: usize) -> Option<*mut u8> {
    let address = block.address();
    let is_open = (address - before) / PAGE == address / PAGE || is_in_pool(address);
    (block.size > 0 && is_open).then(|| block.pointer.wrapping_byte_sub(before).cast())
}

/// What was written to a block that a thread has released is found by a check once the thread has ended: then the
/// block waits in the pool.
pub(crate) fn write_to_freed(size: usize, offset: usize, byte: u8) {
    let worker = Worker::start();
    let answer = worker.ask(move |library| {
        // SAFETY: the block is not used any more, but for what this is about.
        unsafe {
            let block = (library.malloc)(size);
            (library.free)(block);
            block.expose_provenance()
        }
    });
    // The page of one that is sampled is closed.
    if is_in_pool(answer.value) {
        let written = with_exposed_provenance_mut::<u8>(answer.value + offset % size);
        // SAFETY: the block waits, so nobody uses it.
        unsafe {
            assert_eq!(*written, 0, "a released block reads as zero");
            *written = byte;
            worker.end();
            assert_eq!(checked(), Status::WrittenAfterRelease);
            *written = 0;
        }
    } else {
        worker.end();
    }
}
