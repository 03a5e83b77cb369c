//! The threads, the live blocks and those that were released, and what of a call's answer is certain.

use crate::library::{Answer, Library, Pointer, Worker, is_hardened, misuses, usable_size};
use crate::{Call, Step};
use heapmaster_fuzz::{Block, Blocks, Size, errno_is_untouched};
use std::ptr::{null_mut, with_exposed_provenance_mut};

#[derive(Default)]
pub(crate) struct World {
    pub(crate) threads: [Option<Worker>; World::THREADS],
    pub(crate) blocks: Blocks,
    pub(crate) freed: Vec<usize>,
}

/// What a call asks for that allocates.
pub(crate) struct Wanted {
    /// `None`: more than can be counted.
    pub(crate) size: Option<usize>,
    pub(crate) alignment: usize,
}

impl Wanted {
    pub(crate) fn bytes(size: usize) -> Wanted {
        Wanted { size: Some(size), alignment: 16 }
    }
}

/// A size or alignment of which is certain whether it can be had.
pub(crate) fn decided(bytes: usize) -> usize {
    if bytes > World::CERTAIN { bytes.max(World::IMPOSSIBLE) } else { bytes }
}

/// The sizes of an array for which that is certain too.
pub(crate) fn decided_array(count: Size, size: Size) -> (usize, usize, Option<usize>) {
    let (count, size) = (count.bytes(), size.bytes());
    match count.checked_mul(size) {
        Some(total) if total > World::CERTAIN && total < World::IMPOSSIBLE => {
            let size = World::CERTAIN / count;
            (count, size, Some(count * size))
        }
        total => (count, size, total),
    }
}

impl World {
    pub(crate) const THREADS: usize = 4;
    /// So much is never refused.
    pub(crate) const CERTAIN: usize = 1 << 23;
    /// So much can't be had: a process has no more address space. What lies between the two may be granted, but
    /// then the library's heap has as many pages to be checked.
    const IMPOSSIBLE: usize = 1 << 47;
    const MOST_BLOCKS: usize = 2000;

    /// Has a thread make a call.
    pub(crate) fn ask(
        &mut self,
        thread: u8,
        call: impl FnOnce(&'static Library) -> usize + Send + 'static,
    ) -> Answer {
        let worker = &mut self.threads[usize::from(thread) % Self::THREADS];
        worker.get_or_insert_with(Worker::start).ask(call)
    }

    /// Has a thread make a call that returns a pointer.
    fn allocate(
        &mut self,
        thread: u8,
        wanted: &Wanted,
        call: impl FnOnce(&'static Library) -> Pointer + Send + 'static,
    ) -> Option<Pointer> {
        let answer = self.ask(thread, move |library| call(library).expose_provenance());
        let certain = wanted.size.is_some_and(|size| size.max(wanted.alignment) <= Self::CERTAIN);
        if !certain {
            assert_eq!((answer.value, answer.errno), (0, Some(libc::ENOMEM)));
            return None;
        }
        assert!(answer.value != 0, "{:?} bytes are refused", wanted.size);
        assert_eq!(answer.errno, None);
        assert!(answer.value.is_multiple_of(wanted.alignment));
        Some(with_exposed_provenance_mut(answer.value))
    }

    /// Does so, and notes the block.
    pub(crate) fn insert(
        &mut self,
        thread: u8,
        wanted: Wanted,
        call: impl FnOnce(&'static Library) -> Pointer + Send + 'static,
    ) {
        if self.blocks.len() >= Self::MOST_BLOCKS {
            return;
        }
        if let (Some(block), Some(size)) = (self.allocate(thread, &wanted, call), wanted.size) {
            self.blocks.insert_aligned(block, size, usable_size(block), wanted.alignment);
        }
    }

    pub(crate) fn posix_memalign(&mut self, thread: u8, alignment: usize, size: usize) {
        let unused = 1;
        if !alignment.is_power_of_two() || alignment < 8 {
            let answer = self.ask(thread, move |library| {
                let mut block = std::ptr::without_provenance_mut(unused);
                // SAFETY: the pointer can be written to.
                let error = unsafe { (library.posix_memalign)(&mut block, alignment, size) };
                assert_eq!((error, block.addr()), (libc::EINVAL, unused));
                0
            });
            return assert_eq!(answer.errno, None);
        }
        let wanted = Wanted { size: Some(size), alignment: alignment.max(16) };
        self.insert(thread, wanted, move |library| {
            let mut block = std::ptr::without_provenance_mut(unused);
            // SAFETY: the pointer can be written to.
            let error = unsafe { (library.posix_memalign)(&mut block, alignment, size) };
            assert!(errno_is_untouched());
            if error == 0 {
                return block;
            }
            assert_eq!((error, block.addr()), (libc::ENOMEM, unused));
            // As the others leave it.
            // SAFETY: it is the thread's own.
            unsafe { *libc::__errno_location() = error };
            null_mut()
        });
    }

    /// `realloc` in one form or another: the block holds `size` bytes afterwards, or is as it was.
    pub(crate) fn resize(
        &mut self,
        thread: u8,
        old: Block,
        size: Option<usize>,
        call: impl FnOnce(&'static Library, Pointer) -> Pointer + Send + 'static,
    ) {
        let address = old.pointer.expose_provenance();
        let call = move |library| call(library, with_exposed_provenance_mut(address));
        self.blocks.take(old);
        if size == Some(0) {
            let answer = self.ask(thread, move |library| call(library).addr());
            assert_eq!((answer.value, answer.errno), (0, None));
            self.freed.push(old.address());
            return;
        }
        let wanted = Wanted { size, alignment: 16 };
        match (self.allocate(thread, &wanted, call), size) {
            (Some(block), Some(size)) => {
                self.blocks.insert_resized(old, block, size, usable_size(block));
            }
            _ => self.blocks.put_back(old),
        }
    }

    /// Has a thread release a block, by this call.
    pub(crate) fn release(
        &mut self,
        thread: u8,
        block: Block,
        call: impl FnOnce(&'static Library, Pointer) + Send + 'static,
    ) {
        self.blocks.take(block);
        self.freed.push(block.address());
        let address = block.pointer.expose_provenance();
        let answer = self.ask(thread, move |library| {
            call(library, with_exposed_provenance_mut(address));
            0
        });
        assert_eq!(answer.errno, None);
    }

    /// Releases a block with a size, which can be true or not: then the block stays as it is.
    pub(crate) fn free_sized(
        &mut self,
        thread: u8,
        block: Block,
        size: usize,
        call: impl FnOnce(&'static Library, Pointer, usize) + Send + 'static,
    ) {
        let is_true = if is_hardened() {
            size == block.size
        } else {
            // No block is more than twice as large as what was asked for, unless it was aligned to more, which these
            // calls don't say.
            size <= block.usable && block.usable / 2 <= size.max(16)
        };
        if is_true {
            // The block is live, and not used any more.
            return self.release(thread, block, move |library, block| call(library, block, size));
        }
        let before = misuses();
        let address = block.pointer.expose_provenance();
        let answer = self.ask(thread, move |library| {
            // A wrong size is refused.
            call(library, with_exposed_provenance_mut(address), size);
            0
        });
        assert_eq!(answer.errno, None);
        assert_eq!(misuses(), before + 1, "a wrong size is accepted");
        assert_eq!(usable_size(block.pointer), block.usable);
    }

    pub(crate) fn end(mut self) {
        self.blocks.verify();
        self.step(&Step { thread: 0, call: Call::FreeMany { step: 0 } });
        for worker in self.threads.into_iter().flatten() {
            worker.end();
        }
    }
}
