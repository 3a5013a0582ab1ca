//! Does the set in force make a new table, and which revision has it? Pure.
//!
//! INVARIANT: an unchanged set is not published again, and a revision is greater than every one before it, even when
//! the one before was forgotten.

use fixgw_core::table::Table;

use super::set::Accepted;

/// An accepted set whose table has its revision: what every replica of a control plane serves, and begins with after a restart.
pub type Published = Accepted;

/// The table to publish; `None` when the published one holds the same routes.
///
/// `wall_ms` counts from 1970, so that a control plane that lost its state still publishes a newer revision.
#[must_use]
pub fn publish(accepted: &Table, published: Option<&Table>, wall_ms: u64) -> Option<Table> {
    match published {
        Some(published) if published.same_routes(accepted) => None,
        Some(published) => {
            Some(accepted.with_revision(wall_ms.max(published.revision().saturating_add(1))))
        }
        None => Some(accepted.with_revision(wall_ms.max(1))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fixgw_core::rule::{RouteName, Rule, RuleSpec, Target};

    use super::*;

    fn table(port: u16) -> Table {
        let spec = RuleSpec {
            name: RouteName {
                namespace: "t".to_owned(),
                name: "a".to_owned(),
            },
            match_fields: Vec::new(),
            source_ranges: None,
            default: true,
            priority: Some(1),
            target: Target::service("t", "a", port),
            hold: fixgw_core::rule::Hold::default(),
        };
        Table::compile(&[Rule::new(spec).unwrap()], 0).unwrap()
    }

    #[test]
    fn a_revision_is_the_time_and_never_goes_back() {
        let first = publish(&table(1), None, 5_000).unwrap();
        assert_eq!(first.revision(), 5_000);
        assert!(publish(&table(1), Some(&first), 9_000).is_none());
        let later = publish(&table(2), Some(&first), 9_000).unwrap();
        assert_eq!(later.revision(), 9_000);
        let clock_went_back = publish(&table(1), Some(&later), 10).unwrap();
        assert_eq!(clock_went_back.revision(), 9_001);
        assert!(Table::load(clock_went_back.image().to_vec()).is_ok());
    }
}
