//! Does this replica hear the API server, and should it stand aside for one that does while it does not? Pure: time is passed in, in
//! milliseconds of any clock that never goes back.
//!
//! Alone, a replica cannot tell its own deafness from an API server that is away, and then it serves what it knows, as all do. It
//! stands aside only while another one says that it hears: gateways that ask it for endpoints would be given old ones.

/// Milliseconds without an answer of the API server after which it is not heard any more. A Lease lasts 14 s, and who sees no renewal
/// of it asks; that takes 4 s at most.
pub const DEAF_MS: u64 = 20_000;
/// Milliseconds for which it counts that another one says that it hears. With each report that it passes on, it says so again.
pub const TOLD_MS: u64 = 5_000;

/// What is known of who hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// When the API server answered us last.
    heard_ms: u64,
    /// When another one said last that it hears.
    told_ms: Option<u64>,
}

impl Aside {
    /// The API server has answered, at that moment.
    pub fn heard(&mut self, at_ms: u64) {
        self.heard_ms = self.heard_ms.max(at_ms);
    }

    /// Another replica says that it hears.
    pub const fn told(&mut self, now_ms: u64) {
        self.told_ms = Some(now_ms);
    }

    /// Whether we hear the API server. In the beginning it is believed that we do.
    #[must_use]
    pub const fn hears(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.heard_ms) < DEAF_MS
    }

    /// Whether others serve better than we do.
    #[must_use]
    pub fn stands_aside(&self, now_ms: u64) -> bool {
        let other = |told: u64| now_ms.saturating_sub(told) < TOLD_MS;
        !self.hears(now_ms) && self.told_ms.is_some_and(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_deaf_stands_aside_only_while_another_one_hears() {
        let mut aside = Aside::default();
        assert!(aside.hears(0));
        aside.heard(10_000);
        aside.told(29_999);
        assert!(aside.hears(29_999) && !aside.stands_aside(29_999));
        assert!(!aside.hears(30_000) && aside.stands_aside(30_000));
        // The other one is deaf as well, or gone: then all serve what they have.
        assert!(!aside.stands_aside(34_999));
        aside.told(40_000);
        assert!(aside.stands_aside(40_000));
        aside.heard(41_000);
        assert!(!aside.stands_aside(41_000));
        // What is told late is nothing new.
        aside.heard(1_000);
        assert!(aside.hears(60_999));
    }
}
