//! Pools: made, reset, deleted.

use super::{fail_with_null, live, status};
use crate::error::{Error, Status};
use crate::os;
use crate::pool::Armoury;
use crate::system::{self, MemoryPool, default_pool};
use core::ffi::c_void;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;

/// For hl_config.flags: the pool is used by one thread at a time, and takes no lock.
pub const HL_POOL_SINGLE_THREADED: u32 = 1;

/// For hl_config.flags: the pool is hardened. Each block has a header and canaries about it, which show what was
/// written beside its bytes, up to 4,096 bytes behind them: its release is refused with ::HL_ERR_OVERRUN or
/// ::HL_ERR_UNDERRUN. The byte right behind is zero, so that a NUL written there shows not. Released blocks are
/// zeroed, and wait before their memory is used again; what is written to it meanwhile is told to the misuse handler
/// (::HL_ERR_WRITTEN_AFTER_RELEASE). Objects are taken at random, hl_usable_size() is what was asked for, and
/// hl_release_sized() finds every other size. A block takes at least 24 bytes more, and heaps are zeroed when they
/// are added.
pub const HL_POOL_HARDENED: u32 = 2;

const ALL_FLAGS: u32 = HL_POOL_SINGLE_THREADED | HL_POOL_HARDENED;

/// No config will ever be larger: what says it is was not initialised.
const LARGEST_CONFIG: usize = 4096;

/// How a pool is to be. Set struct_size to sizeof(hl_config) and what you don't know to 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hl_config {
    /// sizeof(hl_config).
    pub struct_size: usize,
    /// HL_POOL_... flags, or 0.
    pub flags: u32,
    /// As for hl_pool_set_limit(); 0 for none.
    pub limit: usize,
}

/// A pool: a set of heaps, out of which blocks of memory are allocated.
///
/// It takes memory from its heaps and from nowhere else. Unless it was made with HL_POOL_SINGLE_THREADED,
/// every function may be called from any number of threads at once.
pub struct hl_pool {
    // What is behind the pointer is a pool: in a `Handle`, but for the default one, which is the library's.
    _opaque: [u8; 0],
}

/// A pool of a program.
#[repr(C)]
pub(super) struct Handle {
    /// First, so that its address is the handle's.
    pool: MemoryPool,
    /// Whether it is in [`Pages`], rather than in memory that the caller handed in.
    in_pages: bool,
}

impl hl_pool {
    /// The handle of the default pool.
    pub(super) fn default_handle() -> *mut hl_pool {
        core::ptr::from_ref(default_pool()).cast_mut().cast()
    }
}

/// A handle in pages of its own, and the armoury of its pool, if that is hardened.
struct Pages {
    handle: Handle,
    armoury: MaybeUninit<Armoury>,
}

/// Bytes of the pages that a handle lives in.
fn handle_pages() -> usize {
    size_of::<Pages>().next_multiple_of(os::page_size())
}

/// Makes a pool without heaps; add some with hl_add_heap() or hl_add_system_heap(). The handle takes a page
/// of memory from the system. NULL if there is none (::HL_ERR_SYSTEM).
#[unsafe(no_mangle)]
pub extern "C" fn hl_pool_new() -> *mut hl_pool {
    // SAFETY: a null config stands for the default one.
    unsafe { hl_pool_new_with(core::ptr::null()) }
}

/// As hl_pool_new(), with a configuration; NULL stands for the default one. NULL, with
/// ::HL_ERR_INVALID_ARGUMENT, for a flag that isn't known or a struct_size that isn't set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_new_with(config: *const hl_config) -> *mut hl_pool {
    // SAFETY: the caller hands in a config, or null.
    match unsafe { read_config(config) }.and_then(new_pool) {
        Ok(pool) => pool,
        Err(error) => fail_with_null(error),
    }
}

/// # Safety
/// `config` is null or as large as its own first field says.
unsafe fn read_config(config: *const hl_config) -> Result<hl_config, Error> {
    let mut known = hl_config { struct_size: size_of::<hl_config>(), flags: 0, limit: 0 };
    if config.is_null() {
        return Ok(known);
    }
    // SAFETY: the config begins with its size.
    let size = unsafe { (&raw const (*config).struct_size).read() };
    if !(size_of::<usize>()..=LARGEST_CONFIG).contains(&size) {
        return Err(Error::InvalidArgument(
            "invalid argument: struct_size is not set, or not that of a config",
        ));
    }
    // SAFETY: the caller's config has `size` bytes, ours its own; what the caller doesn't know stays 0.
    unsafe {
        let both = size.min(size_of::<hl_config>());
        (&raw mut known).cast::<u8>().copy_from_nonoverlapping(config.cast(), both);
    }
    // What a newer program sets beyond what this library knows has to be nothing.
    // SAFETY: as above.
    let newer = |at| unsafe { config.cast::<u8>().add(at).read() } != 0;
    if (size_of::<hl_config>()..size).any(newer) {
        return Err(Error::InvalidArgument(
            "invalid argument: the config has a field that isn't known",
        ));
    }
    if known.flags & !ALL_FLAGS != 0 {
        return Err(Error::InvalidArgument("invalid argument: flags has a bit that isn't known"));
    }
    Ok(known)
}

