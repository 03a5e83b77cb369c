//! The functions of `libheapmaster_malloc.so`, called in several threads that come and go, against a model of the
//! live blocks and of what glibc documents: contents, alignment, places, errno, and that a wrong pointer is
//! refused, and harms nobody.
//!
//! The library is loaded by `dlopen` from the path in `HEAPMASTER_MALLOC`, so that it is an allocator beside
//! that of the fuzzer. One thread runs at a time, which makes a script do the same each time, but for where in the
//! library's heap the scripts before it have left room.
//!
//! With `HEAPMASTER_HARDENED=yes` in the environment the library is hardened: then sizes are exact, released blocks
//! wait, and what is written beside a block or to a released one is found. What allocated a block is not judged in a
//! process whose operators are those of libstdc++.

#![no_main]

mod library;
mod misuse;
mod world;

use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::{Statistics, Status};
use heapmaster_fuzz::{Alignment, Blocks, MOST_WAITING, Size, are_all};
use libfuzzer_sys::fuzz_target;
use library::{LIBRARY, Library, checked, is_hardened, misuses, stats, usable_size};
use misuse::{MisusedCall, Wrong, byte_before, byte_behind, write_to_freed};
use std::ptr::null_mut;
use std::sync::OnceLock;
use world::{Wanted, World, decided, decided_array};

#[derive(Debug, Arbitrary)]
struct Step {
    /// Which thread makes the call.
    thread: u8,
    call: Call,
}

#[derive(Debug, Arbitrary)]
enum Call {
    Malloc(Size),
    Burst {
        size: Size,
        count: u8,
    },
    Calloc {
        count: Size,
        size: Size,
    },
    Memalign {
        alignment: Alignment,
        size: Size,
    },
    AlignedAlloc {
        alignment: Alignment,
        size: Size,
    },
    PosixMemalign {
        alignment: Alignment,
        size: Size,
    },
    Valloc(Size),
    Pvalloc(Size),
    Realloc(u8, Size),
    ReallocNull(Size),
    Reallocarray {
        pick: u8,
        count: Size,
        size: Size,
    },
    Free(u8),
    /// Every so many-th block, from some thread.
    FreeMany {
        step: u8,
    },
    Cfree(u8),
    FreeSized(u8),
    FreeAlignedSized(u8, Size),
    UsableSize(u8),
    New(Size),
    Delete(u8),
    /// Hardened: writes beside a block, makes a call with it, and takes back what was written.
    WriteBeside {
        pick: u8,
        behind: bool,
        offset: u8,
        mask: u8,
        realloc: Option<Size>,
    },
    /// Hardened: writes to a block that a thread has released, and takes that back.
    WriteToFreed {
        size: u16,
        offset: u16,
        byte: u8,
    },
    Misuse(Wrong, MisusedCall),
    /// The thread ends; another takes its place when it is needed.
    End,
    Trim(u16),
}

/// What the library had when it was loaded.
static AT_FIRST: OnceLock<Statistics> = OnceLock::new();

