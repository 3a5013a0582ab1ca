//! Does the reader keep its laws on any bytes, not only on the cases of the corpus?
//!
//! It never panics; it never claims bytes that are not there; and what it says does not depend on how the bytes were
//! cut into reads, with limits and without.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use fixgw_core::wire::{self, Fields, Framing, Item, NotLogon, ReadLimits, Reading};
use proptest::prelude::*;

/// An answer without its borrow. What bytes look like that are not FIX is for the log, and may grow clearer with more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Logon(Vec<u8>, String),
    Incomplete,
    NotFix,
    NotLogon(NotLogon),
}

fn answer(bytes: &[u8], limits: &ReadLimits) -> Answer {
    match wire::read(bytes, limits) {
        Reading::Logon(logon) => Answer::Logon(
            logon.message().to_vec(),
            format!("{:?} {:?}", logon.oddities(), logon.body_length()),
        ),
        Reading::Incomplete => Answer::Incomplete,
        Reading::NotLogon(NotLogon::NotFix(_)) => Answer::NotFix,
        Reading::NotLogon(why) => Answer::NotLogon(why),
    }
}

/// Pieces of messages that together make most of what a reader must decide.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"8=FIX.4.4\x01"[..],
        b"8=FIXT.1.1\x01",
        b"9=60\x01",
        b"9=5\x01",
        b"9=-1\x01",
        b"35=A\x01",
        b"35=D\x01",
        b"35=AA\x01",
        b"34=1\x01",
        b"49=BROKER_A\x01",
        b"49=\x01",
        b"56=GATEWAY\x01",
        b"95=4\x01",
        b"96=a\x01b=\x01",
        b"96=",
        b"95=99999999999999999999\x01",
        b"90=3\x0191=xyz\x01",
        b"93=2\x01",
        b"89=s\x01\x01",
        b"049=X\x01",
        b"+49=X\x01",
        b"4294967345=X\x01",
        b"18446744073709551665=X\x01",
        b"=\x01",
        b"==\x01",
        b"\x01",
        b"10=000\x01",
        b"10=\x01",
        b"10=99",
        b"garbage",
        b"|",
    ])
    .prop_map(<[u8]>::to_vec);
    let made = (0_u32..500, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(tag, value)| {
        let mut field = format!("{tag}=").into_bytes();
        field.extend(value);
        field.push(wire::SOH);
        field
    });
    prop_oneof![4 => fixed, 1 => made]
}

/// Bytes shaped like the beginning of a FIX connection, with some of them changed, lost or added.
fn fix_shaped() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(token(), 0..14).prop_map(|tokens| tokens.concat());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, any::<u8>()), 0..3);
    (prop::bool::weighted(0.9), body, changes).prop_map(|(strict, body, changes)| {
        let mut bytes = if strict {
            b"8=FIX.4.2\x01".to_vec()
        } else {
            Vec::new()
        };
        bytes.extend(body);
        for (place, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, if byte < 128 { wire::SOH } else { byte }),
            }
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => fix_shaped(),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn limits() -> impl Strategy<Value = ReadLimits> {
    prop_oneof![
        Just(ReadLimits::UNBOUNDED),
        Just(ReadLimits::default()),
        (8_usize..90, 1_usize..12).prop_map(|(bytes_max, fields_max)| ReadLimits {
            bytes_max,
            fields_max,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_given_to_a_beginning_is_the_answer_to_the_whole(bytes in any_bytes(), limits in limits()) {
        let whole = answer(&bytes, &limits);
        for end in 0..bytes.len() {
            let early = answer(&bytes[..end], &limits);
            if early != Answer::Incomplete {
                prop_assert_eq!(&early, &whole, "given at {} of {} bytes", end, bytes.len());
            }
        }
    }

    #[test]
    fn what_follows_a_logon_does_not_change_it(bytes in any_bytes(), more in any_bytes()) {
        let alone = answer(&bytes, &ReadLimits::UNBOUNDED);
        if alone != Answer::Incomplete {
            let together = [bytes, more].concat();
            prop_assert_eq!(alone, answer(&together, &ReadLimits::UNBOUNDED));
        }
    }

    #[test]
    fn a_walk_covers_its_bytes_without_gap_or_overlap(bytes in any_bytes()) {
        let mut walk = Fields::new(&bytes);
        let mut at = 0;
        while let Some(item) = walk.next() {
            match item {
                Item::Field(field) => {
                    prop_assert_eq!(field.start, at);
                    let head = format!("{}=", field.tag.get());
                    let tail = [head.as_bytes(), field.value.reveal(), &[wire::SOH]].concat();
                    prop_assert_eq!(&bytes[field.start..field.end], &tail[..]);
                    if field.framing != Framing::Length {
                        prop_assert!(!field.value.reveal().contains(&wire::SOH));
                    }
                }
                Item::Malformed(length) => {
                    prop_assert_eq!(bytes[at + length], wire::SOH);
                    prop_assert!(!bytes[at..at + length].contains(&wire::SOH));
                }
            }
            prop_assert!(walk.consumed() > at && walk.consumed() <= bytes.len());
            at = walk.consumed();
        }
    }

    #[test]
    fn a_logon_is_a_beginning_of_the_bytes_within_its_limits(bytes in any_bytes(), limits in limits()) {
        let trailer = wire::trailer(&bytes);
        if let Reading::Logon(logon) = wire::read(&bytes, &limits) {
            prop_assert!(bytes.starts_with(logon.message()));
            prop_assert!(logon.message().len() <= limits.bytes_max);
            prop_assert!(logon.fields().count() <= limits.fields_max);
            prop_assert!(trailer.is_some());
        }
    }
}
