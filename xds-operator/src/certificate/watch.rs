//! When is a change of files worth judging, and when does what is in use need a word?
//!
//! Pure: digests of what a look found, and the time, go in. Files that belong together are replaced one after the other,
//! so contents are judged only when two looks in a row found the same.

use jiff::{SignedDuration, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use super::Content;

/// Time before a certificate expires from which on it is told: long enough for a person to renew it.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What tells contents from others. The contents themselves are not kept: a key is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Of what a look at several files found.
    #[must_use]
    pub fn of(contents: &[Content]) -> Self {
        let mut hash = Xxh3::new();
        for content in contents {
            let (kind, bytes) = match content {
                Ok(bytes) => (b'+', bytes.as_slice()),
                Err(why) => (b'-', why.as_bytes()),
            };
            hash.update(&[kind]);
            hash.update(&bytes.len().to_le_bytes());
            hash.update(bytes);
        }
        Self(hash.digest128())
    }
}

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Rest,
    /// The contents are new, and have settled: judge them.
    Judge,
    /// The files hold again what is in use, after something that was refused.
    Back,
}

/// What is said of the certificate in use, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expiry {
    /// Within [`EXPIRES_SOON`].
    Soon,
    /// It has.
    Over,
}

/// What is known of the files of one [`super::Material`].
#[derive(Debug)]
pub struct Watch {
    in_use: Digest,
    expires: Timestamp,
    told: Option<Expiry>,
    before: Digest,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    digest: Digest,
    again_at: Option<Timestamp>,
}

impl Watch {
    /// Contents that were judged good are in use from now on.
    #[must_use]
    pub const fn begin(digest: Digest, expires: Timestamp) -> Self {
        Self {
            in_use: digest,
            expires,
            told: None,
            before: digest,
            refused: None,
        }
    }

    /// A look found this.
    pub fn look(&mut self, digest: Digest, now: Timestamp) -> Turn {
        let settled = std::mem::replace(&mut self.before, digest) == digest;
        if !settled {
            return Turn::Rest;
        }
        if digest == self.in_use {
            return match self.refused.take() {
                Some(_) => Turn::Back,
                None => Turn::Rest,
            };
        }
        match &self.refused {
            Some(refused) if refused.digest == digest => match refused.again_at {
                Some(again_at) if now >= again_at => Turn::Judge,
                _ => Turn::Rest,
            },
            _ => Turn::Judge,
        }
    }

    /// What was judged is in use now.
    pub fn take(&mut self, digest: Digest, expires: Timestamp) {
        *self = Self {
            before: self.before,
            ..Self::begin(digest, expires)
        };
    }

    /// What was judged is not fit; until `again_at`, if there is such a time, and otherwise until it changes.
    pub fn refuse(&mut self, digest: Digest, again_at: Option<Timestamp>) {
        self.refused = Some(Refused { digest, again_at });
    }

    /// What must be said now of the one in use.
    pub fn expiry(&mut self, now: Timestamp) -> Option<Expiry> {
        let left = self.expires.duration_since(now);
        let state = if left <= SignedDuration::ZERO {
            Expiry::Over
        } else if left <= EXPIRES_SOON {
            Expiry::Soon
        } else {
            return None;
        };
        (self.told < Some(state)).then(|| {
            self.told = Some(state);
            state
        })
    }

    /// When the one in use expires.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(&[Ok(text.as_bytes().to_vec())])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn watch() -> Watch {
        Watch::begin(digest("old"), Timestamp::MAX)
    }

    /// What the looks at these contents lead to, one after the other.
    fn turns(watch: &mut Watch, contents: &[&str]) -> Vec<Turn> {
        let contents = contents.iter();
        contents
            .map(|content| watch.look(digest(content), at(0)))
            .collect()
    }

    #[test]
    fn judges_what_two_looks_in_a_row_found_and_not_what_stood_there_for_a_moment() {
        let (rest, judge) = (Turn::Rest, Turn::Judge);
        let mut watch = watch();
        assert_eq!(turns(&mut watch, &["old", "old"]), [rest, rest]);
        assert_eq!(
            turns(&mut watch, &["half", "new", "new"]),
            [rest, rest, judge]
        );
        watch.take(digest("new"), Timestamp::MAX);
        assert_eq!(turns(&mut watch, &["new", "half", "new"]), [rest; 3]);
    }

    #[test]
    fn what_was_refused_is_judged_once_until_it_changes() {
        let (rest, judge) = (Turn::Rest, Turn::Judge);
        let mut watch = watch();
        assert_eq!(turns(&mut watch, &["bad", "bad"]), [rest, judge]);
        watch.refuse(digest("bad"), None);
        assert_eq!(turns(&mut watch, &["bad", "bad"]), [rest, rest]);
        assert_eq!(turns(&mut watch, &["worse", "worse"]), [rest, judge]);
        watch.refuse(digest("worse"), None);
        assert_eq!(turns(&mut watch, &["good", "good"]), [rest, judge]);
    }

    #[test]
    fn says_when_the_files_hold_again_what_is_in_use() {
        let mut watch = watch();
        turns(&mut watch, &["bad", "bad"]);
        watch.refuse(digest("bad"), None);
        assert_eq!(
            turns(&mut watch, &["old", "old", "old"]),
            [Turn::Rest, Turn::Back, Turn::Rest]
        );
        // The same fault again is another event.
        assert_eq!(
            turns(&mut watch, &["bad", "bad"]),
            [Turn::Rest, Turn::Judge]
        );
    }

    #[test]
    fn what_is_not_valid_yet_is_judged_again_when_it_is() {
        let mut watch = watch();
        let early = digest("early");
        watch.look(early, at(0));
        assert_eq!(watch.look(early, at(0)), Turn::Judge);
        watch.refuse(early, Some(at(100)));
        assert_eq!(watch.look(early, at(99)), Turn::Rest);
        assert_eq!(watch.look(early, at(100)), Turn::Judge);
    }

    #[test]
    fn contents_differ_where_one_file_took_bytes_from_the_other_or_cannot_be_read() {
        let of = |a: &str, b: &str| Digest::of(&[Ok(a.into()), Ok(b.into())]);
        assert_ne!(of("ab", "c"), of("a", "bc"));
        let unreadable = Digest::of(&[Err("ab".to_owned()), Ok("c".into())]);
        assert_ne!(of("ab", "c"), unreadable);
    }

    #[test]
    fn tells_once_that_the_end_is_near_and_once_that_it_is_over() {
        let end = at(1_000_000_000);
        let soon = end.checked_sub(EXPIRES_SOON).unwrap();
        let second = SignedDuration::from_secs(1);
        let mut watch = Watch::begin(digest("old"), end);
        assert_eq!(watch.expiry(soon.checked_sub(second).unwrap()), None);
        assert_eq!(watch.expiry(soon), Some(Expiry::Soon));
        assert_eq!(watch.expiry(end.checked_sub(second).unwrap()), None);
        assert_eq!(watch.expiry(end), Some(Expiry::Over));
        assert_eq!(watch.expiry(end), None);
        watch.take(digest("new"), end);
        assert_eq!(watch.expiry(end), Some(Expiry::Over));
    }
}
