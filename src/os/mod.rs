//! The system: reserve, commit and purge memory, wait, errno, threads. The only door to it.

mod last_words;
mod raw;
pub(crate) mod thread;

use crate::error::Error;
use core::ptr::{NonNull, from_mut, with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;
pub use last_words::last_words;
use libc::{PROT_NONE, PROT_READ, PROT_WRITE};
use spin::RelaxStrategy;

/// Waits for a lock by giving the processor away after a short spin: whoever holds the lock may be waiting
/// for it.
///
/// A real-time thread sleeps instead: it may yield for ever to whoever holds the lock and has a lower priority. So do
/// others now and then, since a thread that is to run only where nothing else does may hold it.
#[derive(Debug)]
pub struct YieldAfterSpin;

/// How often somebody has waited. Relaxed: it stands for nothing but itself.
static WAITS: AtomicU32 = AtomicU32::new(0);

impl RelaxStrategy for YieldAfterSpin {
    #[inline]
    fn relax() {
        const SPINS: u32 = 64;
        /// Some 0.5 ms of a waiter that only yields in vain. With 32, threads that do nothing but wait took more CPU time.
        const WAITS_TO_A_SLEEP: u32 = 128;
        /// Of two real-time threads one may sleep while the other comes to this.
        const WAITS_TO_A_LOOK: u32 = 8;
        const SLEEP: Duration = Duration::from_micros(50);
        for _ in 0..SPINS {
            core::hint::spin_loop();
        }
        let waits = WAITS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let has_to_sleep = waits.is_multiple_of(WAITS_TO_A_SLEEP)
            || waits.is_multiple_of(WAITS_TO_A_LOOK) && thread::is_real_time();
        if has_to_sleep {
            thread::sleep(SLEEP);
        } else {
            // SAFETY: it has no preconditions.
            unsafe { raw::call(libc::SYS_sched_yield, []) };
        }
    }
}

/// Waits for what may never come, for the `round`th time in a row, from 0 on; false after some 50 ms.
pub(crate) fn wait_a_while(round: u32) -> bool {
    const YIELDS: u32 = 50;
    const SLEEPS: u32 = 50;
    match round.checked_sub(YIELDS) {
        None => YieldAfterSpin::relax(),
        Some(..SLEEPS) => thread::sleep(Duration::from_millis(1)),
        Some(_) => return false,
    }
    true
}

/// The thread's `errno`.
pub(crate) fn errno() -> i32 {
    // SAFETY: the location is the thread's own, valid as long as it runs.
    unsafe { *errno_location() }
}

/// Sets the thread's `errno`.
pub(crate) fn set_errno(value: i32) {
    // SAFETY: the location is the thread's own, valid as long as it runs.
    unsafe { *errno_location() = value }
}

fn errno_location() -> *mut i32 {
    // SAFETY: it has no preconditions.
    unsafe { libc::__errno_location() }
}

/// The calling thread's number, as the system knows it.
pub(crate) fn thread_number() -> u32 {
    // SAFETY: it has no preconditions.
    unsafe { raw::call(libc::SYS_gettid, []) as u32 }
}

/// Does what may change `errno` without changing it.
fn keeping_errno<T>(f: impl FnOnce() -> T) -> T {
    let before = errno();
    let result = f();
    set_errno(before);
    result
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    if cfg!(target_arch = "x86_64") {
        return 4096;
    }
    // Relaxed: whoever finds it unset asks again, and gets the same answer.
    static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
    match PAGE_SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: it has no preconditions.
            let size = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
            PAGE_SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

fn is_of_pages(address: NonNull<u8>, size: usize) -> bool {
    (address.addr().get() | size).is_multiple_of(page_size())
}

/// Reserves address space, at a page: nothing can be read or written there yet.
///
/// # Errors
/// `System`, if the system refuses.
pub(crate) fn reserve(size: usize) -> Result<NonNull<u8>, Error> {
    // SAFETY: a new mapping, at an address of the system's choice, touches nobody's memory.
    unsafe { map(0, size, PROT_NONE, 0) }
}

/// # Safety
/// What the flags do to memory that is mapped there nobody minds.
unsafe fn map(
    address: usize,
    size: usize,
    allowed: libc::c_int,
    flags: libc::c_int,
) -> Result<NonNull<u8>, Error> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
    let arguments = [address, size, allowed as usize, flags as usize, usize::MAX, 0];
    // SAFETY: the caller's promise.
    let result = unsafe { raw::call(libc::SYS_mmap, arguments) };
    mapped(result).map_err(|errno| Error::System { call: "mmap", errno })
}

/// Where a system call has mapped something, or else its error number.
fn mapped(result: isize) -> Result<NonNull<u8>, i32> {
    match NonNull::new(with_exposed_provenance_mut(result as usize)) {
        Some(address) if !(-4095..0).contains(&result) => Ok(address),
        _ => Err(-result as i32),
    }
}

/// Makes reserved memory usable; it reads as zero. False if the system refuses.
///
/// # Safety
/// The pages are reserved, and nobody uses them.
pub(crate) unsafe fn commit(address: NonNull<u8>, size: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { protect(address, size, PROT_READ | PROT_WRITE) }
}

/// Lets reserved memory be read: it is zero, takes no memory, and nobody can write to it. False if the system refuses.
///
/// # Safety
/// The pages are reserved, and nobody uses them.
pub(crate) unsafe fn let_read(address: NonNull<u8>, size: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { protect(address, size, PROT_READ) }
}

/// Lets nobody touch pages until they are committed again; what is in them stays. False if the system refuses.
///
/// # Safety
/// The pages are committed, and nobody uses them.
pub(crate) unsafe fn close(address: NonNull<u8>, size: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { protect(address, size, PROT_NONE) }
}

/// # Safety
/// The pages are reserved, and what nobody may do with them any more nobody does.
unsafe fn protect(address: NonNull<u8>, size: usize, allowed: libc::c_int) -> bool {
    let arguments = [address.addr().get(), size, allowed as usize];
    // SAFETY: the caller's promise.
    unsafe { raw::call(libc::SYS_mprotect, arguments) == 0 }
}

/// Bits that nobody can guess.
pub(crate) fn entropy() -> [u64; 2] {
    let mut bits = [0u64; 2];
    let arguments = [bits.as_mut_ptr().addr(), size_of_val(&bits), libc::GRND_NONBLOCK as usize];
    // SAFETY: the buffer has the size given.
    let got = unsafe { raw::call(libc::SYS_getrandom, arguments) };
    if got as usize != size_of_val(&bits) {
        // What the kernel hands to every process: all that an old one, or an early one, has.
        // SAFETY: it is null or points to 16 bytes that live as long as the process.
        unsafe {
            let given = libc::getauxval(libc::AT_RANDOM) as usize;
            let given = with_exposed_provenance::<[u64; 2]>(given);
            if !given.is_null() {
                bits = given.read_unaligned();
            }
        }
    }
    bits
}

/// Gives the pages of committed memory back; it stays usable, and reads as zero. False, with nothing done,
/// if the system refuses or the range isn't one of whole pages.
///
/// # Safety
/// The pages are committed, and nobody uses what is in them.
pub(crate) unsafe fn purge(address: NonNull<u8>, size: usize) -> bool {
    if !is_of_pages(address, size) {
        return false;
    }
    let arguments = [address.addr().get(), size, libc::MADV_DONTNEED as usize];
    // SAFETY: the caller's promise.
    unsafe { raw::call(libc::SYS_madvise, arguments) == 0 }
}

/// Moves the pages of `size` bytes to `to`; what is left behind reads as zero. False, with nothing moved, if the ranges
/// aren't of whole pages, or the system refuses, as where it has the first in several mappings.
///
/// # Safety
/// Both ranges are committed and disjoint, and nobody else uses them.
pub(crate) unsafe fn move_pages(from: NonNull<u8>, to: NonNull<u8>, size: usize) -> bool {
    // Where every page is accounted for the system may find that there is none when it has unmapped one already.
    if !is_of_pages(from, size) || !is_of_pages(to, size) || commits_strictly() {
        return false;
    }
    let (from_address, to_address) = (from.addr().get(), to.addr().get());
    // SAFETY: the first call leaves the range as it is but empty, with the pages in a mapping of the system's choice. The
    // second replaces a range that is the caller's; what is copied back if it fails is as long as that.
    unsafe {
        // To move some pages of a locked mapping would unlock all of it.
        if is_locked(from) {
            return false;
        }
        // First to where nothing is: what is to be replaced is unmapped before the system finds what it refuses for.
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        let away = [from_address, size, size, flags as usize];
        let Ok(away) = mapped(raw::call(libc::SYS_mremap, away)) else { return false };
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let there = [away.addr().get(), size, size, flags as usize, to_address];
        if mapped(raw::call(libc::SYS_mremap, there)).is_ok() {
            return true;
        }
        from.copy_from_nonoverlapping(away, size);
        release(away, size);
        map_again(to, size);
        false
    }
}

/// Maps committed memory anew, empty, as it was when it was first committed. False, with nothing changed, if it isn't of
/// whole pages, or the system refuses.
///
/// # Safety
/// The pages are committed, and nobody uses what is in them.
pub(crate) unsafe fn renew(address: NonNull<u8>, size: usize) -> bool {
    if !is_of_pages(address, size) {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if map(address.addr().get(), size, PROT_READ | PROT_WRITE, libc::MAP_FIXED).is_err() {
            map_again(address, size);
            return false;
        }
        // As all is that is mapped after `mlockall(MCL_FUTURE)`, and there at once.
        if is_locked(address) {
            raw::call(libc::SYS_munlock, [address.addr().get(), size]);
            purge(address, size);
        }
    }
    true
}

/// Maps committed memory again, if the system has unmapped it before it refused what it was asked for.
///
/// # Panics
/// If it refuses that, too: there is no other memory at these addresses.
///
/// # Safety
/// The pages were committed, and nobody uses what is in them.
unsafe fn map_again(address: NonNull<u8>, size: usize) {
    const FLAGS: libc::c_int = libc::MAP_FIXED_NOREPLACE;
    if advise_cold(address, size) != -libc::ENOMEM as isize {
        return;
    }
    // SAFETY: nothing is mapped there, and what others map meanwhile stays.
    let mapped = unsafe { map(address.addr().get(), size, PROT_READ | PROT_WRITE, FLAGS) };
    assert!(
        mapped == Ok(address),
        "the system has unmapped memory, and has none for it: {mapped:?}"
    );
}

/// Whether the system keeps the mapping of this page in memory, as far as it says so (Linux does from 5.4 on).
fn is_locked(page: NonNull<u8>) -> bool {
    advise_cold(page, page_size()) != 0
}

/// Advises the system that pages won't be used soon: refused with ENOMEM where some are not mapped, with EINVAL where some
/// are locked.
fn advise_cold(address: NonNull<u8>, size: usize) -> isize {
    let arguments = [address.addr().get(), size, libc::MADV_COLD as usize];
    // SAFETY: it changes nothing that a program sees.
    unsafe { raw::call(libc::SYS_madvise, arguments) }
}

/// Gives reserved memory back.
///
/// # Safety
/// The range is one that was reserved, and nobody uses it.
pub(crate) unsafe fn release(address: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { raw::call(libc::SYS_munmap, [address.addr().get(), size]) };
}

/// Leaves pages out of the dump of a process that the system ends, if it can.
///
/// # Safety
/// The pages are reserved by this library.
pub(crate) unsafe fn leave_out_of_dumps(address: NonNull<u8>, size: usize) {
    let arguments = [address.addr().get(), size, libc::MADV_DONTDUMP as usize];
    // SAFETY: nothing that is in the pages changes.
    unsafe { raw::call(libc::SYS_madvise, arguments) };
}

/// Bytes of the machine's memory, if it says so.
pub(crate) fn physical_memory() -> Option<usize> {
    // SAFETY: zeroes are one.
    let mut info: libc::sysinfo = unsafe { core::mem::zeroed() };
    // SAFETY: it writes to the struct it is given.
    let result = unsafe { raw::call(libc::SYS_sysinfo, [from_mut(&mut info).addr()]) };
    if result != 0 {
        return None;
    }
    (info.totalram as usize).checked_mul(info.mem_unit as usize)
}

/// The smallest limit that the system sets to the process's address space or data, if it sets one.
pub(crate) fn memory_limit() -> Option<usize> {
    [limit_of(libc::RLIMIT_AS as usize), data_limit()].into_iter().flatten().min()
}

/// The limit that the system sets to the process's data, if it sets one: what could be written to. What is closed does
/// not count.
pub(crate) fn data_limit() -> Option<usize> {
    limit_of(libc::RLIMIT_DATA as usize)
}

fn limit_of(resource: usize) -> Option<usize> {
    let mut limit =
        libc::rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: libc::RLIM64_INFINITY };
    let arguments = [0, resource, 0, from_mut(&mut limit).addr()];
    // SAFETY: it writes to the struct it is given; if it fails the struct says that there is no limit.
    unsafe { raw::call(libc::SYS_prlimit64, arguments) };
    (limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur as usize)
}

