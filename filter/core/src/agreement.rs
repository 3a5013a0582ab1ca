//! Does every engine that might read this Logon come to the same route?
//!
//! Engines differ in how they read odd bytes. The strict reading ([`crate::wire`]) proposes a route; a message with
//! an oddity is then read again in every other way that engines are known to read, and when one of them would see
//! another `MsgType` or another route, the connection is refused rather than guessed. A reading that rejects the
//! message takes no part. An ordinary Logon has no oddity and pays nothing.

use alloc::vec::Vec;

use crate::range::SourceAddress;
use crate::table::{Lookup, Slots, Table};
use crate::wire::{self, BodyLength, Item, Logon, Oddities, SOH, Tag};

/// What became of the lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No route matches, in any reading.
    NoMatch,
    /// One route, in every reading; the values that decided.
    Route(crate::table::RouteRef, Slots<'a>),
    /// Two routes of one rank.
    AmbiguousRoute,
    /// Readings disagree; what they disagree about.
    AmbiguousField(&'static str),
}

/// How a reader finds the end of a data field.
#[derive(Clone, Copy)]
enum DataAxis {
    /// By the next SOH, like any field.
    NeverHonoured,
    /// By a length that stands directly before it, if an SOH follows.
    DirectWithSoh,
    /// By a length that stands earlier, wherever that is, whatever follows.
    Earlier(Earlier),
}

/// Which earlier length a reader takes for a data field's.
#[derive(Clone, Copy)]
struct Earlier {
    walk: Walk,
    which: Which,
    pair: Pair,
    /// The value is stretched to the next SOH.
    to_soh: bool,
}

/// Where a reader looks for lengths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// From SOH to SOH, inside of data fields too.
    Raw,
    /// Among the fields that it has read itself.
    Fields,
}

/// Which of several equal length fields counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Last,
}

/// Which field is the length of a data field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pair {
    /// The one that the specification names.
    Specified,
    /// The one whose tag is one less, but for `Signature` (`QuickFIX`).
    TagBefore,
}

/// What a reader takes for a tag number.
#[derive(Clone, Copy)]
enum TagAxis {
    /// Well-formed tags only; the rest is skipped.
    Strict,
    /// Leading zeros, signs and blanks are accepted.
    Lenient,
    /// The same, modulo 2^32.
    Modulo32,
    /// The same, modulo 2^64.
    Modulo64,
    /// What digits it begins with, as C's `atoi` does.
    Leading,
}

/// Where a reader ends the message.
#[derive(Clone, Copy)]
enum EndAxis {
    /// Behind the first tag 10.
    FirstCheckSum,
    /// At the tag 10 that stands exactly where `BodyLength` leads.
    AtBodyLength,
    /// At the first `10=` behind an SOH there or later.
    CheckSumAfterBodyLength,
}

const fn earlier(walk: Walk, which: Which, pair: Pair, to_soh: bool) -> DataAxis {
    DataAxis::Earlier(Earlier {
        walk,
        which,
        pair,
        to_soh,
    })
}

const DATA: [(DataAxis, &str); 8] = [
    (
        DataAxis::NeverHonoured,
        "readers that ignore the lengths of data fields see another message",
    ),
    (DataAxis::DirectWithSoh, "readers differ"),
    (
        earlier(Walk::Raw, Which::Last, Pair::Specified, false),
        "readers that trust the last length of a data field see another message",
    ),
    (
        earlier(Walk::Raw, Which::Last, Pair::Specified, true),
        "readers that stretch a data field to the next SOH see another message",
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::Specified, false),
        "readers that trust the last length of a data field see another message",
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::Specified, false),
        "readers that trust the first length of a data field see another message",
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::TagBefore, false),
        "readers that take the tag before a data field's for its length see another message",
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::TagBefore, false),
        "readers that take the tag before a data field's for its length see another message",
    ),
];
const TAGS: [(TagAxis, &str); 5] = [
    (TagAxis::Strict, ""),
    (
        TagAxis::Lenient,
        "readers that accept zeros, signs or blanks in a tag see another message",
    ),
    (
        TagAxis::Modulo32,
        "readers whose tag numbers wrap at 32 bits see another message",
    ),
    (
        TagAxis::Modulo64,
        "readers whose tag numbers wrap at 64 bits see another message",
    ),
    (
        TagAxis::Leading,
        "readers that take the digits that a tag begins with see another message",
    ),
];
const ENDS: [(EndAxis, &str); 3] = [
    (EndAxis::FirstCheckSum, ""),
    (
        EndAxis::AtBodyLength,
        "readers that end the message by BodyLength see another message",
    ),
    (
        EndAxis::CheckSumAfterBodyLength,
        "readers that look for CheckSum behind BodyLength see another message",
    ),
];
const REPEATED: &str = "a tag stands there more than once, with values that lead elsewhere";
const PAST: &str = "BodyLength leads past the first CheckSum";
const UNFINISHED: &str = "some readers would wait for bytes that have not been sent";

