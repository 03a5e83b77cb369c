//! Counts instructions. For a trace this program runs itself under callgrind, with a hidden command that
//! replays one trace on one peer.

use std::env;
use std::path::Path;
use std::process::Command;

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
}

impl Driver {
    pub fn run(&self) {
        let trace = Trace::new(self.work, self.count);
        let arena = Arena::new(self.peer, region::SIZE).expect("64 MiB are enough for every peer");
        trace::Driver::new(&*arena).replay(&trace);
    }
}

/// Instructions that `count` operations of `work` take on this peer, the driver's own among them.
pub fn instructions(peer: &Kind, work: &str, count: usize) -> Result<u64> {
    let mut command = callgrind(REPLAY);
    command.arg(env::current_exe()?).args(["driver", peer.name, work, &count.to_string()]);
    instructions_of(&mut command)
}

/// Instructions of the program's function `measured`, and of what it calls, with this malloc.
pub fn instructions_of_program(program: &Path, arguments: &[&str], malloc: &Malloc) -> Result<u64> {
    let mut command = callgrind("measured");
    command.arg(program).args(arguments).env("LD_PRELOAD", malloc.preload());
    instructions_of(&mut command)
}

/// Counts in this function alone.
fn callgrind(function: &str) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--max-threads=2000"])
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
