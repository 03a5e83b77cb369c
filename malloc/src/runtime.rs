//! What this process has of the C++ runtime.
//!
//! We don't link to it: most programs have none, and which one it is (libstdc++ or libc++, shared or inside the
//! program) is the program's affair. A weak reference would be bound when we are loaded, too early for a runtime
//! that comes with a plugin. So the few functions are looked up when they are needed, which is when memory has
//! run out.

use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::ptr::NonNull;

/// A function that takes and returns nothing, but may throw: a `std::new_handler` among others.
pub(crate) type Thrower = unsafe extern "C-unwind" fn();

/// An exception on its way, as the unwinder knows it.
pub(crate) type Exception = *mut c_void;

/// The state of the unwinder at one frame.
pub(crate) type Context = *mut c_void;

/// Runtimes that a plugin may have brought along without making their names known to all.
const LIBRARIES: [&CStr; 4] =
    [c"libstdc++.so.6", c"libc++abi.so.1", c"libc++.so.1", c"libgcc_s.so.1"];

/// What `std::set_new_handler` was called with.
pub(crate) fn new_handler() -> Option<Thrower> {
    let get_new_handler = find(c"_ZSt15get_new_handlerv")?;
    // SAFETY: this is what the name stands for: `std::new_handler std::get_new_handler() noexcept`.
    unsafe {
        let get_new_handler: unsafe extern "C" fn() -> Option<Thrower> = transmute(get_new_handler);
        get_new_handler()
    }
}

/// Throws `std::bad_alloc`.
pub(crate) fn throw_bad_alloc() -> Option<Thrower> {
    let throw = find(c"_ZSt17__throw_bad_allocv")?;
    // SAFETY: this is what the name stands for: `void std::__throw_bad_alloc()`.
    Some(unsafe { transmute::<NonNull<c_void>, Thrower>(throw) })
}

/// Ends an exception as `catch (...) {}` does.
///
/// # Safety
///
/// The unwinder has just delivered it.
pub(crate) unsafe fn drop_exception(exception: Exception) {
    let (Some(begin), Some(end)) = (find(c"__cxa_begin_catch"), find(c"__cxa_end_catch")) else {
        return;
    };
    // SAFETY: this is what the names stand for in the Itanium C++ ABI, and how they go together.
    unsafe {
        let begin: unsafe extern "C" fn(Exception) -> *mut c_void = transmute(begin);
        let end: unsafe extern "C" fn() = transmute(end);
        begin(exception);
        end();
    }
}

/// Of the unwinder: where and with what it resumes.
pub(crate) struct Unwinder {
    set_register: SetRegister,
    set_instruction: SetInstruction,
}

type SetRegister = unsafe extern "C" fn(Context, c_int, usize);
type SetInstruction = unsafe extern "C" fn(Context, usize);

impl Unwinder {
    pub(crate) fn find() -> Option<Self> {
        let set_register = find(c"_Unwind_SetGR")?;
        let set_instruction = find(c"_Unwind_SetIP")?;
        // SAFETY: this is what the names stand for in the Itanium C++ ABI.
        unsafe {
            Some(Self {
                set_register: transmute::<NonNull<c_void>, SetRegister>(set_register),
                set_instruction: transmute::<NonNull<c_void>, SetInstruction>(set_instruction),
            })
        }
    }

    /// Makes the frame of this context go on at `landing`, with the exception in its result register.
    ///
    /// # Safety
    ///
    /// The context is that of a frame for which `landing` is written.
    pub(crate) unsafe fn resume_at(&self, context: Context, landing: usize, exception: Exception) {
        /// `__builtin_eh_return_data_regno(0)`: rax on x86-64, x0 on aarch64.
        const RESULT: c_int = 0;
        // SAFETY: the unwinder handed us the context, and the caller knows the frame.
        unsafe {
            (self.set_register)(context, RESULT, exception as usize);
            (self.set_instruction)(context, landing);
        }
    }
}

fn find(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: both are C strings. `RTLD_NOLOAD` runs no constructor, and `dlclose` gives back only what it
    // took.
    unsafe {
        NonNull::new(libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr())).or_else(|| {
            LIBRARIES.iter().find_map(|library| {
                let handle = NonNull::new(libc::dlopen(
                    library.as_ptr(),
                    libc::RTLD_LAZY | libc::RTLD_NOLOAD,
                ))?;
                let function = NonNull::new(libc::dlsym(handle.as_ptr(), name.as_ptr()));
                libc::dlclose(handle.as_ptr());
                function
            })
        })
    }
}
