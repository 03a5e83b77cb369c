//! The program `counted`, run under callgrind: what an operation of its work takes in the long run.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::Result;
use crate::callgrind::{instructions_of_program, profile_of_program};
use crate::mallocs::Malloc;
use crate::programs::Launcher;

/// Operations of two runs, of which the difference counts: what the first ones set up, the others find.
const OPERATIONS: [usize; 2] = [20_000, 40_000];

/// What is counted: work by its name, MiB allocated before, other threads.
#[derive(Clone, Copy)]
pub struct Work {
    pub name: &'static str,
    pub live: usize,
    pub threads: usize,
}

impl Work {
    pub const fn new(name: &'static str) -> Self {
        Self { name, live: 0, threads: 0 }
    }

    /// What the program is told, for so many operations.
    fn arguments(&self, operations: usize) -> Vec<String> {
        let numbers = [operations, self.live, self.threads].map(|number| number.to_string());
        [self.name.to_owned()].into_iter().chain(numbers).collect()
    }
}

pub struct Counted(PathBuf);

impl Counted {
    pub fn new(launcher: &Launcher) -> Result<Self> {
        Ok(Self(launcher.workload("counted")?))
    }

    /// The driver's own instructions of an operation. It calls no malloc, so they are the same for all.
    pub fn driver(&self, work: &Work) -> Result<f64> {
        // The two instructions that stand for malloc and free are not the driver's.
        let alone = Work::new(work.name);
        Ok(self.per_operation(&alone, &Malloc::of_c_library(), true)? - 2.0)
    }

    /// Instructions of an operation with this malloc, the driver's among them.
    pub fn with(&self, work: &Work, malloc: &Malloc) -> Result<f64> {
        self.per_operation(work, malloc, false)
    }

    fn per_operation(&self, work: &Work, malloc: &Malloc, is_alone: bool) -> Result<f64> {
        let count = |operations| {
            let mut arguments = work.arguments(operations);
            arguments.extend(is_alone.then(|| "alone".to_owned()));
            instructions_of_program(&self.0, &arguments, malloc)
        };
        let [fewer, more] = OPERATIONS;
        Ok((count(more)? - count(fewer)?) as f64 / (more - fewer) as f64)
    }

    /// Where the instructions of an operation are: what each address costs by itself, but those of the driver.
    pub fn profile(&self, work: &Work, malloc: &Malloc) -> Result<HashMap<(String, u64), f64>> {
        let mut sums = HashMap::new();
        let [fewer, more] = OPERATIONS;
        for (operations, sign) in [(fewer, -1.0), (more, 1.0)] {
            let arguments = work.arguments(operations);
            for (object, costs) in profile_of_program(&self.0, &arguments, malloc)? {
                if self.0.as_os_str() == &*object {
                    continue;
                }
                for (address, cost) in costs {
                    let share = sign * cost as f64 / (more - fewer) as f64;
                    *sums.entry((object.clone(), address)).or_default() += share;
                }
            }
        }
        Ok(sums)
    }
}
