//! The suites, one file each, and what they have in common.

pub mod checks;
pub mod fragmentation;
pub mod instructions;
pub mod latency;
pub mod malloc;
pub mod memory_return;
pub mod misuse;
pub mod pool;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on stderr that counts to `steps`; its message says what is being measured.
fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg}");
    ProgressBar::new(steps as u64).with_style(style.expect("the template is right"))
}
