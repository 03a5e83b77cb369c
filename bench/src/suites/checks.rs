//! What the checks cost that find a program's errors: each that has a setting by itself, and of a program with all of
//! them, where its instructions go.

use addr2line::Loader;

use super::progress;
use crate::comparison::Field;
use crate::counted::{Counted, Work};
use crate::mallocs::{self, HEAPMASTER, Malloc};
use crate::programs::{Launcher, Program};
use crate::report::Table;
use crate::{Findings, Options, Result};

type Settings = &'static [(&'static str, &'static str)];

/// Settings that do without a check of the default, or add one to it.
const VARIANTS: [(&str, Settings); 7] = [
    ("default", &[]),
    ("without spot checks", &[("HEAPMASTER_SPOT_CHECKS", "no")]),
    ("with sizes of delete", &[("HEAPMASTER_CHECK_SIZES", "yes")]),
    ("with origins of blocks", &[("HEAPMASTER_CHECK_ORIGINS", "yes")]),
    ("with samples, one in 1000", &[("HEAPMASTER_SAMPLE", "1000")]),
    ("hardened, without samples", HARDENED),
    ("hardened", &[("HEAPMASTER_HARDENED", "yes")]),
];

const HARDENED: Settings = &[("HEAPMASTER_HARDENED", "yes"), ("HEAPMASTER_SAMPLE", "no")];

/// What is counted.
const COUNTED: [(&str, Work); 4] = [
    ("pair of 64 B", Work::new("pair-64")),
    ("pair of 2000 B", Work::new("pair-2000")),
    ("mix", Work::new("mix")),
    ("new and sized delete of 64 B", Work::new("sized-64")),
];

/// Programs whose CPU time is compared: the workload, its threads, its work.
const TIMED: [(&str, usize, usize); 4] = [
    ("lifetimes", 1, 10_000_000),
    ("larson", 2, 10_000_000),
    ("handover", 2, 4_000_000),
    ("growth", 1, 4_000_000),
];

pub fn run(options: &Options) -> Result<Findings> {
    let mallocs = mallocs::chosen(&[HEAPMASTER.to_owned()])?;
    let with = |settings| Malloc { settings, ..mallocs[0].clone() };
    let variants: Vec<_> = VARIANTS.map(|(name, settings)| (name, with(settings))).into();
    let launcher = Launcher::new()?;
    let counted = Counted::new(&launcher)?;
    let tables = vec![
        instructions(&counted, &variants)?,
        cpu_time(&launcher, &variants, options)?,
        purposes(&counted, &[("default", with(&[])), ("hardened", with(HARDENED))])?,
    ];
    Ok(Findings { versions: mallocs::versions(&mallocs), tables })
}

fn instructions(counted: &Counted, variants: &[(&str, Malloc)]) -> Result<Table> {
    let bar = progress(variants.len() * COUNTED.len());
    let driver = COUNTED.iter().map(|(_, work)| counted.driver(work));
    let driver = driver.collect::<Result<Vec<_>>>()?;
    let rows = variants.iter().map(|(name, malloc)| {
        let costs = COUNTED.iter().zip(&driver).map(|((_, work), driver)| {
            bar.inc(1);
            Ok(Some(counted.with(work, malloc)? - driver))
        });
        Ok(((*name).to_owned(), costs.collect::<Result<_>>()?))
    });
    let rows = rows.collect::<Result<_>>()?;
    bar.finish_and_clear();
    Ok(Table {
        title: "Instructions of malloc and free together".to_owned(),
        columns: COUNTED.map(|(heading, _)| (heading.to_owned(), 1)).into(),
        rows,
        plot: None,
    })
}

/// Of the fastest rounds.
fn cpu_time(launcher: &Launcher, variants: &[(&str, Malloc)], options: &Options) -> Result<Table> {
    let others = variants[1..].iter().map(|(name, malloc)| ((*name).to_owned(), malloc));
    let field = Field::new((variants[0].0, &variants[0].1), others);
    let rounds = options.runs(1, 7);
    let bar = progress(rounds * TIMED.len() * field.len());
    let mut names = Vec::new();
    let mut ratios: Vec<Vec<Option<f64>>> = Vec::new();
    for (workload, threads, work) in TIMED {
        let work = if options.quick { work / 10 } else { work };
        let arguments = [threads.to_string(), work.to_string()];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let program = Program::new(launcher.workload(workload)?, &arguments);
        let mut failure = None;
        let costs = field.rounds(rounds, |name, malloc| {
            bar.set_message(format!("{workload}, {name}"));
            bar.inc(1);
            let cost = launcher.run(&program, malloc);
            cost.map_err(|error| failure = Some(error)).ok().map(|(cost, _)| cost.cpu)
        });
        if let Some(error) = failure {
            return Err(error);
        }
        names = costs.ratios_of_least().map(|(name, _)| name.to_owned()).collect();
        ratios.push(costs.ratios_of_least().map(|(_, ratio)| ratio).collect());
    }
    bar.finish_and_clear();
    let row = |entry: usize| ratios.iter().map(|of_all| of_all[entry]).collect();
    Ok(Table {
        title: "CPU time of the fastest round, ratio to the default's".to_owned(),
        columns: TIMED.map(|(workload, threads, _)| (format!("{workload}, {threads}"), 2)).into(),
        rows: names.into_iter().enumerate().map(|(entry, name)| (name, row(entry))).collect(),
        plot: None,
    })
}

