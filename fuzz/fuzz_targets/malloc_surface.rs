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

use arbitrary::Arbitrary;
use heapmaster_fuzz::abi::{Pool, Statistics, Status};
use heapmaster_fuzz::{
    Alignment, Block, Blocks, MOST_WAITING, Size, are_all, errno, errno_is_untouched, untouch_errno,
};
use libfuzzer_sys::fuzz_target;
use std::ffi::{CString, c_int, c_void};
use std::ptr::{null_mut, with_exposed_provenance, with_exposed_provenance_mut};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, OnceLock};
use std::thread::JoinHandle;

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

#[derive(Debug, Arbitrary)]
enum Wrong {
    Interior { pick: u8, offset: Size },
    Freed(u8),
    BesideBlock { pick: u8, by: i8 },
    Wild(u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum MisusedCall {
    Free,
    FreeSizedTooLarge(u8),
    Realloc(Size),
    UsableSize,
}

/// Declares the functions that are looked up in the library.
macro_rules! library {
    ($($name:ident: $type:ty;)+) => {
        #[allow(non_snake_case, reason = "C++ names")]
        struct Library {
            $($name: $type,)+
        }

        impl Library {
            fn load() -> Library {
                let path = std::env::var("HEAPMASTER_MALLOC")
                    .expect("HEAPMASTER_MALLOC is the path of libheapmaster_malloc.so");
                let path = CString::new(path).expect("a path has no NUL");
                // SAFETY: nothing else runs yet.
                unsafe {
                    // A wrong pointer is what this target is about, and the thread that purges has no
                    // thread-local storage, which the fuzzer's coverage counters may touch.
                    std::env::set_var("HEAPMASTER_ON_MISUSE", "ignore");
                    std::env::set_var("HEAPMASTER_DECAY", "no");
                }
                // SAFETY: the library's constructors may run now, and the names have these types.
                unsafe {
                    let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
                    assert!(!library.is_null(), "{path:?} can't be loaded");
                    Library {
                        $($name: {
                            let name = concat!(stringify!($name), "\0");
                            let function = libc::dlsym(library, name.as_ptr().cast());
                            assert!(!function.is_null(), "{name} is missing");
                            std::mem::transmute::<*mut c_void, $type>(function)
                        },)+
                    }
                }
            }
        }
    };
}

type Pointer = *mut c_void;

library! {
    malloc: unsafe extern "C" fn(usize) -> Pointer;
    calloc: unsafe extern "C" fn(usize, usize) -> Pointer;
    memalign: unsafe extern "C" fn(usize, usize) -> Pointer;
    aligned_alloc: unsafe extern "C" fn(usize, usize) -> Pointer;
    posix_memalign: unsafe extern "C" fn(*mut Pointer, usize, usize) -> c_int;
    valloc: unsafe extern "C" fn(usize) -> Pointer;
    pvalloc: unsafe extern "C" fn(usize) -> Pointer;
    realloc: unsafe extern "C" fn(Pointer, usize) -> Pointer;
    reallocarray: unsafe extern "C" fn(Pointer, usize, usize) -> Pointer;
    free: unsafe extern "C" fn(Pointer);
    cfree: unsafe extern "C" fn(Pointer);
    free_sized: unsafe extern "C" fn(Pointer, usize);
    free_aligned_sized: unsafe extern "C" fn(Pointer, usize, usize);
    malloc_usable_size: unsafe extern "C" fn(Pointer) -> usize;
    malloc_trim: unsafe extern "C" fn(usize) -> c_int;
    _Znwm: unsafe extern "C" fn(usize) -> Pointer;
    _ZdlPv: unsafe extern "C" fn(Pointer);
    hl_default_pool: unsafe extern "C" fn() -> Pool;
    hl_pool_stats: unsafe extern "C" fn(Pool, *mut Statistics) -> Status;
    hl_pool_check: unsafe extern "C" fn(Pool) -> Status;
    hl_owns: unsafe extern "C" fn(Pool, *const c_void) -> bool;
}

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// What the library had when it was loaded.
static AT_FIRST: OnceLock<Statistics> = OnceLock::new();

fn library() -> &'static Library {
    LIBRARY.get().expect("the library is loaded first of all")
}

/// Whether the library is hardened.
fn is_hardened() -> bool {
    static HARDENED: LazyLock<bool> =
        LazyLock::new(|| std::env::var("HEAPMASTER_HARDENED").is_ok_and(|value| value == "yes"));
    *HARDENED
}

/// A thread that makes calls one by one.
struct Worker {
    calls: SyncSender<Box<dyn FnOnce() -> Answer + Send>>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// What a call returned, as a number, and what it made of errno.
struct Answer {
    value: usize,
    errno: Option<i32>,
}

impl Worker {
    fn start() -> Worker {
        let (calls, to_make) = sync_channel::<Box<dyn FnOnce() -> Answer + Send>>(0);
        let (answer, answers) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            for call in to_make {
                answer.send(call()).expect("the answer is awaited");
            }
        });
        Worker { calls, answers, thread }
    }

