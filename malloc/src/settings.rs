//! What the environment says: one table, from which the parser and the listing of `HEAPMASTER_HELP` are made.
//!
//! The variables are read once, by the constructor. Until then, and for a value that is not in the table, the
//! default counts. A setuid program reads none of them: they belong to the caller, the memory does not.

use crate::text::say;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// What the names of all variables begin with.
const PREFIX: &[u8] = b"HEAPMASTER_";

/// An environment variable that takes one of a few values.
struct Setting {
    name: &'static str,
    /// The first is the default.
    values: &'static [&'static str],
    meaning: &'static str,
    /// Index into `values`. Relaxed everywhere: it stands for nothing but itself.
    chosen: AtomicU8,
}

static ON_MISUSE: Setting = Setting {
    name: "HEAPMASTER_ON_MISUSE",
    values: &["abort", "report", "ignore"],
    meaning: "after a wrong free or realloc: say so and abort, say so and go on, or go on",
    chosen: AtomicU8::new(0),
};

static STATISTICS_AT_EXIT: Setting = Setting {
    name: "HEAPMASTER_STATS_AT_EXIT",
    values: &["no", "yes"],
    meaning: "call malloc_stats when the program ends",
    chosen: AtomicU8::new(0),
};

static ORIGINS: Setting = Setting {
    name: "HEAPMASTER_CHECK_ORIGINS",
    values: &["auto", "no", "yes"],
    meaning: "of hardened, sampled and checked blocks, report free of what new allocated, and the like; auto: if hardened",
    chosen: AtomicU8::new(0),
};

static DECAY: Setting = Setting {
    name: "HEAPMASTER_DECAY",
    values: &["yes", "no"],
    meaning: "a thread of its own gives free pages back to the system within two seconds",
    chosen: AtomicU8::new(0),
};

static DEEPBIND: Setting = Setting {
    name: "HEAPMASTER_DEEPBIND",
    values: &["ignore", "keep"],
    meaning: "dlopen's RTLD_DEEPBIND, by which a library finds another malloc",
    chosen: AtomicU8::new(0),
};

static MODE: Setting = Setting {
    name: "HEAPMASTER_HARDENED",
    values: &["no", "yes"],
    meaning: "find overflows, writes after free, mismatched releases; at a cost in time and memory",
    chosen: AtomicU8::new(0),
};

static SPOT_CHECKS: Setting = Setting {
    name: "HEAPMASTER_SPOT_CHECKS",
    values: &["yes", "no"],
    meaning: "if not hardened: now and then look for overflows of a block, and for writes after its release",
    chosen: AtomicU8::new(0),
};

static SAMPLE: Setting = Setting {
    name: "HEAPMASTER_SAMPLE",
    values: &["auto", "no", "1", "10", "100", "1000", "10000"],
    meaning: "one in so many blocks up to 4 KiB has a page and a record of its own; auto: 10000 if hardened, or no",
    chosen: AtomicU8::new(0),
};

static SIZES: Setting = Setting {
    name: "HEAPMASTER_CHECK_SIZES",
    values: &["no", "yes"],
    meaning: "report an operator delete that is given a size that can't be true",
    chosen: AtomicU8::new(0),
};

static HELP: Setting = Setting {
    name: "HEAPMASTER_HELP",
    values: &["no", "yes"],
    meaning: "list the settings on standard error when the program starts",
    chosen: AtomicU8::new(0),
};

static SETTINGS: [&Setting; 10] = [
    &ON_MISUSE,
    &MODE,
    &SPOT_CHECKS,
    &SAMPLE,
    &SIZES,
    &ORIGINS,
    &DECAY,
    &DEEPBIND,
    &STATISTICS_AT_EXIT,
    &HELP,
];

/// Whether the pool is hardened. Relaxed everywhere, as the next: it stands for nothing but itself.
pub(crate) static HARDENED: AtomicBool = AtomicBool::new(false);

/// Whether sizes that are given to `operator delete` are to be looked at.
pub(crate) static CHECK_SIZES: AtomicBool = AtomicBool::new(false);