impl World {
    fn step(&mut self, step: &Step) {
        let thread = step.thread;
        match step.call {
            Call::Malloc(size) => {
                let size = decided(size.bytes());
                // SAFETY: it takes no pointer.
                self.insert(thread, Wanted::bytes(size), move |library| unsafe {
                    (library.malloc)(size)
                });
            }
            Call::Burst { size, count } => {
                let size = size.within(4096);
                for _ in 0..count {
                    // SAFETY: it takes no pointer.
                    self.insert(thread, Wanted::bytes(size), move |library| unsafe {
                        (library.malloc)(size)
                    });
                }
            }
            Call::Calloc { count, size } => {
                let (count, size, total) = decided_array(count, size);
                let wanted = Wanted { size: total, alignment: 16 };
                self.insert(thread, wanted, move |library| {
                    // SAFETY: it takes no pointer.
                    let block = unsafe { (library.calloc)(count, size) };
                    let bytes = total.unwrap_or(0);
                    if !block.is_null() {
                        // SAFETY: the block has that many bytes.
                        let bytes = unsafe { std::slice::from_raw_parts(block.cast(), bytes) };
                        assert!(are_all(bytes, 0));
                    }
                    block
                });
            }
            Call::Memalign { alignment, size } | Call::AlignedAlloc { alignment, size } => {
                let c11 = matches!(step.call, Call::AlignedAlloc { .. });
                let (alignment, size) = (decided(alignment.bytes()), decided(size.bytes()));
                let call = move |library: &'static Library| {
                    let function = if c11 { library.aligned_alloc } else { library.memalign };
                    // SAFETY: it takes no pointer.
                    unsafe { function(alignment, size) }
                };
                match alignment.checked_next_power_of_two() {
                    Some(rounded) => {
                        let alignment = rounded.max(16);
                        self.insert(thread, Wanted { size: Some(size), alignment }, call);
                    }
                    None => {
                        let answer = self.ask(thread, move |library| call(library).addr());
                        assert_eq!((answer.value, answer.errno), (0, Some(libc::EINVAL)));
                    }
                }
            }
            Call::PosixMemalign { alignment, size } => {
                let (alignment, size) = (decided(alignment.bytes()), decided(size.bytes()));
                self.posix_memalign(thread, alignment, size);
            }
            Call::Valloc(size) => {
                let size = decided(size.bytes());
                let wanted = Wanted { size: Some(size), alignment: 4096 };
                // SAFETY: it takes no pointer.
                self.insert(thread, wanted, move |library| unsafe { (library.valloc)(size) });
            }
            Call::Pvalloc(size) => {
                let size = decided(size.bytes());
                let rounded = size.checked_next_multiple_of(4096);
                let wanted = Wanted { size: rounded, alignment: 4096 };
                // SAFETY: it takes no pointer.
                self.insert(thread, wanted, move |library| unsafe { (library.pvalloc)(size) });
            }
            Call::Realloc(pick, size) => {
                if let Some(block) = self.blocks.pick(pick) {
                    let size = decided(size.bytes());
                    // SAFETY: the block is live, and its old address is given up.
                    self.resize(thread, block, Some(size), move |library, block| unsafe {
                        (library.realloc)(block, size)
                    });
                }
            }
            Call::ReallocNull(size) => {
                let size = decided(size.bytes());
                // SAFETY: a null pointer is no block.
                self.insert(thread, Wanted::bytes(size), move |library| unsafe {
                    (library.realloc)(null_mut(), size)
                });
            }
            Call::Reallocarray { pick, count, size } => {
                if let Some(block) = self.blocks.pick(pick) {
                    let (count, size, total) = decided_array(count, size);
                    // SAFETY: the block is live, and its old address is given up.
                    self.resize(thread, block, total, move |library, block| unsafe {
                        (library.reallocarray)(block, count, size)
                    });
                }
            }
            Call::Free(pick) => {
                if let Some(block) = self.blocks.pick(pick) {
                    // SAFETY: the block is live, and not used any more.
                    self.release(thread, block, |library, block| unsafe { (library.free)(block) });
                    self.misuse(thread.wrapping_add(1), &Wrong::Freed(u8::MAX), MisusedCall::Free);
                }
            }
            Call::FreeMany { step } => {
                let blocks = self.blocks.iter().step_by(usize::from(step) % 7 + 1);
                for block in blocks.collect::<Vec<_>>() {
                    // SAFETY: the block is live, and not used any more.
                    self.release(thread, block, |library, block| unsafe { (library.free)(block) });
                }
            }
            Call::Cfree(pick) => {
                if let Some(block) = self.blocks.pick(pick) {
                    // SAFETY: the block is live, and not used any more.
                    self.release(thread, block, |library, block| unsafe { (library.cfree)(block) });
                }
            }
            Call::FreeSized(pick) => {
                if let Some(block) = self.blocks.pick(pick) {
                    let size = block.size;
                    self.free_sized(thread, block, size, |library, block, size| {
                        // SAFETY: passed on to the caller.
                        unsafe { (library.free_sized)(block, size) }
                    });
                }
            }
            Call::FreeAlignedSized(pick, size) => {
                if let Some(block) = self.blocks.pick(pick) {
                    self.free_sized(thread, block, size.bytes(), |library, block, size| {
                        // SAFETY: passed on to the caller.
                        unsafe { (library.free_aligned_sized)(block, 16, size) }
                    });
                }
            }
            Call::UsableSize(pick) => {
                if let Some(block) = self.blocks.pick(pick) {
                    assert_eq!(usable_size(block.pointer), block.usable);
                }
                assert_eq!(usable_size(null_mut()), 0);
            }
            Call::New(size) => {
                // It would throw.
                let size = size.within(Self::CERTAIN);
                // SAFETY: it takes no pointer.
                self.insert(thread, Wanted::bytes(size), move |library| unsafe {
                    (library._Znwm)(size)
                });
            }
            Call::Delete(pick) => {
                if let Some(block) = self.blocks.pick(pick) {
                    let before = misuses();
                    // SAFETY: the block is live, and not used any more.
                    self.release(thread, block, |library, block| unsafe {
                        (library._ZdlPv)(block)
                    });
                    assert_eq!(misuses(), before, "what is not judged is counted");
                }
            }
            Call::WriteBeside { pick, behind, offset, mask, realloc } => {
                if let Some(block) = self.blocks.pick(pick).filter(|_| is_hardened()) {
                    let offset = usize::from(offset);
                    let byte = if behind {
                        byte_behind(&block, offset % 8)
                    } else {
                        byte_before(&block, 1 + offset % 16)
                    };
                    if let Some(byte) = byte {
                        self.write_beside(thread, block, byte, mask.max(1), realloc);
                    }
                }
            }
            Call::WriteToFreed { size, offset, byte } if is_hardened() => {
                write_to_freed(usize::from(size) % 16_000 + 1, offset.into(), byte.max(1));
            }
            Call::WriteToFreed { .. } => {}
            Call::Misuse(ref wrong, call) => self.misuse(thread, wrong, call),
            Call::End => {
                if let Some(worker) = self.threads[usize::from(thread) % Self::THREADS].take() {
                    worker.end();
                }
            }
            Call::Trim(pad) => {
                let answer = self.ask(thread, move |library| {
                    // SAFETY: it takes no pointer.
                    unsafe { (library.malloc_trim)(pad.into()) as usize }
                });
                assert!(answer.value <= 1);
            }
        }
    }
}

fuzz_target!(
    init: {
        LIBRARY.get_or_init(Library::load);
        AT_FIRST.get_or_init(stats);
    },
    |steps: Vec<Step>| {
        let mut world = World { blocks: Blocks::of_pool(is_hardened()), ..World::default() };
        for step in &steps {
            world.step(step);
            assert_eq!(checked(), Status::Ok);
        }
        world.end();
        let lost = stats().live_blocks - AT_FIRST.get().map_or(0, |at_first| at_first.live_blocks);
        assert!(lost <= if is_hardened() { MOST_WAITING } else { 0 }, "{lost} blocks are lost");
    }
);
