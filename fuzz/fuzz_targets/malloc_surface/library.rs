//! The library that is fuzzed: its functions, the threads that make calls of it one by one, and what it says of itself.

use heapmaster_fuzz::abi::{Pool, Statistics, Status};
use heapmaster_fuzz::{errno, errno_is_untouched, untouch_errno};
use std::ffi::{CString, c_int, c_void};
use std::ptr::with_exposed_provenance;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, OnceLock};
use std::thread::JoinHandle;

/// Declares the functions that are looked up in the library.
macro_rules! library {
    ($($name:ident: $type:ty;)+) => {
        #[allow(non_snake_case, reason = "C++ names")]
        pub(crate) struct Library {
            $(pub(crate) $name: $type,)+
        }

        impl Library {
            pub(crate) fn load() -> Library {
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

pub(crate) type Pointer = *mut c_void;

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

pub(crate) static LIBRARY: OnceLock<Library> = OnceLock::new();

pub(crate) fn library() -> &'static Library {
    LIBRARY.get().expect("the library is loaded first of all")
}

/// Whether the library is hardened.
pub(crate) fn is_hardened() -> bool {
    static HARDENED: LazyLock<bool> =
        LazyLock::new(|| std::env::var("HEAPMASTER_HARDENED").is_ok_and(|value| value == "yes"));
    *HARDENED
}

/// A thread that makes calls one by one.
pub(crate) struct Worker {
    calls: SyncSender<Box<dyn FnOnce() -> Answer + Send>>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

/// What a call returned, as a number, and what it made of errno.
pub(crate) struct Answer {
    pub(crate) value: usize,
    pub(crate) errno: Option<i32>,
}

impl Worker {
    pub(crate) fn start() -> Worker {
        let (calls, to_make) = sync_channel::<Box<dyn FnOnce() -> Answer + Send>>(0);
        let (answer, answers) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            for call in to_make {
                answer.send(call()).expect("the answer is awaited");
            }
        });
        Worker { calls, answers, thread }
    }

    pub(crate) fn ask(
        &self,
        call: impl FnOnce(&'static Library) -> usize + Send + 'static,
    ) -> Answer {
        let call = move || {
            untouch_errno();
            let value = call(library());
            Answer { value, errno: (!errno_is_untouched()).then(errno) }
        };
        self.calls.send(Box::new(call)).expect("the thread lives");
        self.answers.recv().expect("the thread answers")
    }

    pub(crate) fn end(self) {
        drop(self.calls);
        self.thread.join().expect("calls don't panic");
    }
}

/// Whether the address is the pool's: neither that of a sampled block nor that of one of 0 bytes.
pub(crate) fn is_in_pool(address: usize) -> bool {
    // SAFETY: the default pool is always live.
    unsafe { (library().hl_owns)((library().hl_default_pool)(), with_exposed_provenance(address)) }
}

pub(crate) fn checked() -> Status {
    // SAFETY: the default pool is always live.
    unsafe { (library().hl_pool_check)((library().hl_default_pool)()) }
}

pub(crate) fn usable_size(block: Pointer) -> usize {
    // SAFETY: the block is live, or null.
    unsafe { (library().malloc_usable_size)(block) }
}

pub(crate) fn stats() -> Statistics {
    let mut stats = Statistics { struct_size: size_of::<Statistics>(), ..Statistics::default() };
    // SAFETY: the default pool is always live, and the struct knows its size.
    unsafe {
        let pool = (library().hl_default_pool)();
        assert_eq!((library().hl_pool_stats)(pool, &mut stats), Status::Ok);
    }
    stats
}

pub(crate) fn misuses() -> u64 {
    stats().misuses
}
