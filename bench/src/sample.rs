//! A figure measured several times.

/// At least one value, in ascending order.
pub struct Sample(Vec<f64>);

impl Sample {
    /// `None` of no values, or when one of them is missing.
    pub fn new(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let mut values = values.into_iter().collect::<Option<Vec<_>>>()?;
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The middle value, or the mean of the two in the middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value below which this share of the others lies; between two values in proportion.
    pub fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.0.len() - 1) as f64;
        let (below, above) = (self.0[place.floor() as usize], self.0[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }
}

/// The geometric mean, which treats a ratio and its inverse alike; `None` of no values, or when one of them is
/// missing.
pub fn geometric_mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let logarithms: Vec<f64> =
        values.into_iter().map(|it| it.map(f64::ln)).collect::<Option<_>>()?;
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    (!logarithms.is_empty()).then_some(mean.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        let median =
            |values: &[f64]| Sample::new(values.iter().copied().map(Some)).map(|it| it.median());
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn quartiles_lie_between_values_in_proportion() {
        let sample = Sample::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0].map(Some)).unwrap();
        assert_eq!([0.25, 0.75].map(|share| sample.quantile(share)), [2.5, 14.0]);
        assert_eq!([0.0, 1.0].map(|share| sample.quantile(share)), [sample.min(), sample.max()]);
    }

    #[test]
    fn a_ratio_and_its_inverse_have_one_as_their_geometric_mean() {
        assert!((geometric_mean([0.25, 4.0].map(Some)).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(geometric_mean([Some(2.0), None]), None);
        assert_eq!(geometric_mean([]), None);
    }

    #[test]
    fn a_missing_value_leaves_no_sample() {
        assert!(Sample::new([Some(1.0), None]).is_none());
    }
}
