//! Does another replica hear the API server while this one does not, so that this one should stand aside? Pure: time is passed in, in
//! milliseconds of any clock that never goes back.
//!
//! Alone, a replica cannot tell its own deafness from an API server that is away. So replicas tell each other how long ago it answered
//! them, and who is far behind another one stands aside: gateways that ask it for endpoints would be given old ones.
//!
//! INVARIANT: whoever was answered last serves. An API server that is away for all leaves each of them as far behind as it was before,
//! which is not far.

/// Milliseconds that lie between the last answer to us and the last one to another, if we are deaf. A replica that is not is answered
/// at each renewal of the Lease, every 5 s.
pub const BEHIND_MS: u64 = 20_000;
/// Milliseconds for which another one has to be so far ahead. Who was stopped, or finds an API server that was away for all a little
/// later than the others, asks for the Lease within 2.5 s, and again if nothing has come of it after another 4 s. With
/// [`BEHIND_MS`] it is also longer than a Lease of 14 s takes to be asked for twice, if only its watch is silent.
pub const SURE_MS: u64 = 8_000;
/// Milliseconds for which it counts what another one says. With each report that it passes on, it says so again.
pub const TOLD_MS: u64 = 5_000;

/// What is known of who hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// When the API server answered us last. In the beginning it is believed that it did.
    heard_ms: u64,
    ahead: Option<Ahead>,
}

/// Others are ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    since_ms: u64,
    told_ms: u64,
}

impl Aside {
    /// The API server has answered, at that moment.
    pub fn heard(&mut self, at_ms: u64) {
        if at_ms > self.heard_ms {
            *self = Self {
                heard_ms: at_ms,
                ahead: None,
            };
        }
    }

    /// How long ago that was.
    #[must_use]
    pub const fn silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms)
    }

    /// Another replica says how long ago it was for it.
    pub fn told(&mut self, silence_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(silence_ms) < self.heard_ms.saturating_add(BEHIND_MS) {
            return;
        }
        let since_ms = self
            .ahead
            .filter(|it| it.counts(now_ms))
            .map_or(now_ms, |it| it.since_ms);
        self.ahead = Some(Ahead {
            since_ms,
            told_ms: now_ms,
        });
    }

    /// Whether somebody is ahead, as far as we were told lately.
    #[must_use]
    pub fn is_behind(&self, now_ms: u64) -> bool {
        self.ahead.is_some_and(|it| it.counts(now_ms))
    }

    /// Whether others serve better than we do.
    #[must_use]
    pub fn stands_aside(&self, now_ms: u64) -> bool {
        let sure = |it: Ahead| it.counts(now_ms) && now_ms.saturating_sub(it.since_ms) >= SURE_MS;
        self.ahead.is_some_and(sure)
    }
}

impl Ahead {
    const fn counts(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.told_ms) < TOLD_MS
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// When the API server answers whom, in milliseconds.
    type Answers<'a> = &'a dyn Fn(u64) -> bool;

    /// Lets replicas tell each other for five minutes, every half a second; gives when each of them began and ceased to stand aside.
    fn course<const N: usize>(answers: [Answers<'_>; N]) -> [Vec<u64>; N] {
        let mut all = [Aside::default(); N];
        let mut turns: [Vec<u64>; N] = std::array::from_fn(|_| Vec::new());
        for now in (0..300_000).step_by(500) {
            for (aside, answers) in all.iter_mut().zip(answers) {
                if answers(now) {
                    aside.heard(now);
                }
            }
            let silences = all.map(|aside| aside.silence_ms(now));
            for (one, aside) in all.iter_mut().enumerate() {
                for (_, silence) in silences.iter().enumerate().filter(|(it, _)| *it != one) {
                    aside.told(*silence, now);
                }
                if aside.stands_aside(now) == turns[one].len().is_multiple_of(2) {
                    turns[one].push(now);
                }
            }
            assert!(all.iter().any(|aside| !aside.stands_aside(now)));
        }
        turns
    }

    #[test]
    fn who_alone_is_not_answered_stands_aside_until_it_is() {
        let hears: Answers<'_> = &|now| now % 5_000 == 0;
        let deaf: Answers<'_> = &|now| now % 5_000 == 0 && !(10_001..90_000).contains(&now);
        let turns = vec![30_000 + SURE_MS, 90_000];
        assert_eq!(course([hears, deaf]), [vec![], turns.clone()]);
        assert_eq!(
            course([deaf, hears, deaf]),
            [turns.clone(), vec![], turns.clone()]
        );
    }

    #[test]
    fn an_api_server_that_is_away_for_all_lets_nobody_stand_aside_then_or_afterwards() {
        for (first, second) in [(0, 4_500), (4_500, 0), (2_000, 2_500)] {
            for late in [0, 2_500, 6_500] {
                let away = 60_000..200_000;
                let one = |now: u64| now % 5_000 == first && !away.contains(&now);
                let until = away.end + late;
                let other = |now: u64| {
                    now == until || now % 5_000 == second && !(away.start..until).contains(&now)
                };
                let turns = course([&one, &other]);
                assert!(turns.iter().all(Vec::is_empty), "{first} {second} {late}");
            }
        }
    }

    #[test]
    fn nobody_stands_aside_for_one_who_says_nothing_any_more() {
        let mut aside = Aside::default();
        aside.heard(10_000);
        for now in (30_000..=38_000).step_by(1_000) {
            assert!(!aside.stands_aside(now - 1));
            aside.told(0, now);
        }
        assert!(aside.stands_aside(38_000));
        assert!(aside.stands_aside(42_999) && !aside.stands_aside(43_000));
        // From then on it has to be sure again.
        aside.told(0, 44_000);
        assert!(!aside.stands_aside(44_000));
        // What is told late is nothing new.
        let before = aside;
        aside.heard(1_000);
        assert_eq!(aside, before);
        // Nor does it count what is as old as what we know.
        aside.told(34_001, 64_000);
        assert_eq!(aside, before);
    }
}
