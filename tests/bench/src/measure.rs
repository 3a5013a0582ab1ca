//! What is measured?
//!
//! One module for each question. A module says what one round does, and under which loads; `rounds` has the rounds take turns.

use std::time::Duration;

use crate::figures::Metric;
use crate::load::{Trip, nanos};
use crate::metrics::{P50, P99, P999};
use crate::scale::Scale;
use crate::statistics::percentile;
use crate::units::micros;

pub(crate) mod change;
pub(crate) mod connects;
pub(crate) mod messages;
pub(crate) mod start;
pub(crate) mod storm;

/// The figures of one round of one subject.
pub(crate) type Measured = Vec<(Metric<'static>, f64)>;

/// Sessions on their way at a time, before something is measured.
const GATHER_AT_A_TIME: usize = 64;
/// Around the moments in which the processors are looked at, no round trip counts.
const AROUND: Duration = Duration::from_millis(20);

/// The round trips of what was due within the window of a load that began then, but for the moments in which the processors were looked
/// at. Of none there is nothing to tell.
fn round_trips(trips: &[Trip], start: u64, scale: &Scale) -> Measured {
    let from = nanos(scale.warm + AROUND);
    let to = nanos((scale.warm + scale.window).saturating_sub(AROUND));
    let within = |trip: &&Trip| {
        let since = trip.due.saturating_sub(start);
        since >= from && since < to
    };
    let trips = trips.iter().filter(within);
    let mut took: Vec<u64> = trips.map(|trip| trip.took).collect();
    took.sort_unstable();
    let told = [(P50, 0.5), (P99, 0.99), (P999, 0.999)];
    told.into_iter()
        .filter_map(|(metric, part)| Some((metric, micros(percentile(&took, part)?))))
        .collect()
}
