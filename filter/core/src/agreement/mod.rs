//! Does every engine that might read this Logon come to the same route?
//!
//! Engines differ in how they read odd bytes. The strict reading ([`crate::wire`]) proposes a route; a message with
//! an oddity is then read again in every other way that engines are known to read, and when one of them would see
//! another `MsgType` or another route, the connection is refused rather than guessed. A reading that rejects the
//! message takes no part. An ordinary Logon has no oddity and pays nothing.

mod axes;
mod reader;
mod seen;

use alloc::vec::Vec;

use crate::limits::DATA_TAGS_COMPARED_MAX;
use crate::range::SourceAddress;
use crate::table::{Lookup, Slots, Table};
use crate::wire::{BodyLength, Item, Logon};
use axes::{DATA, DataAxis, ENDS, NUMBERS, SUBSET, ValueAxis};
use reader::{Met, Reader, Unread};
use seen::Judge;

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

const PAST: &str = "BodyLength leads past the first CheckSum";
const TOO_ODD: &str = "it is too long, with too many oddities, to compare every way of reading it";
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
    let odd = !logon.oddities().is_empty() || slots.values().any(ValueAxis::matters);
    if odd && let Err(what) = agree(table, logon, source, &slots, lookup) {
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

fn agree<'a>(
    table: &Table,
    logon: &Logon<'a>,
    source: Option<SourceAddress>,
    strict: &Slots<'a>,
    decided: Lookup,
) -> Result<(), &'static str> {
    if logon.body_length() == BodyLength::Past {
        // Such a reading depends on bytes that have not been sent.
        return Err(PAST);
    }
    let mut comparison = Comparison {
        logon,
        source,
        judge: Judge::new(table, decided, strict),
    };
    let (mut tags, mut lengths) = (Vec::new(), Vec::new());
    for (data, data_says) in DATA {
        let met = comparison.with(data, data_says)?;
        // Without a data field, the other readers of data fields are the same: so it is with the groups that venues'
        // Logons have.
        if met.data_tags.is_empty() {
            break;
        }
        tags.extend(met.data_tags);
        lengths.extend(met.length_tags);
    }
    for tags in [&mut tags, &mut lengths] {
        tags.sort();
        tags.dedup();
        if tags.len() > DATA_TAGS_COMPARED_MAX {
            return Err(TOO_ODD);
        }
    }
    if tags.len() > 1 {
        for tag in tags {
            comparison.with(DataAxis::KnowsOnly(tag), SUBSET)?;
            comparison.with(DataAxis::KnowsAllBut(tag), SUBSET)?;
        }
    }
    if lengths.len() > 1 {
        for data in lengths.into_iter().flat_map(axes::any_of) {
            comparison.with(data, axes::ANY)?;
        }
    }
    Ok(())
}

struct Comparison<'a, 't> {
    logon: &'t Logon<'a>,
    source: Option<SourceAddress>,
    judge: Judge<'a, 't>,
}

