//! What is measured?
//!
//! One module for each question. A module says what one round does, and under which loads; `rounds` has the rounds take turns.

use crate::figures::Metric;

pub(crate) mod change;
pub(crate) mod connects;
pub(crate) mod messages;
pub(crate) mod start;
pub(crate) mod storm;

/// The figures of one round of one subject.
pub(crate) type Measured = Vec<(Metric<'static>, f64)>;

/// Sessions on their way at a time, before something is measured.
const GATHER_AT_A_TIME: usize = 64;