fn new_pool(config: hl_config) -> Result<*mut hl_pool, Error> {
    let pool = if config.flags & HL_POOL_SINGLE_THREADED != 0 {
        // SAFETY: whoever sets the flag promises that one thread at a time uses the pool.
        unsafe { MemoryPool::single_threaded() }
    } else {
        MemoryPool::new()
    };
    pool.set_limit((config.limit != 0).then_some(config.limit));
    let pages = os::reserve(handle_pages())?;
    // SAFETY: the pages have just been reserved.
    if !unsafe { os::commit(pages, handle_pages()) } {
        // SAFETY: as above.
        unsafe { os::release(pages, handle_pages()) };
        return Err(Error::System { call: "mprotect", errno: libc::ENOMEM });
    }
    let handle = Handle { pool, in_pages: true };
    let mut pages = pages.cast::<Pages>();
    // SAFETY: the pages are large enough, aligned, and nobody else's.
    let pages = unsafe {
        pages.write(Pages { handle, armoury: MaybeUninit::uninit() });
        pages.as_mut()
    };
    if config.flags & HL_POOL_HARDENED != 0 {
        let armoury = pages.armoury.write(system::armoury(false));
        // SAFETY: nobody knows the pool yet, and the pages live as long as it.
        unsafe { pages.handle.pool.equip(NonNull::from(armoury)) };
    }
    Ok((&raw mut pages.handle).cast())
}

/// Makes a pool inside the `size` bytes at `memory`: the handle comes first, what is left becomes the first
/// heap. Nothing is taken from the system. NULL, with ::HL_ERR_HEAP_NULL, ::HL_ERR_HEAP_TOO_SMALL,
/// ::HL_ERR_HEAP_WRAPS or ::HL_ERR_SIZE_OVERFLOW, if that can't be.
///
/// The memory must stay valid until hl_pool_delete() and is the caller's again after it. The heap begins behind
/// the handle: an address in it is `(char *)memory + size - 1`. ::HL_ERR_HEAP_OVERLAPS if the memory shares any with
/// another pool, metadata and the handle before its first heap included; it may lie inside a block of one. That it lies
/// in a block, and not in what is free, is the caller's word.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_new_in(memory: *mut c_void, size: usize) -> *mut hl_pool {
    // SAFETY: the caller hands in memory that may be used.
    match unsafe { new_pool_in(memory.cast(), size) } {
        Ok(pool) => pool,
        Err(error) => fail_with_null(error),
    }
}

/// # Safety
/// As for [`MemoryPool::add_heap`].
unsafe fn new_pool_in(memory: *mut u8, size: usize) -> Result<*mut hl_pool, Error> {
    let before_handle = memory.addr().wrapping_neg() % align_of::<Handle>();
    let pool = MemoryPool::new();
    // SAFETY: what lies behind the handle is the caller's to hand in.
    unsafe { pool.add_heap_behind(memory, size, before_handle + size_of::<Handle>()) }?;
    // SAFETY: the handle's bytes are inside the memory, aligned, and in front of the heap.
    unsafe {
        let handle = memory.add(before_handle).cast::<Handle>();
        handle.write(Handle { pool, in_pages: false });
        Ok(handle.cast())
    }
}

const NOT_THE_DEFAULT: Error =
    Error::InvalidArgument("invalid argument: the default pool can't be reset or deleted");

/// Releases every block of the pool at once; its heaps stay, drained ones are in use again. No block may be used any
/// more. Not for the default pool (::HL_ERR_INVALID_ARGUMENT). Cost: a step a block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_reset(pool: *mut hl_pool) -> Status {
    if pool == hl_pool::default_handle() {
        return status(Err(NOT_THE_DEFAULT));
    }
    // SAFETY: the caller hands in a live pool or null.
    status(unsafe { live(pool) }.map(|pool| {
        // SAFETY: the caller promises not to use its blocks any more.
        unsafe { pool.reset() }
    }))
}

/// Deletes a pool: its blocks die with it, its heaps are the caller's again, and what it took from the
/// system goes back. NULL is fine. Not for the default pool (::HL_ERR_INVALID_ARGUMENT).
///
/// No other thread may be using the pool. Its handle is none any more, and not to be deleted again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_pool_delete(pool: *mut hl_pool) -> Status {
    let Some(handle) = NonNull::new(pool.cast::<Handle>()) else { return Status::Ok };
    if pool == hl_pool::default_handle() {
        return status(Err(NOT_THE_DEFAULT));
    }
    // SAFETY: every other pool is in a handle.
    let in_pages = unsafe { handle.as_ref() }.in_pages;
    // SAFETY: nobody else uses the pool, and nobody will after this.
    unsafe { handle.drop_in_place() };
    if in_pages {
        // SAFETY: `new_pool` reserved the pages that the handle is in.
        unsafe { os::release(handle.byte_sub(offset_of!(Pages, handle)).cast(), handle_pages()) };
    }
    Status::Ok
}