    fn ask(&self, call: impl FnOnce(&'static Library) -> usize + Send + 'static) -> Answer {
        let call = move || {
            untouch_errno();
            let value = call(library());
            Answer { value, errno: (!errno_is_untouched()).then(errno) }
        };
        self.calls.send(Box::new(call)).expect("the thread lives");
        self.answers.recv().expect("the thread answers")
    }

    fn end(self) {
        drop(self.calls);
        self.thread.join().expect("calls don't panic");
    }
}

#[derive(Default)]
struct World {
    threads: [Option<Worker>; World::THREADS],
    blocks: Blocks,
    freed: Vec<usize>,
}

/// What a call asks for that allocates.
struct Wanted {
    /// `None`: more than can be counted.
    size: Option<usize>,
    alignment: usize,
}

impl Wanted {
    fn bytes(size: usize) -> Wanted {
        Wanted { size: Some(size), alignment: 16 }
    }
}

/// A size or alignment of which is certain whether it can be had.
fn decided(bytes: usize) -> usize {
    if bytes > World::CERTAIN { bytes.max(World::IMPOSSIBLE) } else { bytes }
}

/// The sizes of an array for which that is certain too.
fn decided_array(count: Size, size: Size) -> (usize, usize, Option<usize>) {
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
    const THREADS: usize = 4;
    /// So much is never refused.
    const CERTAIN: usize = 1 << 23;
    /// So much can't be had: a process has no more address space. What lies between the two may be granted, but
    /// then the library's heap has as many pages to be checked.
    const IMPOSSIBLE: usize = 1 << 47;
    const MOST_BLOCKS: usize = 2000;

    /// Has a thread make a call.
    fn ask(
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
    fn insert(
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

    /// Has a thread release a block, by this call.
    fn release(
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

    /// `realloc` in one form or another: the block holds `size` bytes afterwards, or is as it was.
    fn resize(
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

    fn misuse(&mut self, thread: u8, wrong: &Wrong, call: MisusedCall) {
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

    /// Releases a block with a size, which can be true or not: then the block stays as it is.
    fn free_sized(
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

    /// A byte beside a block is written to, and the block can't be released until that is taken back.
    fn write_beside(
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

    fn posix_memalign(&mut self, thread: u8, alignment: usize, size: usize) {
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

    fn end(mut self) {
        self.blocks.verify();
        self.step(&Step { thread: 0, call: Call::FreeMany { step: 0 } });
        for worker in self.threads.into_iter().flatten() {
            worker.end();
        }
    }
}

/// The byte at an offset behind a block, if it is sure to be no page that is closed.
fn byte_behind(block: &Block, offset: usize) -> Option<*mut u8> {
    let end = block.address() + block.size;
    let is_open = block.size > 0 && (end + offset) / PAGE == (end - 1) / PAGE;
    is_open.then(|| block.pointer.wrapping_byte_add(block.size + offset).cast())
}

/// The same before a block. The page before one of the pool has its header, the page before a sampled one is closed.
fn byte_before(block: &Block, before: usize) -> Option<*mut u8> {
    let address = block.address();
    let is_open = (address - before) / PAGE == address / PAGE || is_in_pool(address);
    (block.size > 0 && is_open).then(|| block.pointer.wrapping_byte_sub(before).cast())
}

/// What was written to a block that a thread has released is found by a check once the thread has ended: then the
/// block waits in the pool.
fn write_to_freed(size: usize, offset: usize, byte: u8) {
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

const PAGE: usize = 4096;

/// Whether the address is the pool's: neither that of a sampled block nor that of one of 0 bytes.
fn is_in_pool(address: usize) -> bool {
    // SAFETY: the default pool is always live.
    unsafe { (library().hl_owns)((library().hl_default_pool)(), with_exposed_provenance(address)) }
}

fn checked() -> Status {
    // SAFETY: the default pool is always live.
    unsafe { (library().hl_pool_check)((library().hl_default_pool)()) }
}

fn usable_size(block: Pointer) -> usize {
    // SAFETY: the block is live, or null.
    unsafe { (library().malloc_usable_size)(block) }
}

fn stats() -> Statistics {
    let mut stats = Statistics { struct_size: size_of::<Statistics>(), ..Statistics::default() };
    // SAFETY: the default pool is always live, and the struct knows its size.
    unsafe {
        let pool = (library().hl_default_pool)();
        assert_eq!((library().hl_pool_stats)(pool, &mut stats), Status::Ok);
    }
    stats
}

fn misuses() -> u64 {
    stats().misuses
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
