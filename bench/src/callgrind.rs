//! Counts instructions. For a trace this program runs itself under callgrind, with a hidden command that
//! replays one trace on one peer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use clap::Args;

use crate::Result;
use crate::mallocs::Malloc;
use crate::peers::{self, Arena, Kind};
use crate::region;
use crate::trace::{self, REPLAY, Trace, Work};

/// The hidden command.
#[derive(Args)]
pub struct Driver {
    #[arg(value_parser = peers::find)]
    peer: &'static Kind,
    #[arg(value_parser = trace::find)]
    work: Work,
    count: usize,
    /// A call for each operation
    #[arg(long)]
    one_by_one: bool,
}

impl Driver {
    pub fn run(&self) {
        let trace = Trace::new(self.work, self.count);
        let arena = Arena::new(self.peer, region::SIZE).expect("64 MiB are enough for every peer");
        let mut driver = trace::Driver::new(&*arena);
        if self.one_by_one {
            driver.replay_one_by_one(&trace);
        } else {
            driver.replay(&trace);
        }
    }
}

/// Instructions that `count` operations of `work` take on this peer, the driver's own among them.
pub fn instructions(peer: &Kind, work: &str, count: usize) -> Result<u64> {
    let mut command = callgrind(REPLAY, NOWHERE.as_ref());
    command.arg(env::current_exe()?).args(["driver", peer.name, work, &count.to_string()]);
    instructions_of(&mut command)
}

/// The most instructions that one of the first `count` operations of `work` takes, the driver's among them.
pub fn most_instructions(peer: &Kind, work: &str, count: usize) -> Result<u64> {
    let folder = scratch()?;
    let mut command = callgrind(REPLAY, &folder.join("out"));
    command.arg(format!("--dump-after={REPLAY}")).arg(env::current_exe()?).args([
        "driver",
        peer.name,
        work,
        &count.to_string(),
        "--one-by-one",
    ]);
    let counted = instructions_of(&mut command);
    let mut most = 0;
    for file in fs::read_dir(&folder)? {
        let dump = fs::read_to_string(file?.path())?;
        let total = dump.lines().find_map(|line| line.strip_prefix("summary: "));
        most = most.max(total.map_or(Ok(0), |total| total.trim().parse())?);
    }
    fs::remove_dir_all(folder)?;
    counted.map(|_| most)
}

/// Instructions of the program's function `measured`, and of what it calls, with this malloc.
pub fn instructions_of_program(
    program: &Path,
    arguments: &[String],
    malloc: &Malloc,
) -> Result<u64> {
    let mut command = callgrind("measured", NOWHERE.as_ref());
    instructions_of(malloc.preload(&mut command).arg(program).args(arguments))
}

/// What each address of each object file cost by itself.
pub type Profile = HashMap<String, HashMap<u64, u64>>;

/// [`instructions_of_program`], by where they are.
pub fn profile_of_program(
    program: &Path,
    arguments: &[String],
    malloc: &Malloc,
) -> Result<Profile> {
    let folder = scratch()?;
    let file = folder.join("out");
    let by_address = ["--dump-instr=yes", "--dump-line=no"];
    let mut command = callgrind("measured", &file);
    instructions_of(malloc.preload(command.args(by_address)).arg(program).args(arguments))?;
    let profile = parsed(&fs::read_to_string(file)?);
    fs::remove_dir_all(folder)?;
    profile
}

/// Callgrind's profile by addresses.
fn parsed(text: &str) -> Result<Profile> {
    let mut profile = Profile::new();
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut object, mut at, mut is_call) = ("", 0, false);
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap_or_default();
        if let "ob" | "cob" = key {
            // A name is written once, with a number that stands for it from then on.
            let (number, name) = value.split_once(' ').unwrap_or((value, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            if key == "ob" {
                object = names.get(number).ok_or("an object has no name")?;
            }
        } else if key == "calls" {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let (position, cost) = line.split_once(' ').ok_or("a cost has no position")?;
            at = address(position, at)?;
            // What a call cost is the callee's.
            if !is_call {
                let costs = profile.entry(object.to_owned()).or_default();
                *costs.entry(at).or_default() += cost.trim().parse::<u64>()?;
            }
            is_call = false;
        }
    }
    Ok(profile)
}

/// An address, in full or by its distance from the last one.
fn address(position: &str, last: u64) -> Result<u64> {
    let number = |digits: &str| match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Ok(match position.split_at(1) {
        ("*", _) => last,
        ("+", distance) => last + number(distance)?,
        ("-", distance) => last - number(distance)?,
        _ => number(position)?,
    })
}

/// An empty folder of this process.
fn scratch() -> Result<PathBuf> {
    let folder = env::temp_dir().join(format!("heapmaster-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The profile of a run of which the total is enough.
const NOWHERE: &str = "/dev/null";

/// Counts in this function alone, and writes the profile to this file.
fn callgrind(function: &str, profile: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--max-threads=2000"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(format!("--toggle-collect={function}"));
    command
}

fn instructions_of(command: &mut Command) -> Result<u64> {
    let output = command.output().map_err(|error| format!("valgrind can't be run: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?} failed:\n{messages}").into());
    }
    collected(&messages).ok_or_else(|| format!("callgrind gave no count:\n{messages}").into())
}

/// The figure in callgrind's line `==1234== Collected : 567890`.
fn collected(messages: &str) -> Option<u64> {
    let (_, rest) = messages.split_once("Collected : ")?;
    rest.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_told_apart_by_objects_and_from_those_of_calls() {
        let profile = "positions: instr\nevents: Ir\n\nob=(1) /a\nfl=(1) ?\nfn=(1) main\n0x1000 5\n+16 1\n\
            cob=(2) /lib/b\ncfn=(2) f\ncalls=3 0x2000\n* 77\n\nob=(2)\nfn=(2)\n0x2000 7\n* 2\n+3 1\n\
            cob=(1)\ncfn=(1)\ncalls=1 0x1000\n+2 9\n-3 4\n";
        let profile = parsed(profile).unwrap();
        assert_eq!(profile["/lib/b"], [(0x2000, 9), (0x2002, 4), (0x2003, 1)].into());
        assert_eq!(profile["/a"], [(0x1000, 5), (0x1010, 1)].into());
    }

    #[test]
    fn the_count_is_found_among_callgrinds_messages() {
        let messages = "==7== Events    : Ir\n==7== Collected : 1234\n==7== \n";
        assert_eq!(collected(messages), Some(1234));
        assert_eq!(collected("==7== valgrind: no such tool\n"), None);
    }
}