/// Whether the system accounts for every page that could be written to, and reservations have to be
/// modest (`vm.overcommit_memory=2`). As it was when this was first asked.
pub(crate) fn commits_strictly() -> bool {
    const UNKNOWN: u8 = 0;
    // Relaxed: whoever finds it unset asks again.
    static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut mode = MODE.load(Ordering::Relaxed);
    if mode == UNKNOWN {
        mode = overcommit_mode();
        MODE.store(mode, Ordering::Relaxed);
    }
    mode == b'2'
}

/// The first character of the setting, or that of its default.
fn overcommit_mode() -> u8 {
    let path = c"/proc/sys/vm/overcommit_memory".as_ptr().addr();
    let mut mode = [b'0'; 1];
    // SAFETY: the path ends in a NUL, and the buffer has the size given.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        let file = raw::call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags as usize]);
        if file >= 0 {
            raw::call(libc::SYS_read, [file as usize, mode.as_mut_ptr().addr(), mode.len()]);
            raw::call(libc::SYS_close, [file as usize]);
        }
    }
    mode[0]
}

/// Something that is done when a thread ends; see [`at_thread_end`].
#[derive(Clone, Copy)]
pub(crate) struct ThreadEnd(libc::pthread_key_t);

/// Has `f` called with the value that a thread gives to [`ThreadEnd::set`], when the thread ends; `None` if the
/// system has no room for that.
pub(crate) fn at_thread_end(f: unsafe extern "C" fn(*mut libc::c_void)) -> Option<ThreadEnd> {
    let mut key = 0;
    // SAFETY: the function lives as long as the process.
    let refused = keeping_errno(|| unsafe { libc::pthread_key_create(&mut key, Some(f)) });
    (refused == 0).then_some(ThreadEnd(key))
}

impl ThreadEnd {
    /// Sets the calling thread's value, not null. False if the system refuses. It may allocate.
    pub(crate) fn set(self, value: NonNull<u8>) -> bool {
        // SAFETY: the key was created, and is never deleted.
        keeping_errno(|| unsafe { libc::pthread_setspecific(self.0, value.as_ptr().cast()) == 0 })
    }
}
