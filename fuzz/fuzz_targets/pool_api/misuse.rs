//! Wrong pointers, and what is written beside blocks or to free memory: what is to be said of them, and what the misuse
//! handler is told.

use crate::World;
use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::*;
use heapmaster_fuzz::{
    Beside, Block, Shown, Size, checked, errno_is_untouched, expect_error, reason, untouch_errno,
    walk,
};
use std::ffi::c_void;
use std::ptr::null_mut;

/// A pointer, mostly not the start of a live block.
#[derive(Debug, Arbitrary)]
pub(crate) enum Wrong {
    Null,
    Interior { pick: u8, offset: Size },
    Freed(u8),
    InHeap { heap: u8, offset: Size },
    OfOtherPool { offset: u16 },
    BesideBlock { pick: u8, by: i8 },
    Wild(u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) enum MisusedCall {
    Release,
    ReleaseSized(Size),
    Resize(Size),
    UsableSize,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(crate) enum DamagedCall {
    Release,
    ReleaseSized(Size),
    ReleaseMany,
    Resize(Size),
}

/// What the misuse handler was told of last, and how often it was called.
#[derive(Default)]
pub(crate) struct Reported {
    pub(crate) calls: u64,
    pub(crate) pointer: usize,
    status: Option<Status>,
    /// Where something wrote to free memory, found in a call that had nothing to do with it.
    found: Option<usize>,
}

pub(crate) unsafe extern "C" fn report(misuse: *const Misuse, context: *mut c_void) {
    // SAFETY: the misuse is shown for this call, and the context is the pool's `Reported`.
    let (misuse, reported) = unsafe { (&*misuse, &mut *context.cast::<Reported>()) };
    reported.calls += 1;
    if misuse.pool.is_null() {
        assert_eq!(misuse.status, Status::WrittenAfterRelease);
        assert_eq!(reported.found.replace(misuse.pointer.addr()), None);
        return;
    }
    reported.pointer = misuse.pointer.addr();
    reported.status = Some(misuse.status);
}

impl World {
    pub(crate) fn address(&self, wrong: &Wrong) -> usize {
        match *wrong {
            Wrong::Null => 0,
            Wrong::Interior { pick, offset } => {
                self.blocks.pick(pick).map_or(0, |block| block.inside(offset.bytes()))
            }
            Wrong::Freed(pick) => match self.freed.len() {
                0 => 0,
                len => self.freed[usize::from(pick) % len],
            },
            Wrong::InHeap { heap, offset } => match self.heaps.len() {
                0 => usize::from(heap),
                len => self.heaps[usize::from(heap) % len].address(offset.bytes()),
            },
            Wrong::OfOtherPool { offset } => self.other_heap.address(usize::from(offset)),
            Wrong::BesideBlock { pick, by } => self
                .blocks
                .pick(pick)
                .map_or(0, |block| block.address().wrapping_add_signed(isize::from(by))),
            Wrong::Wild(address) => address as usize,
        }
    }

    /// What becomes of the release of a pointer.
    fn verdict(&self, address: usize) -> Status {
        if address == 0 {
            return Status::Ok;
        }
        if !self.holds(address) {
            return match self.other_heap.holds(address) && owns(self.other, address) {
                true => Status::OtherPool,
                false => Status::NotInPool,
            };
        }
        if let Some(block) = self.blocks.holding(address) {
            return match block.address() == address {
                true => Status::Ok,
                false => Status::InteriorPointer,
            };
        }
        let in_free = |shown: &Shown| !shown.live && shown.holds(address);
        match walk(self.pool).iter().any(in_free) {
            true => Status::AlreadyReleased,
            false => Status::NotInPool,
        }
    }

    pub(crate) fn misuse(&mut self, wrong: &Wrong, call: MisusedCall) {
        let address = self.address(wrong);
        let verdict = self.verdict(address);
        let pointer = std::ptr::with_exposed_provenance_mut::<c_void>(address);
        if verdict == Status::Ok {
            return;
        }
        untouch_errno();
        // SAFETY: the pool is live, and refuses what is no block.
        unsafe {
            match call {
                MisusedCall::Release => assert_eq!(hl_release(self.pool, pointer), verdict),
                MisusedCall::ReleaseSized(size) => {
                    assert_eq!(hl_release_sized(self.pool, pointer, size.bytes()), verdict);
                }
                MisusedCall::Resize(size) => {
                    assert!(hl_resize(self.pool, pointer, size.bytes()).is_null());
                    assert_eq!(reason(), verdict);
                    untouch_errno();
                }
                MisusedCall::UsableSize => assert_eq!(hl_usable_size(self.pool, pointer), 0),
            }
        }
        assert!(errno_is_untouched());
        self.expect_misuse(address, verdict);
    }

    /// A pointer was refused, or wasn't one to refuse; so was the misuse handler told.
    pub(crate) fn expect_misuse(&mut self, address: usize, status: Status) {
        self.misuses += 1;
        // SAFETY: it takes no pointer.
        assert_eq!(unsafe { hl_last_error() }, status);
        assert_eq!(self.reported.pointer, address);
        assert_eq!(self.reported.status, Some(status));
    }

    pub(crate) fn hardened_block(&self, pick: u8) -> Option<Block> {
        self.blocks.pick_to_damage(pick).filter(|_| self.blocks.are_hardened())
    }

    /// What is written beside a block is found by every call that would release it, which changes nothing.
    pub(crate) fn write_beside(&mut self, block: Block, beside: Beside, call: DamagedCall) {
        let pool = self.pool;
        let damage = beside.write(&block);
        // SAFETY: the pool is live, and refuses the block.
        let status = unsafe {
            match call {
                DamagedCall::Release => hl_release(pool, block.pointer),
                DamagedCall::ReleaseSized(size) => {
                    hl_release_sized(pool, block.pointer, size.bytes())
                }
                DamagedCall::ReleaseMany => {
                    let mut slots = [null_mut(), block.pointer];
                    assert_eq!(hl_release_many(pool, slots.as_mut_ptr(), 2), 1);
                    assert_eq!(slots, [null_mut(), block.pointer]);
                    hl_last_error()
                }
                DamagedCall::Resize(size) => {
                    assert!(hl_resize(pool, block.pointer, size.bytes()).is_null());
                    reason()
                }
            }
        };
        expect_error(status, &damage.error);
        self.expect_misuse(block.address(), status);
        if damage.is_defaced {
            assert_eq!(self.usable(block.pointer), 0);
            self.expect_misuse(block.address(), Status::Underrun);
            assert_eq!(checked(pool), Status::Underrun);
        } else {
            assert_eq!(self.usable(block.pointer), block.size);
            expect_error(checked(pool), &damage.error);
        }
        damage.undo();
    }

    /// What was written to free memory is found once, when the memory is used again.
    pub(crate) fn expect_found(&mut self) {
        let found = self.reported.found.take();
        let Some(poison) = self.poison else { return assert_eq!(found, None) };
        if let Some(address) = found {
            assert_eq!(address, poison.address());
            self.misuses += 1;
            self.poison = None;
        } else if !self.regions().any(|region| region.holds(poison.address())) {
            self.poison = None;
        } else {
            assert!(poison.is_there(), "{poison:?} is not found");
        }
    }
}

fn owns(pool: Pool, address: usize) -> bool {
    // SAFETY: the pool is live.
    unsafe { hl_owns(pool, std::ptr::without_provenance(address)) }
}