impl Comparison<'_, '_> {
    /// Compares all readers that find the end of data fields in one way.
    fn with(&mut self, data: DataAxis, data_says: &'static str) -> Result<Met, &'static str> {
        let mut met = Met::default();
        for (numbers, numbers_say) in NUMBERS {
            for (end, end_says) in ENDS {
                self.judge.spend(self.logon.message().len())?;
                let reader = Reader {
                    message: self.logon.message(),
                    source: self.source,
                    data,
                    numbers,
                    end,
                };
                let seen = match reader.read(self.judge.table, &mut met) {
                    Err(Unread::Rejected) => continue,
                    Err(Unread::Unfinished) => return Err(UNFINISHED),
                    Ok(seen) => seen,
                };
                let says = [end_says, numbers_say, data_says];
                seen.agrees(&mut self.judge, says)?;
            }
            // Strict numbers come first: where all are well-formed, they are the same to every reader.
            if !met.odd_number {
                break;
            }
        }
        Ok(met)
    }
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
    use crate::wire::{self, ReadLimits, Reading};
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
    fn what_scripts_and_small_libraries_read_differently_is_refused() {
        // Python's int().
        check(
            "35=A|4_9=VICTIM|49=BROKER_A|34=1|",
            "refused: readers that accept `_`",
        );
        check("35=A|4__9=VICTIM|_49=VICTIM|49=BROKER_A|34=1|", "broker");
        // A length that is another field's.
        check("35=A|354=13|96=a|49=VICTIM|34=1|108=30|", "refused");
        check("35=A|348=20|96=a|49=BROKER_A|b|34=1|", "refused");
        // The same by a reader who does not know the last one: simplefix has never heard of 2802.
        check(
            "35=A|95=11|2802=1|91=c|49=VICTIM|34=1|",
            "refused: readers that take the length of one data field",
        );
        check("35=A|95=99999|354=1|91=c|49=VICTIM|34=1|", "refused");
        check("35=A|95=11|2802=1|96=c|49=VICTIM|34=1|", "refused");
        let proper = "95=3|96=a|b|2802=2|2801=cd|354=1|355=e|";
        check(&format!("35=A|49=BROKER_A|{proper}34=1|"), "broker");
        // A reader whose dictionary is older than one of the data fields.
        let younger = "95=13|96=a|49=BROKER_A|1184=11|1185=c|49=VICTIM|49=BROKER_A|";
        check(&format!("35=A|{younger}34=1|"), "refused");
        for value in ["VICTIM\u{1f}", "\0VICTIM", "VICTIM \0x", "VICTIM=x"] {
            check(&format!("35=A|49={value}|34=1|"), "refused");
        }
        check("35=A|49=BROKER_A|58=a=b|34=1|", "broker");
    }

    #[test]
    fn the_price_of_a_lookup_counts_and_what_was_asked_is_asked_once() {
        // Shapes of many prefix lengths, as a tenant may write them.
        let rules: Vec<Rule> = (1..=60)
            .flat_map(|first| (1..=60).map(move |second| (first, second)))
            .map(|(first, second)| {
                let prefix = |length: usize| format!("{}*", "X".repeat(length));
                let fields = [
                    ("SenderCompID49", &*prefix(first)),
                    ("TargetSubID57", &*prefix(second)),
                ];
                let priority = i32::try_from(first * 100 + second).unwrap();
                Rule::new(spec(&format!("r{first}-{second}"), &fields, Some(priority))).unwrap()
            })
            .collect();
        let table = Table::compile(&rules, 1).unwrap();
        assert_eq!(table.shape_count(), 3_600);
        let verdict = |body: &str| {
            let bytes = message(body);
            let Reading::Logon(logon) = wire::read(&bytes, &ReadLimits::default()) else {
                return false;
            };
            evaluate(&table, &logon, None) == Verdict::AmbiguousField(TOO_ODD)
        };
        // The same values in every reading: one lookup, however many readings.
        assert!(!verdict("35=A|49=XX|57=XX|058=y|95=1|96=x|372=A|372=8|"));
        // Other values in each, all of which lead to one route: thirty lookups of 3,600 probes.
        let tags = ["49", "+49", "4294967345", "49f", "4_9"];
        let others = tags.map(|tag| format!("{tag}=XX{tag}=a \0b |")).concat();
        assert!(verdict(&format!("35=A|57=XX|{others}34=1|")));
    }

    #[test]
    fn what_cannot_be_compared_in_the_time_there_is_is_refused() {
        let of = |length: usize, odd: &str| {
            let text = "x".repeat(length - 100);
            verdict(&message(&format!("35=A|49=BROKER_A|{odd}|58={text}|")))
        };
        // 1 MiB is 420 times 2,496 bytes.
        assert_eq!(of(2_400, "095=1|96=a"), "broker");
        assert_eq!(of(2_600, "095=1|96=a"), format!("refused: {TOO_ODD}"));
        assert_eq!(of(8_000, "095=1|96=a"), format!("refused: {TOO_ODD}"));
        assert_eq!(of(8_000, "95=1|96=a"), "broker");
        assert_eq!(of(8_000, "058=a"), "broker");
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
    fn tags_and_lengths_that_other_readers_do_not_check_are_refused() {
        // Every byte taken for a digit: `5/` is 49, and `1:` is 20.
        check(
            "35=A|5/=VICTIM|49=BROKER_A|34=1|",
            "refused: readers that take every byte",
        );
        check(
            "35=A|49=BROKER_A|95=1:|96=a|49=VICTIM|x=1|y|34=1|",
            "refused",
        );
        // `atoi` wraps, and stops at a letter.
        check(
            "35=A|4294967345x=VICTIM|49=BROKER_A|34=1|",
            "refused: readers that take the digits",
        );
        check("35=A|49=BROKER_A|4294967345x=BROKER_A|34=1|", "broker");
    }

    #[test]
    fn values_that_other_readers_cut_or_trim_are_refused_where_they_change_the_route() {
        check(
            "35=A|49=VICTIM\0x|34=1|",
            "refused: readers that end a value at a NUL",
        );
        check("35=A|49=VICTIM\0x|49=BROKER_A|34=1|", "refused");
        check(
            "35=A|49=VICTIM |34=1|",
            "refused: readers that take blanks off",
        );
        check(
            "35=A|49=\tBROKER_A|34=1|",
            "refused: readers that take blanks off",
        );
        check("35=A|49=SOMEBODY\0|34=1|", "none");
        check("35=A|49=BROKER_A|58= a text \0 |34=1|", "broker");
        // A value that only a reader of tags with zeros sees.
        check("35=A|049=VICTIM\0|49=BROKER_A|34=1|", "refused");
        check("35=A|49=BROKER_A|35=A\0|34=1|", "refused");
    }

    #[test]
    fn every_length_that_some_reader_takes_for_a_data_fields_is_tried() {
        // The first length stands inside of another data field, behind the tag before.
        check(
            "35=A|49=BROKER_A|354=7|355=1526=13|1526=1|1527=a|49=VICTIM|34=1|",
            "refused",
        );
        // The first one only, stretched.
        check(
            "35=A|49=BROKER_A|95=9|95=1|96=a|49=VIC|34=1|49=VICTIM|",
            "refused",
        );
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
        assert!(
            verdict(logon("99999999999999999999999").as_bytes()).contains("BodyLength leads past")
        );
        for harmless in ["5", "0", "-1", "x", ""] {
            assert_eq!(verdict(logon(harmless).as_bytes()), "broker", "{harmless}");
        }
        // Past it for some readers only.
        for past in ["+99", " 99", "99x", "99 "] {
            assert!(
                verdict(logon(past).as_bytes()).contains("some readers would wait"),
                "{past}"
            );
        }
        for right in ["+16", " 16", "16x", "016"] {
            assert_eq!(verdict(logon(right).as_bytes()), "broker", "{right}");
        }
    }
}
