//! Counts instructions. For a trace this program runs itself under callgrind, with a hidden command that
//! replays one trace on one peer.

use std::path::Path;
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
    let folder = env::temp_dir().join(format!("heapmaster-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
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
pub fn instructions_of_program(program: &Path, arguments: &[&str], malloc: &Malloc) -> Result<u64> {
    let mut command = callgrind("measured", NOWHERE.as_ref());
    command.arg(program).args(arguments).env("LD_PRELOAD", &malloc.library);
    command.envs(malloc.settings.iter().copied());
    instructions_of(&mut command)
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
    fn the_count_is_found_among_callgrinds_messages() {
        let messages = "==7== Events    : Ir\n==7== Collected : 1234\n==7== \n";
        assert_eq!(collected(messages), Some(1234));
        assert_eq!(collected("==7== valgrind: no such tool\n"), None);
    }
}
