//! What the objects that the dynamic linker has loaded define.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::size_of;

/// Tags of the dynamic section, of the System V ABI and its GNU extensions.
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_SONAME: u64 = 14;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// An object's table of names that others may refer to, as it lies in memory.
struct Names {
    strings: *const c_char,
    symbols: *const libc::Elf64_Sym,
    /// Buckets by the hash of a name, of chains of symbols; see [`Names::define`].
    hash: *const u32,
    own_name: usize,
}

/// Whether an object defines one of the names, of those that `counts` is true of; it is told a name of the object, which
/// may be empty, and the address of its table of symbols.
pub(crate) fn define(names: &[&CStr], mut counts: impl FnMut(&CStr, usize) -> bool) -> bool {
    let mut defines = |object: &Names| {
        counts(object.own_name(), object.symbols.addr())
            && names.iter().any(|name| object.define(name))
    };
    let mut look: &mut dyn FnMut(&Names) -> bool = &mut defines;
    // SAFETY: `visit` is given what it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut look).cast()) != 0 }
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    look: *mut c_void,
) -> c_int {
    // SAFETY: it is what `define` has given, and the linker describes an object that stays loaded meanwhile.
    unsafe {
        let look = &mut *look.cast::<&mut dyn FnMut(&Names) -> bool>();
        c_int::from(Names::of(&*info).is_some_and(|names| look(&names)))
    }
}

impl Names {
    /// # Safety
    /// The object is loaded.
    unsafe fn of(object: &libc::dl_phdr_info) -> Option<Names> {
        // SAFETY: the caller's promise; the dynamic section ends with a null tag.
        unsafe {
            let headers =
                core::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
            let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC)?;
            let base = object.dlpi_addr as usize;
            let mut entry = (base + dynamic.p_vaddr as usize) as *const [u64; 2];
            let (mut strings, mut symbols, mut hash, mut own_name) = (0, 0, 0, 0);
            while (*entry)[0] != DT_NULL {
                let value = (*entry)[1] as usize;
                match (*entry)[0] {
                    DT_STRTAB => strings = value,
                    DT_SYMTAB => symbols = value,
                    DT_GNU_HASH => hash = value,
                    DT_SONAME => own_name = value,
                    _ => {}
                }
                entry = entry.add(1);
            }
            // The kernel's own object has offsets where the linker has made addresses of those of others.
            let is_relocated = [strings, symbols, hash].iter().all(|&address| address > base);
            (hash != 0 && is_relocated).then_some(Names {
                strings: strings as *const c_char,
                symbols: symbols as *const libc::Elf64_Sym,
                hash: hash as *const u32,
                own_name,
            })
        }
    }

    fn own_name(&self) -> &CStr {
        // SAFETY: the section says so; the first string is empty.
        unsafe { CStr::from_ptr(self.strings.add(self.own_name)) }
    }

    /// Whether it defines a name: as the dynamic linker finds out, but for the filter that spares it a look.
    fn define(&self, name: &CStr) -> bool {
        /// Words before the filter: buckets, the first symbol in a chain, words of the filter, its shift.
        const HEAD: usize = 4;
        let wanted = hash(name);
        // SAFETY: the table is laid out so; it ends each chain by a hash whose lowest bit is set.
        unsafe {
            let [buckets, first, filter, _] = *self.hash.cast::<[u32; HEAD]>();
            let buckets_at =
                self.hash.add(HEAD + filter as usize * size_of::<u64>() / size_of::<u32>());
            let chains_at = buckets_at.add(buckets as usize);
            let mut index = *buckets_at.add((wanted % buckets.max(1)) as usize);
            if buckets == 0 || index < first {
                return false;
            }
            loop {
                let found = *chains_at.add((index - first) as usize);
                let symbol = &*self.symbols.add(index as usize);
                if found | 1 == wanted | 1
                    && symbol.st_shndx != 0
                    && CStr::from_ptr(self.strings.add(symbol.st_name as usize)) == name
                {
                    return true;
                }
                if found & 1 == 1 {
                    return false;
                }
                index += 1;
            }
        }
    }
}

/// Of names, in tables of the GNU kind.
fn hash(name: &CStr) -> u32 {
    name.to_bytes()
        .iter()
        .fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}
