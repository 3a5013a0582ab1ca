//! What do repeated measurements say together: the middle, the spread, the ratio to another's?
//!
//! Pure. Never gives a figure without how far its rounds lay apart.

use std::collections::BTreeMap;

/// What each round gave, by the number of the round.
pub type Rounds = BTreeMap<usize, f64>;

/// The middle of some rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of them are not above it.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many there are.
    pub rounds: usize,
}

impl Spread {
    /// Of these; `None` if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            least,
            most,
            rounds: values.len(),
        })
    }
}

/// The ratio of each round to the same round of the other: what the machine did meanwhile met both alike. Rounds that only one
/// has, and those in which the other has nothing, are left out.
pub fn ratios(rounds: &Rounds, to: &Rounds) -> impl Iterator<Item = f64> {
    rounds.iter().filter_map(|(round, value)| {
        let other = to.get(round)?;
        (*other > 0.0).then(|| value / other)
    })
}

/// The value below which this part of them lies, by the nearest rank; none of none. They are in order.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank among some million values"
)]
pub fn percentile(sorted: &[u64], part: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    let place = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Rounds {
        values.iter().copied().enumerate().collect()
    }

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = |values: &[f64]| {
            let spread = Spread::of(values.iter().copied())?;
            Some((spread.median, spread.least, spread.most, spread.rounds))
        };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0, 3)));
        assert_eq!(spread(&[4.0, 1.0]), Some((2.5, 1.0, 4.0, 2)));
        assert_eq!(spread(&[7.0]), Some((7.0, 7.0, 7.0, 1)));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let found: Vec<f64> = ratios(&rounds(&[2.0, 9.0, 3.0]), &rounds(&[1.0, 3.0])).collect();
        assert_eq!(found, [2.0, 3.0]);
        let none: Vec<f64> = ratios(&rounds(&[2.0]), &rounds(&[0.0])).collect();
        assert_eq!(none, [] as [f64; 0]);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=1_000).collect();
        assert_eq!(percentile(&values, 0.5), Some(500));
        assert_eq!(percentile(&values, 0.999), Some(999));
        assert_eq!(percentile(&values, 1.0), Some(1_000));
        assert_eq!(percentile(&[5], 0.5), Some(5));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