/// Looks a Logon from an address up, in every reading where readings could differ.
#[must_use]
pub fn evaluate<'a>(
    table: &Table,
    logon: &Logon<'a>,
    source: Option<SourceAddress>,
) -> Verdict<'a> {
    let slots = strict_slots(table, logon, source);
    let lookup = table.lookup(&slots);
    if !logon.oddities().is_empty()
        && let Err(what) = agree(table, logon, source, lookup)
    {
        return Verdict::AmbiguousField(what);
    }
    match lookup {
        Lookup::None => Verdict::NoMatch,
        Lookup::Route(route) => Verdict::Route(route, slots),
        Lookup::Ambiguous(..) => Verdict::AmbiguousRoute,
    }
}

/// First values of the table's tags, as the strict reading has them.
#[must_use]
pub fn strict_slots<'a>(
    table: &Table,
    logon: &Logon<'a>,
    source: Option<SourceAddress>,
) -> Slots<'a> {
    let mut slots = table.slots(source);
    for item in logon.fields() {
        if let Item::Field(field) = item
            && let Some(slot) = table.slot_of(field.tag)
        {
            slots.keep_first(slot, field.value.reveal());
        }
    }
    slots
}

fn agree(
    table: &Table,
    logon: &Logon<'_>,
    source: Option<SourceAddress>,
    decided: Lookup,
) -> Result<(), &'static str> {
    let body_end = match logon.body_length() {
        // Such a reading depends on bytes that have not been sent.
        BodyLength::Past => return Err(PAST),
        BodyLength::Unusable => None,
        BodyLength::Right => Some(check_sum_start(logon.message())),
        BodyLength::Short(end) => Some(end),
    };
    // Without a data field and a malformed one, only repeated tags and the end can be read differently: so it is with
    // the groups that venues' Logons have.
    let plain = !logon.oddities().contains(Oddities::MALFORMED) && !has_data(logon);
    let (data, tags) = if plain {
        (DATA.get(1..2), TAGS.get(..1))
    } else {
        (DATA.get(..), TAGS.get(..))
    };
    for &(data, data_says) in data.unwrap_or(&DATA) {
        for &(tags, tags_say) in tags.unwrap_or(&TAGS) {
            for (end, end_says) in ENDS {
                let reader = Reader {
                    message: logon.message(),
                    source,
                    data,
                    tags,
                    end,
                    body_end,
                };
                let blame = [end_says, tags_say, data_says]
                    .into_iter()
                    .find(|says| !says.is_empty());
                match reader.read(table) {
                    Outcome::Rejected => {}
                    Outcome::Unfinished => return Err(UNFINISHED),
                    Outcome::Read { first, last } => {
                        if !first.same(table, decided) {
                            return Err(blame.unwrap_or(REPEATED));
                        }
                        if !last.same(table, decided) {
                            return Err(REPEATED);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn has_data(logon: &Logon<'_>) -> bool {
    logon.fields().any(|item| match item {
        Item::Field(field) => wire::length_field_of(field.tag).is_some(),
        Item::Malformed(_) => false,
    })
}

fn check_sum_start(message: &[u8]) -> usize {
    // The message ends behind its tag 10, so that is its last field.
    let before = message
        .get(..message.len().saturating_sub(1))
        .unwrap_or_default();
    memchr::memrchr(SOH, before).map_or(0, |soh| soh + 1)
}

/// What one reading sees, by the first or the last value of each tag.
struct Seen<'a> {
    slots: Slots<'a>,
    msg_type: Option<&'a [u8]>,
}

impl Seen<'_> {
    fn same(&self, table: &Table, decided: Lookup) -> bool {
        self.msg_type == Some(b"A") && table.lookup(&self.slots) == decided
    }
}

enum Outcome<'a> {
    /// Such a reader refuses the message.
    Rejected,
    /// Such a reader has not come to an end.
    Unfinished,
    Read {
        first: Seen<'a>,
        last: Seen<'a>,
    },
}

struct Reader<'a> {
    message: &'a [u8],
    source: Option<SourceAddress>,
    data: DataAxis,
    tags: TagAxis,
    end: EndAxis,
    body_end: Option<usize>,
}

impl<'a> Reader<'a> {
    fn read(&self, table: &Table) -> Outcome<'a> {
        let stop = match (self.end, self.body_end) {
            (EndAxis::FirstCheckSum, _) => None,
            // An unusable BodyLength gives no reading of its own.
            (_, None) => return Outcome::Rejected,
            (EndAxis::AtBodyLength, Some(end)) => {
                if self
                    .message
                    .get(end..)
                    .is_some_and(|rest| rest.starts_with(b"10="))
                {
                    Some(end)
                } else {
                    return Outcome::Rejected;
                }
            }
            (EndAxis::CheckSumAfterBodyLength, Some(end)) => match self.check_sum_from(end) {
                Some(at) => Some(at),
                None => return Outcome::Unfinished,
            },
        };
        self.walk(table, stop)
    }

    /// The first `10=` behind an SOH at `from` or later.
    fn check_sum_from(&self, from: usize) -> Option<usize> {
        let before = from.checked_sub(1)?;
        let found = memchr::memmem::find(self.message.get(before..)?, b"\x0110=")?;
        Some(before + found + 1)
    }

    fn walk(&self, table: &Table, stop: Option<usize>) -> Outcome<'a> {
        let mut first = Seen {
            slots: table.slots(self.source),
            msg_type: None,
        };
        let mut last = Seen {
            slots: table.slots(self.source),
            msg_type: None,
        };
        let mut at = 0;
        let mut previous: Option<(Tag, &'a [u8])> = None;
        let mut lengths = Lengths::default();
        loop {
            match stop {
                Some(stop) if at == stop => return Outcome::Read { first, last },
                // The end lies inside of what this reading takes for one field.
                Some(stop) if at > stop => return Outcome::Rejected,
                _ => {}
            }
            let Some(rest) = self.message.get(at..).filter(|rest| !rest.is_empty()) else {
                return Outcome::Unfinished;
            };
            let Some(next) = memchr::memchr2(b'=', SOH, rest) else {
                return Outcome::Unfinished;
            };
            let tag = match rest.get(next) {
                Some(&b'=') => rest.get(..next).and_then(|digits| self.tag(digits)),
                _ => None,
            };
            let start = at + next + 1;
            let end = match tag {
                Some(tag) => self.value_end(tag, start, previous, &mut lengths),
                None => self.soh_from(at + next),
            };
            let Some(value) = end.and_then(|end| self.message.get(start.min(end)..end)) else {
                return Outcome::Unfinished;
            };
            at = end.map_or(self.message.len(), |end| end + 1);
            previous = tag.map(|tag| (tag, value));
            let Some(tag) = tag else { continue };
            if matches!(self.data, DataAxis::Earlier(earlier) if earlier.walk == Walk::Fields) {
                lengths.keep(self, tag, value);
            }
            if tag == Tag::MSG_TYPE {
                first.msg_type = first.msg_type.or(Some(value));
                last.msg_type = Some(value);
            }
            if let Some(slot) = table.slot_of(tag) {
                first.slots.keep_first(slot, value);
                last.slots.keep_last(slot, value);
            }
            if tag == Tag::CHECK_SUM && stop.is_none() {
                return Outcome::Read { first, last };
            }
        }
    }

    fn soh_from(&self, at: usize) -> Option<usize> {
        Some(at + memchr::memchr(SOH, self.message.get(at..)?)?)
    }

    fn value_end(
        &self,
        tag: Tag,
        start: usize,
        previous: Option<(Tag, &[u8])>,
        lengths: &mut Lengths,
    ) -> Option<usize> {
        let Some(length_tag) = wire::length_field_of(tag) else {
            return self.soh_from(start);
        };
        match self.data {
            DataAxis::NeverHonoured => self.soh_from(start),
            DataAxis::DirectWithSoh => {
                let length = previous
                    .filter(|(tag, _)| *tag == length_tag)
                    .and_then(|(_, value)| self.length(value));
                match length.and_then(|length| start.checked_add(length)) {
                    Some(end) if self.message.get(end) == Some(&SOH) => Some(end),
                    _ => self.soh_from(start),
                }
            }
            DataAxis::Earlier(earlier) => {
                let length_tag = earlier.length_tag(tag, length_tag);
                match lengths.said(self, earlier, length_tag, start) {
                    Some(length) if earlier.to_soh => self.soh_from(start.checked_add(length)?),
                    Some(length) => start
                        .checked_add(length)
                        .filter(|&end| end < self.message.len()),
                    None => self.soh_from(start),
                }
            }
        }
    }

    fn tag(&self, digits: &[u8]) -> Option<Tag> {
        match self.tags {
            TagAxis::Strict => Tag::parse(digits),
            TagAxis::Lenient => Tag::parse(lenient(digits)),
            TagAxis::Modulo32 => small(signed(digits)? & u64::from(u32::MAX)),
            TagAxis::Modulo64 => small(signed(digits)?),
            TagAxis::Leading => Tag::parse(leading(lenient(digits))),
        }
    }

    /// The length that a value says, by the same leniency as for tags.
    fn length(&self, value: &[u8]) -> Option<usize> {
        match self.tags {
            TagAxis::Strict => wire::data_length(value),
            // A negative length is none to anybody.
            _ if value.trim_ascii_start().first() == Some(&b'-') => None,
            TagAxis::Lenient => wire::data_length(lenient(value)),
            TagAxis::Modulo32 => usize::try_from(signed(value)? & u64::from(u32::MAX)).ok(),
            TagAxis::Modulo64 => usize::try_from(signed(value)?).ok(),
            TagAxis::Leading => wire::data_length(leading(lenient(value))),
        }
    }
}

impl Earlier {
    fn length_tag(self, data: Tag, specified: Tag) -> Tag {
        match self.pair {
            Pair::Specified => specified,
            // `Signature` (89) is no exception to the specification in any reader.
            Pair::TagBefore if data.get() == 89 => specified,
            Pair::TagBefore => Tag::new(data.get().saturating_sub(1)).unwrap_or(specified),
        }
    }
}

/// A tag number that is small enough to be one.
fn small(number: u64) -> Option<Tag> {
    u32::try_from(number).ok().and_then(Tag::new)
}

/// The first and the last length that each length field says.
///
/// INVARIANT: each byte is looked at once in a reading. A walk back from every data field would take time that grows
/// with the square of the message, and whoever sends such Logons would stall a worker's live sessions.
#[derive(Default)]
struct Lengths {
    scanned: usize,
    said: Vec<Said>,
}

struct Said {
    tag: Tag,
    first: usize,
    last: usize,
}

impl Lengths {
    /// The length that `length_tag` says before `before`, where a value begins.
    fn said(
        &mut self,
        reader: &Reader<'_>,
        earlier: Earlier,
        length_tag: Tag,
        before: usize,
    ) -> Option<usize> {
        if earlier.walk == Walk::Raw {
            self.scan(reader, before)?;
        }
        let said = self.said.iter().find(|said| said.tag == length_tag)?;
        Some(match earlier.which {
            Which::First => said.first,
            Which::Last => said.last,
        })
    }

    /// Walks on from SOH to SOH. What stands before a value without an SOH ends with that value's `=`, and so says no
    /// length.
    fn scan(&mut self, reader: &Reader<'_>, before: usize) -> Option<()> {
        let earlier = reader.message.get(..before)?;
        while let Some(rest) = earlier.get(self.scanned..)
            && let Some(soh) = memchr::memchr(SOH, rest)
        {
            if let Some(field) = rest.get(..soh)
                && let Some(sign) = memchr::memchr(b'=', field)
                && let Some(tag) = field.get(..sign).and_then(|digits| reader.tag(digits))
            {
                self.keep(reader, tag, field.get(sign + 1..).unwrap_or_default());
            }
            self.scanned += soh + 1;
        }
        Some(())
    }

    /// Keeps what a field says, if it is the length of some data field to some reader.
    fn keep(&mut self, reader: &Reader<'_>, tag: Tag, value: &[u8]) {
        let before_data =
            || Tag::new(tag.get() + 1).is_some_and(|next| wire::length_field_of(next).is_some());
        if wire::data_field_of(tag).is_none() && !before_data() {
            return;
        }
        let Some(length) = reader.length(value) else {
            return;
        };
        match self.said.iter_mut().find(|said| said.tag == tag) {
            Some(said) => said.last = length,
            None => self.said.push(Said {
                tag,
                first: length,
                last: length,
            }),
        }
    }
}

/// Without the blanks around it, a sign, and the zeros before it.
fn lenient(digits: &[u8]) -> &[u8] {
    let mut digits = trimmed(digits);
    if let [b'+' | b'-', rest @ ..] = digits {
        digits = rest;
    }
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

/// Without what C's `isspace` takes for blank, at both ends.
fn trimmed(mut digits: &[u8]) -> &[u8] {
    const fn blank(byte: u8) -> bool {
        matches!(byte, b' ' | 0x09..=0x0D)
    }
    while let [first, rest @ ..] = digits
        && blank(*first)
    {
        digits = rest;
    }
    while let [rest @ .., last] = digits
        && blank(*last)
    {
        digits = rest;
    }
    digits
}

/// The digits that it begins with.
fn leading(text: &[u8]) -> &[u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(..digits).unwrap_or_default()
}

/// A number with its sign, modulo 2^64.
fn signed(text: &[u8]) -> Option<u64> {
    let digits = lenient(text);
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, &digit| {
        digit.is_ascii_digit().then(|| {
            number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'))
        })
    })?;
    let negative = trimmed(text).first() == Some(&b'-');
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::rule::Rule;
    use crate::rule::testing::spec;
    use crate::wire::{ReadLimits, Reading};
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn table() -> Table {
        let rules = [
            Rule::new(spec("broker", &[("SenderCompID49", "BROKER_A")], None)).unwrap(),
            Rule::new(spec("victim", &[("SenderCompID49", "VICTIM")], None)).unwrap(),
        ];
        Table::compile(&rules, 1).unwrap()
    }

    /// A message with a right `BodyLength`, from its body with `|` for SOH.
    fn message(body: &str) -> Vec<u8> {
        let length = body.len();
        format!("8=FIX.4.4|9={length}|{body}10=000|")
            .replace('|', "\u{1}")
            .into_bytes()
    }

    fn verdict(bytes: &[u8]) -> String {
        let table = table();
        let Reading::Logon(logon) = wire::read(bytes, &ReadLimits::default()) else {
            return "no logon".to_string();
        };
        match evaluate(&table, &logon, None) {
            Verdict::NoMatch => "none".to_string(),
            Verdict::Route(route, _) => table.route_name(route).unwrap().1.to_string(),
            Verdict::AmbiguousRoute => "ambiguous route".to_string(),
            Verdict::AmbiguousField(what) => format!("refused: {what}"),
        }
    }

    fn check(body: &str, wanted: &str) {
        let found = verdict(&message(body));
        assert!(
            found.starts_with(wanted),
            "{body}: wanted {wanted}, found {found}"
        );
    }

    #[test]
    fn an_ordinary_logon_is_routed() {
        check("35=A|49=BROKER_A|56=G|34=1|98=0|108=30|", "broker");
    }

    #[test]
    fn raw_data_that_hides_a_routed_tag_is_refused() {
        check(
            "35=A|95=17|96=x|49=VICTIM|y=1|z|49=BROKER_A|34=1|",
            "refused: readers that ignore the lengths",
        );
        check("35=A|95=15|96=abc|49=BROKER_A|49=VICTIM|34=1|", "refused");
        check("35=A|96=x|49=VICTIM|y|49=BROKER_A|34=1|", "refused");
        check(
            "35=A|95=11|98=0|96=x|49=VICTIM|34=1|",
            "refused: readers that trust the last length",
        );
    }

    #[test]
    fn lengths_that_other_readers_look_for_elsewhere_are_refused() {
        // The last length stands inside of another data field, where a reader of fields does not see it.
        let inside = "35=A|49=BROKER_A|95=13|354=6|355=x|95=1|96=a|49=VICTIM|34=1|";
        check(inside, "refused");
        // The tag before the data field's is not its length, but QuickFIX takes it for that.
        for data in [
            "1526=13|1527=a",
            "2370=13|2371=a",
            "42683=13|42684=a",
            "1526=13|1525=1|1527=a",
        ] {
            check(&format!("35=A|{data}|49=VICTIM|34=1|108=30|"), "refused");
        }
        for length in ["+13", " 13", "13x", "4294967309"] {
            check(
                &format!("35=A|95={length}|96=a|49=VICTIM|34=1|108=30|"),
                "refused",
            );
        }
        check(
            "35=A|95=13|98=0|95=1|96=a|49=VICTIM|34=1|108=30|",
            "refused",
        );
    }

    #[test]
    fn raw_data_that_cannot_change_the_route_is_not_refused() {
        check("35=A|49=BROKER_A|95=5|96=a|b=c|34=1|", "broker");
        check("35=A|49=BROKER_A|95=3|96=abcdef|56=G|34=1|", "broker");
        check("35=A|49=BROKER_A|96=no length|56=G|34=1|", "broker");
        check("35=A|49=BROKER_A|95=-3|96=abc|56=G|", "broker");
    }

    #[test]
    fn tags_that_other_readers_take_for_a_routed_one_are_refused() {
        for tag in [
            "049",
            "+49",
            " 49",
            "\u{b}49",
            "4294967345",
            "18446744073709551665",
            "-4294967247",
            "-18446744073709551567",
            "49x",
            "49\0",
        ] {
            check(&format!("35=A|{tag}=VICTIM|49=BROKER_A|34=1|"), "refused");
            check(&format!("35=A|49=BROKER_A|{tag}=VICTIM|34=1|"), "refused");
            check(&format!("35=A|49=BROKER_A|{tag}=BROKER_A|34=1|"), "broker");
        }
        check("35=A|49=BROKER_A|4294967342=harmless|34=1|", "broker");
    }

    #[test]
    fn a_malformed_check_sum_that_would_end_the_message_earlier_is_refused() {
        check("35=A|010=5|49=BROKER_A|34=1|", "refused");
        check("35=A|49=BROKER_A|010=5|049=VICTIM|34=1|", "refused");
    }

    #[test]
    fn repeated_tags_are_refused_only_where_they_change_the_route() {
        check(
            "35=A|49=BROKER_A|34=1|49=VICTIM|",
            "refused: a tag stands there more than once",
        );
        check("35=A|49=BROKER_A|34=1|49=BROKER_A|", "broker");
        check("35=A|49=BROKER_A|35=D|34=1|", "refused");
        check("35=A|49=BROKER_A|384=2|372=D|372=8|", "broker");
    }

    #[test]
    fn body_length_past_the_first_check_sum_is_refused_and_a_harmless_short_one_is_not() {
        let logon = |length: &str| {
            format!("8=FIX.4.4|9={length}|35=A|49=BROKER_A|10=000|").replace('|', "\u{1}")
        };
        assert!(verdict(logon("99").as_bytes()).contains("BodyLength leads past"));
        for harmless in ["5", "0", "-1", "x", ""] {
            assert_eq!(verdict(logon(harmless).as_bytes()), "broker", "{harmless}");
        }
    }

    /// As a reader would that walks back from every data field.
    fn walked_back(reader: &Reader<'_>, length_tag: Tag, before: usize) -> Option<usize> {
        let earlier = reader.message.get(..before)?;
        earlier.rsplit(|&byte| byte == SOH).find_map(|field| {
            let sign = memchr::memchr(b'=', field)?;
            let tag = reader.tag(field.get(..sign)?)?;
            (tag == length_tag)
                .then(|| reader.length(field.get(sign + 1..)?))
                .flatten()
        })
    }

    const PARTS: [&str; 13] = [
        "95=",
        "095=",
        "4294967391=",
        "90=",
        "96=",
        "1",
        "2",
        "17",
        "x",
        "=",
        "|",
        "|",
        "|",
    ];

    proptest::proptest! {
        #[test]
        fn lengths_are_those_that_a_walk_back_finds(
            parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..60),
        ) {
            let message = parts.concat().replace('|', "\u{1}").into_bytes();
            for (tags, _) in TAGS {
                let raw = Earlier { walk: Walk::Raw, which: Which::Last, pair: Pair::Specified, to_soh: false };
                let reader = Reader {
                    message: &message,
                    source: None,
                    data: DataAxis::Earlier(raw),
                    tags,
                    end: EndAxis::FirstCheckSum,
                    body_end: None,
                };
                let mut lengths = Lengths::default();
                // A value begins behind the first `=` after an SOH.
                let begins = |sign: usize| {
                    let before = message.get(..sign).unwrap_or_default();
                    before.iter().rev().find(|byte| matches!(**byte, b'=' | SOH)) != Some(&b'=')
                };
                let signs = message
                    .iter()
                    .enumerate()
                    .filter(|&(at, byte)| *byte == b'=' && begins(at));
                for (sign, _) in signs {
                    for length_tag in [Tag(95), Tag(90)] {
                        proptest::prop_assert_eq!(
                            lengths.said(&reader, raw, length_tag, sign + 1),
                            walked_back(&reader, length_tag, sign + 1)
                        );
                    }
                }
            }
        }
    }
}
