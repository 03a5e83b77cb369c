//! Who is faster, and how sure that is.
//!
//! Everybody does the same work in rounds. A round measures each once, in random order, so that what the
//! machine does meanwhile falls on all; a ratio is of two figures of one round. The reference takes part
//! twice: how far it is from itself is what the ratios of the others are uncertain by.

use fastrand::Rng;

use crate::plot::{Bar, Plot};
use crate::report::Table;
use crate::sample::Sample;

/// The end of the control's name.
pub const CONTROL: &str = " again";

/// Whether a row of this name is the reference's second one.
pub fn is_control(name: &str) -> bool {
    name.ends_with(CONTROL)
}

/// Those who are compared; the first is the reference.
pub struct Field<T>(Vec<(String, T)>);

impl<T: Copy> Field<T> {
    /// The reference, its control, and the others.
    pub fn new(reference: (&str, T), others: impl IntoIterator<Item = (String, T)>) -> Self {
        let (name, it) = reference;
        let mut entries = vec![(name.to_owned(), it), (format!("{name}{CONTROL}"), it)];
        entries.extend(others);
        Self(entries)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Measures each of them in every round. Those for whom `measure` gives `None` have no figures.
    pub fn rounds<M>(
        &self,
        rounds: usize,
        mut measure: impl FnMut(&str, T) -> Option<M>,
    ) -> Measured<M> {
        let mut rng = Rng::with_seed(1);
        let mut order: Vec<_> = (0..self.0.len()).collect();
        let mut figures: Vec<_> =
            self.0.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        for _ in 0..rounds {
            rng.shuffle(&mut order);
            for &entry in &order {
                let (name, it) = &self.0[entry];
                figures[entry].1.push(measure(name, *it));
            }
        }
        Measured(figures)
    }
}

/// What was measured of each, in the order of the rounds.
pub struct Measured<M>(Vec<(String, Vec<Option<M>>)>);

/// One figure of each and round.
pub type Figures = Measured<f64>;

impl<M> Measured<M> {
    /// One figure of all that was measured.
    pub fn figures(&self, figure: impl Fn(&M) -> f64) -> Figures {
        let of_all =
            |them: &Vec<Option<M>>| them.iter().map(|it| it.as_ref().map(&figure)).collect();
        Measured(self.0.iter().map(|(name, them)| (name.clone(), of_all(them))).collect())
    }
}

impl Figures {
    /// The reference's own.
    pub fn reference(&self) -> Option<Sample> {
        Sample::new(self.0[0].1.iter().copied())
    }

    /// The ratios of each one's figures to the reference's in the same round.
    pub fn ratios(&self) -> impl Iterator<Item = (&str, Option<Sample>)> {
        self.0.iter().map(|(name, mine)| (name.as_str(), ratios(mine, &self.0[0].1)))
    }

    /// The ratios of each one's least figure to the reference's least. What else the machine does only adds to the time
    /// of some work, so of several rounds the fastest says most about who does it.
    pub fn ratios_of_least(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        let least = |them: &[Option<f64>]| Sample::new(them.iter().copied()).map(|it| it.min());
        let its = least(&self.0[0].1);
        let ratio = move |mine: &[_]| Some(least(mine)? / its?);
        self.0.iter().map(move |(name, mine)| (name.as_str(), ratio(mine)))
    }

    /// The median of each one's figures, and of its ratios to the reference in the same round, with their
    /// spread.
    pub fn table(&self, title: String, unit: &str) -> Table {
        let (reference, its) = &self.0[0];
        let ratio = format!("ratio to {reference}");
        let columns = [
            (format!("{unit}, median"), 1),
            (format!("{ratio}, median"), 2),
            ("lower quartile".to_owned(), 2),
            ("upper quartile".to_owned(), 2),
            ("least".to_owned(), 2),
            ("most".to_owned(), 2),
        ];
        Table {
            title,
            columns: columns.into(),
            rows: self.0.iter().map(|(name, mine)| (name.clone(), row(mine, its))).collect(),
            plot: Some(Plot::Bars {
                axis: format!("{ratio}, median and quartiles; shaded: its own second row"),
                bars: vec![Bar { middle: 1, low: 2, high: 3 }],
            }),
        }
    }
}

fn ratios(mine: &[Option<f64>], reference: &[Option<f64>]) -> Option<Sample> {
    Sample::new(mine.iter().zip(reference).map(|(mine, its)| Some((*mine)? / (*its)?)))
}

fn row(mine: &[Option<f64>], reference: &[Option<f64>]) -> Vec<Option<f64>> {
    let figure = Sample::new(mine.iter().copied());
    let ratio = ratios(mine, reference);
    let of_ratio = |figure: fn(&Sample) -> f64| ratio.as_ref().map(figure);
    vec![
        figure.map(|figure| figure.median()),
        of_ratio(Sample::median),
        of_ratio(|ratio| ratio.quantile(0.25)),
        of_ratio(|ratio| ratio.quantile(0.75)),
        of_ratio(Sample::min),
        of_ratio(Sample::max),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_rounds_are_compared_whatever_the_others_took() {
        let mut calls = 0;
        let field = Field::new(("one", 2.0), [("two".to_owned(), 3.0), ("none".to_owned(), 0.0)]);
        let figures = field.rounds(5, |_, time| {
            calls += 1;
            // In most rounds somebody else uses the processor.
            let disturbed = if calls > 2 * field.len() { calls as f64 } else { 0.0 };
            (time > 0.0).then_some(time + disturbed)
        });
        let ratios: Vec<_> = figures.ratios_of_least().map(|(_, ratio)| ratio).collect();
        assert_eq!(ratios, [Some(1.0), Some(1.0), Some(1.5), None]);
    }

    #[test]
    fn a_ratio_is_of_two_figures_of_one_round() {
        let mut calls = 0.0;
        let field = Field::new(("one", 1.0), [("two".to_owned(), 2.0), ("none".to_owned(), 0.0)]);
        let figures = field.rounds(3, |_, factor| {
            calls += 1.0;
            // The machine slows down from round to round.
            let slow = 10_f64.powf((calls - 1.0_f64).div_euclid(field.len() as f64));
            (factor > 0.0).then_some(factor * slow)
        });
        let rows = figures.table("a claim".to_owned(), "ns").rows;
        let some = |figures: [f64; 6]| figures.map(Some).to_vec();
        assert_eq!(rows[0], ("one".to_owned(), some([10.0, 1.0, 1.0, 1.0, 1.0, 1.0])));
        assert_eq!(rows[1], ("one again".to_owned(), rows[0].1.clone()));
        assert_eq!(rows[2], ("two".to_owned(), some([20.0, 2.0, 2.0, 2.0, 2.0, 2.0])));
        assert_eq!(rows[3], ("none".to_owned(), vec![None; 6]));
    }
}