/// What instructions are for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Purpose {
    Itself,
    Judgement,
    Selection,
    Placement,
    Header,
    Canaries,
    Zeroes,
    Quarantine,
    CLibrary,
}

/// In the order of the purposes.
const PURPOSES: [&str; 9] = [
    "allocation and release themselves",
    "which object an address is, and whether it is live",
    "whether a block is to be checked or sampled",
    "random placement",
    "header: size, origin, released once",
    "canaries before and behind",
    "released memory is zeroed, and looked at before it is used again",
    "quarantine",
    "the C library: filling and copying of memory",
];

const _: () = assert!(Purpose::CLibrary as usize == PURPOSES.len() - 1);

/// A function, and the file that it is written in.
struct Frame {
    function: String,
    file: String,
}

/// What an instruction is for whose function is inlined in the next, and so on.
fn purpose(frames: &[Frame]) -> Purpose {
    let is_in = |frame: &Frame, files: &[&str]| files.iter().any(|file| frame.file.contains(file));
    let is = |frame: &Frame, functions: &[&str]| {
        // Without its hash.
        let path = frame.function.split("::h").next().unwrap_or_default();
        functions.iter().any(|function| path.ends_with(&format!("::{function}")))
    };
    // What leaves the quarantine is found and released once more.
    if frames.iter().any(|frame| is(frame, &["discharge"]) || is_in(frame, &["armour/quarantine"]))
    {
        return Purpose::Quarantine;
    }
    let of_one = |frame: &Frame| {
        if is_in(frame, &["armour/zeroes"]) {
            Some(Purpose::Zeroes)
        } else if is_in(frame, &["armour/canary", "armour/wound"])
            || is(frame, &["canary", "canaries", "has_hem"])
        {
            Some(Purpose::Canaries)
        } else if is_in(frame, &["src/armour/"]) {
            Some(Purpose::Header)
        } else if is_in(frame, &["slab/dice"]) || is(frame, &["alloc_at_random", "at_or_behind"]) {
            Some(Purpose::Placement)
        } else if is_in(frame, &["cache/spot", "src/sampled/"]) {
            Some(Purpose::Selection)
        } else if is_in(frame, &["slab/map", "slab/span/", "slab/remote", "slab/owned"]) {
            Some(Purpose::Judgement)
        } else {
            None
        }
    };
    frames.iter().find_map(of_one).unwrap_or(Purpose::Itself)
}

/// Instructions of an operation, by what they are for.
fn purposes(counted: &Counted, modes: &[(&str, Malloc)]) -> Result<Table> {
    let works = &COUNTED[..3];
    let bar = progress(modes.len() * works.len());
    let lines = Loader::new(&modes[0].1.library).map_err(|error| error.to_string())?;
    let mut columns = Vec::new();
    let mut rows: Vec<_> = PURPOSES.map(|purpose| (purpose.to_owned(), Vec::new())).into();
    for (mode, malloc) in modes {
        for (heading, work) in works {
            bar.set_message(format!("{heading}, {mode}"));
            bar.inc(1);
            let mut sums = [0.0; PURPOSES.len()];
            for ((object, address), cost) in counted.profile(work, malloc)? {
                let is_ours = malloc.library.as_os_str() == &*object;
                let purpose =
                    if is_ours { purpose(&frames(&lines, address)?) } else { Purpose::CLibrary };
                sums[purpose as usize] += cost;
            }
            columns.push((format!("{heading}, {mode}"), 1));
            for ((_, figures), sum) in rows.iter_mut().zip(sums) {
                figures.push(Some(sum));
            }
        }
    }
    bar.finish_and_clear();
    Ok(Table {
        title: "Instructions of malloc and free together, by what they are for".to_owned(),
        columns,
        rows,
        plot: None,
    })
}

/// The functions that an address lies in, the innermost first.
fn frames(lines: &Loader, address: u64) -> Result<Vec<Frame>> {
    let mut found = lines.find_frames(address).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    while let Some(frame) = found.next().map_err(|error| error.to_string())? {
        let name = frame.function.as_ref().map(|name| name.demangle().map(|it| it.into_owned()));
        frames.push(Frame {
            function: name.transpose().map_err(|error| error.to_string())?.unwrap_or_default(),
            file: frame.location.and_then(|it| it.file).unwrap_or_default().to_owned(),
        });
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_for_what_the_innermost_function_with_a_purpose_does() {
        let of = |frames: &[(&str, &str)]| {
            let frames = frames.iter().map(|&(function, file)| Frame {
                function: function.to_owned(),
                file: file.to_owned(),
            });
            purpose(&frames.collect::<Vec<_>>())
        };
        let core = ("core::ptr::write", "/rust/core/src/ptr/mod.rs");
        let (put_on, fill) =
            (("a::Suit::put_on", "src/armour/mod.rs"), ("a::fill", "src/armour/canary.rs"));
        let alloc = ("a::alloc_at_once", "src/cache/hardened/objects.rs");
        let (release, discharge) = (
            ("a::Span::release", "src/slab/span/mod.rs"),
            ("a::discharge::h0123", "src/cache/hardened/objects.rs"),
        );
        assert_eq!(of(&[core, alloc]), Purpose::Itself);
        assert_eq!(of(&[core, release]), Purpose::Judgement);
        assert_eq!(of(&[core, put_on, alloc]), Purpose::Header);
        assert_eq!(of(&[core, fill, put_on, alloc]), Purpose::Canaries);
        assert_eq!(of(&[release, discharge]), Purpose::Quarantine);
    }
}