/// What to do about a pointer that the pool refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnMisuse {
    /// Say so and abort.
    Abort,
    /// Say so and go on, as if the call had not been made.
    Report,
    /// Go on without a word.
    Ignore,
}

pub(crate) fn on_misuse() -> OnMisuse {
    match ON_MISUSE.value() {
        "report" => OnMisuse::Report,
        "ignore" => OnMisuse::Ignore,
        _ => OnMisuse::Abort,
    }
}

pub(crate) fn statistics_at_exit() -> bool {
    STATISTICS_AT_EXIT.value() == "yes"
}

pub(crate) fn pages_decay() -> bool {
    DECAY.value() == "yes"
}

/// Whether libraries may be loaded so that they find another malloc.
pub(crate) fn keeps_deepbind() -> bool {
    DEEPBIND.value() == "keep"
}

/// Whether the settings want a hardened pool.
pub(crate) fn wants_hardened() -> bool {
    MODE.value() == "yes"
}

/// Whether some blocks of a pool that is not hardened are to be checked.
pub(crate) fn wants_spot_checks() -> bool {
    SPOT_CHECKS.value() == "yes"
}

/// One in how many blocks is to be sampled; `None` if none is.
pub(crate) fn sample_interval() -> Option<u32> {
    match SAMPLE.value() {
        "auto" => HARDENED.load(Relaxed).then_some(10_000),
        number => number.parse().ok(),
    }
}

/// Whether what releases a block has to be of the kind that allocated it.
pub(crate) fn origins_count() -> bool {
    match ORIGINS.value() {
        "auto" => HARDENED.load(Relaxed),
        value => value == "yes",
    }
}

/// Takes note that the pool is hardened.
pub(crate) fn is_hardened_now() {
    HARDENED.store(true, Relaxed);
    CHECK_SIZES.store(true, Relaxed);
}

/// Takes the settings from `NAME=value` strings.
///
/// Not from `getenv`: libc's own environment is set up by a constructor that runs after ours.
///
/// # Safety
///
/// `environment` is null or an array of C strings that ends with a null pointer, and nobody changes it now.
pub(crate) unsafe fn read(environment: *const *const c_char) {
    if environment.is_null() {
        return;
    }
    for index in 0.. {
        // SAFETY: the array ends with a null pointer, and the loop with it.
        let variable = unsafe { *environment.add(index) };
        if variable.is_null() {
            break;
        }
        // SAFETY: the caller says that it is a C string.
        let variable = unsafe { CStr::from_ptr(variable) }.to_bytes();
        if variable.starts_with(PREFIX) {
            // Not before: most programs have no setting, and to ask would map a part of libc that they do without.
            if is_secure() {
                return;
            }
            read_variable(variable);
        }
    }
    CHECK_SIZES.store(SIZES.value() == "yes", Relaxed);
    if HELP.value() == "yes" {
        for setting in SETTINGS {
            say(format_args!("{}: {}: {}", setting.name, setting.meaning, Choice(setting)));
        }
    }
}

/// Whether the process has rights that whoever set its environment may not have.
fn is_secure() -> bool {
    // SAFETY: it takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

fn read_variable(variable: &[u8]) {
    for setting in SETTINGS {
        let value = variable.strip_prefix(setting.name.as_bytes());
        if let Some(value) = value.and_then(|rest| rest.strip_prefix(b"=")) {
            setting.choose(value);
        }
    }
}

impl Setting {
    fn value(&self) -> &'static str {
        self.values[usize::from(self.chosen.load(Relaxed))]
    }

    /// An empty value is no value, as it is in a shell.
    fn choose(&'static self, value: &[u8]) {
        match self.values.iter().position(|name| name.as_bytes() == value) {
            Some(index) => self.chosen.store(index as u8, Relaxed),
            None if value.is_empty() => {}
            None => say(format_args!(
                "{}={} is unknown and ignored; the values are {}",
                self.name,
                value.escape_ascii(),
                Choice(self)
            )),
        }
    }
}

/// The values of a setting, for a reader.
struct Choice(&'static Setting);

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (default, others) = self.0.values.split_first().ok_or(fmt::Error)?;
        write!(f, "{default} (default)")?;
        others.iter().try_for_each(|value| write!(f, ", {value}"))
    }
}
