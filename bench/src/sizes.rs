//! Random sizes of requests.

use std::ops::Range;

use fastrand::Rng;

/// A size whose logarithm is uniform over the range: as many between 16 and 32 as between 2048 and 4096,
/// which is nearer to real programs than sizes that are uniform themselves.
pub fn log_uniform(rng: &mut Rng, sizes: &Range<u32>) -> u32 {
    let (start, end) = (f64::from(sizes.start), f64::from(sizes.end));
    (start * (end / start).powf(rng.f64())) as u32
}
