//! What the objects that the dynamic linker has loaded define.
//!
//! They are found where it shows them to debuggers: nobody stands before that, as programs do before
//! `dl_iterate_phdr`, and no lock is taken. So it is only to be asked while the process has a single thread.

use core::ffi::{CStr, c_char, c_int};

/// Tags of the dynamic section, of the System V ABI and its GNU extensions.
const DT_NULL: usize = 0;
const DT_HASH: usize = 4;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_SONAME: usize = 14;
const DT_GNU_HASH: usize = 0x6fff_fef5;

core::arch::global_asm!(
    ".weak _r_debug",
    ".pushsection .data.rel.ro.heapmaster_loaded, \"aw\", @progbits",
    ".balign 8",
    ".hidden heapmaster_loaded",
    ".globl heapmaster_loaded",
    "heapmaster_loaded: .8byte _r_debug",
    ".popsection",
);

/// How `<link.h>` declares it, as far as it is needed.
#[repr(C)]
struct Loaded {
    version: c_int,
    first: Option<&'static Object>,
}

#[repr(C)]
struct Object {
    /// What is added to the addresses in its file.
    base: usize,
    path: *const c_char,
    dynamic: *const [usize; 2],
    next: Option<&'static Object>,
}

unsafe extern "C" {
    #[link_name = "heapmaster_loaded"]
    static LOADED: Option<&'static Loaded>;
}

/// An object's table of names that others may refer to, as it lies in memory.
pub(crate) struct Names {
    strings: *const c_char,
    symbols: *const libc::Elf64_Sym,
    hashes: Hashes,
    own_name: usize,
}

/// Buckets, by the hash of a name, of chains of symbols.
#[derive(Clone, Copy)]
enum Hashes {
    Gnu(*const u32),
    SystemV(*const u32),
}

/// The names of each object that has any.
///
/// # Safety
/// The process has a single thread, and loads nothing meanwhile.
pub(crate) unsafe fn loaded() -> impl Iterator<Item = Names> {
    // SAFETY: the dynamic linker has written it, and the caller's promise.
    let mut next = unsafe { LOADED }.and_then(|loaded| loaded.first);
    core::iter::from_fn(move || {
        let object = next?;
        next = object.next;
        Some(object)
    })
    // SAFETY: the object is loaded.
    .filter_map(|object| unsafe { Names::of(object) })
}

impl Names {
    /// # Safety
    /// The object is loaded.
    unsafe fn of(object: &Object) -> Option<Names> {
        if object.dynamic.is_null() {
            return None;
        }
        let (mut strings, mut symbols, mut own_name) = (0, 0, 0);
        let (mut gnu, mut system_v) = (None, None);
        // Most are addresses by now; where the section can't be written to they still are what the file has.
        let address = |value: usize| if value < object.base { value + object.base } else { value };
        let mut entry = object.dynamic;
        // SAFETY: the caller's promise; the section ends with a null tag.
        unsafe {
            while (*entry)[0] != DT_NULL {
                let [tag, value] = *entry;
                match tag {
                    DT_STRTAB => strings = address(value),
                    DT_SYMTAB => symbols = address(value),
                    DT_GNU_HASH => gnu = Some(Hashes::Gnu(address(value) as *const u32)),
                    DT_HASH => system_v = Some(Hashes::SystemV(address(value) as *const u32)),
                    DT_SONAME => own_name = value,
                    _ => {}
                }
                entry = entry.add(1);
            }
        }
        (strings != 0 && symbols != 0).then_some(Names {
            strings: strings as *const c_char,
            symbols: symbols as *const libc::Elf64_Sym,
            hashes: gnu.or(system_v)?,
            own_name,
        })
    }

    /// The object's own, of a library; may be empty.
    pub(crate) fn own_name(&self) -> &CStr {
        self.string(self.own_name)
    }

    /// Where its table of symbols is: inside the object.
    pub(crate) fn address(&self) -> usize {
        self.symbols.addr()
    }

    fn string(&self, offset: usize) -> &CStr {
        // SAFETY: the object says so; the first string is empty.
        unsafe { CStr::from_ptr(self.strings.add(offset)) }
    }

    /// Whether the symbol is of this name, and defined.
    ///
    /// # Safety
    /// The object has a symbol with this index.
    unsafe fn is(&self, index: u32, name: &CStr) -> bool {
        // SAFETY: the caller's promise.
        let symbol = unsafe { &*self.symbols.add(index as usize) };
        symbol.st_shndx != 0 && self.string(symbol.st_name as usize) == name
    }

    /// Whether the object defines a name: as the dynamic linker finds out.
    pub(crate) fn define(&self, name: &CStr) -> bool {
        // SAFETY: the table is one of that kind.
        unsafe {
            match self.hashes {
                Hashes::Gnu(table) => self.define_by_gnu(table, name),
                Hashes::SystemV(table) => self.define_by_system_v(table, name),
            }
        }
    }

    /// # Safety
    /// The table is laid out so: how many buckets there are, the first symbol in a chain, the words of a filter and its
    /// shift; the filter, the buckets, and a hash for each symbol, of which the lowest bit ends a chain.
    unsafe fn define_by_gnu(&self, table: *const u32, name: &CStr) -> bool {
        const HEAD: usize = 4;
        let hash = fold(name, 5381, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte));
        // SAFETY: the caller's promise.
        unsafe {
            let [buckets, first, filter, _] = *table.cast::<[u32; HEAD]>();
            let buckets_at = table.add(HEAD + 2 * filter as usize);
            let hashes_at = buckets_at.add(buckets as usize);
            if buckets == 0 {
                return false;
            }
            let mut index = *buckets_at.add((hash % buckets) as usize);
            while index >= first && index != 0 {
                let found = *hashes_at.add((index - first) as usize);
                if found | 1 == hash | 1 && self.is(index, name) {
                    return true;
                }
                if found & 1 == 1 {
                    return false;
                }
                index += 1;
            }
            false
        }
    }

    /// # Safety
    /// The table is laid out so: how many buckets and symbols there are, the buckets, and for each symbol the next in its
    /// chain, or 0.
    unsafe fn define_by_system_v(&self, table: *const u32, name: &CStr) -> bool {
        const HEAD: usize = 2;
        let hash = fold(name, 0, |hash, byte| {
            let hash = (hash << 4).wrapping_add(byte);
            let high = hash & 0xf000_0000;
            (hash ^ high >> 24) & !high
        });
        // SAFETY: the caller's promise.
        unsafe {
            let buckets = *table;
            if buckets == 0 {
                return false;
            }
            let mut index = *table.add(HEAD + (hash % buckets) as usize);
            while index != 0 {
                if self.is(index, name) {
                    return true;
                }
                index = *table.add(HEAD + buckets as usize + index as usize);
            }
            false
        }
    }
}

fn fold(name: &CStr, first: u32, step: impl Fn(u32, u32) -> u32) -> u32 {
    name.to_bytes().iter().fold(first, |hash, &byte| step(hash, u32::from(byte)))
}
