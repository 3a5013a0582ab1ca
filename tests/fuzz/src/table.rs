//! What travels to a worker: a table's image, and that of readiness.
//!
//! The checksum guards against accidents. An image that was made with a right one must do no harm either, so it is put
//! right before the image is taken.

use std::fmt::Write as _;

use fixgw_core::agreement;
use fixgw_core::config::Settings;
use fixgw_core::connection::{Arrival, Connection, View};
use fixgw_core::readiness::{self, Readiness};
use fixgw_core::redact::DisclosurePolicy as _;
use fixgw_core::table::{self, Lookup, RouteRef, Table};
use fixgw_core::wire::{self, ReadLimits, Reading, Tag};

use crate::routes::sources;

const HEADER_BYTES: usize = 32;
/// Larger ones cost time and show nothing new.
const BYTES_MAX: usize = 4_096;
/// Of an image that is bent, as many parts are looked at.
const LOOKED_AT_MAX: usize = 64;

/// Logons that the routes of the corpus' tables take, and others.
const LOGONS: [&[(u32, &str)]; 4] = [
    &[(49, "BROKER_A"), (56, "GATEWAY"), (57, "DESK")],
    &[(49, "VICTIM"), (553, "user"), (1, "ACCOUNT1")],
    &[(49, "BROKER_A"), (20_001, "VWAP"), (50, "FX")],
    &[],
];

/// An image of anything.
pub fn table(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let _ = (Table::load(bytes.to_vec()), Readiness::load(bytes));
    let _ = (
        Table::stated_revision(bytes),
        Readiness::stated_version(bytes),
    );
    let sealed = sealed(bytes, readiness::MAGIC, readiness::FORMAT);
    let ready = Readiness::load(&sealed);
    let image = self::sealed(bytes, table::MAGIC, table::FORMAT);
    if let Ok(table) = Table::load(image.clone()) {
        assert_eq!(table.image(), image);
        assert_eq!(Table::stated_revision(&image), Some(table.revision()));
        examine(&table, ready.ok().as_ref());
    }
}

/// The bytes with a header that is right for them.
fn sealed(bytes: &[u8], magic: [u8; 8], format: u32) -> Vec<u8> {
    let mut image = bytes.to_vec();
    image.resize(image.len().max(HEADER_BYTES), 0);
    image[..8].copy_from_slice(&magic);
    image[8..12].copy_from_slice(&format.to_le_bytes());
    let revision = u64::from_le_bytes(image[16..24].try_into().unwrap());
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(
        &image[HEADER_BYTES..],
        revision ^ (u64::from(format) << 56),
    );
    image[24..32].copy_from_slice(&sum.to_le_bytes());
    image
}

/// A Logon with these fields, and with something for each of the table's tags.
fn message(table: &Table, fields: &[(u32, &str)]) -> Vec<u8> {
    let mut body = String::from("35=A\u{1}");
    for (tag, value) in fields {
        write!(body, "{tag}={value}\u{1}").unwrap();
    }
    for slot in 0..LOOKED_AT_MAX {
        if let Some((tag, label)) = table.slot_label(slot)
            && ![9, 10].contains(&tag.get())
        {
            let clean = |char: &char| char.is_ascii_alphanumeric();
            let value: String = label.chars().filter(clean).take(8).collect();
            write!(body, "{}={value}A\u{1}", tag.get()).unwrap();
        }
    }
    format!("8=FIX.4.4\u{1}9={}\u{1}{body}10=000\u{1}", body.len()).into_bytes()
}

fn examine(table: &Table, ready: Option<&Readiness>) {
    let later = table.with_revision(table.revision().wrapping_add(1));
    assert!(table.same_routes(&later));
    assert!(
        Table::load(later.image().to_vec())
            .unwrap()
            .same_routes(table)
    );
    for fields in LOGONS {
        let bytes = message(table, fields);
        let Reading::Logon(logon) = wire::read(&bytes, &ReadLimits::UNBOUNDED) else {
            // A tag of the table made it something else.
            continue;
        };
        for source in sources() {
            let slots = agreement::strict_slots(table, &logon, source);
            match table.lookup(&slots) {
                Lookup::None => {}
                Lookup::Route(route) => look_at(table, route),
                Lookup::Ambiguous(one, other) => {
                    look_at(table, one);
                    look_at(table, other);
                }
            }
        }
        // Dear: readings are compared, in which each tag of the table counts.
        let settings = Settings::default();
        let view = View {
            table: Some(table),
            readiness: ready,
            settings: &settings,
        };
        let arrival = Arrival {
            accepted_ms: 0,
            source: sources().nth(fields.len()).flatten(),
        };
        let mut connection = Connection::accepted(arrival, &settings);
        let _ = connection.received(view, &bytes, true);
    }
    for route in table.routes().take(LOOKED_AT_MAX) {
        look_at(table, route);
    }
    let _ = table.targets().take(LOOKED_AT_MAX).count();
    for number in [1, 8, 49, 96, 554, 999_999_999] {
        let _ = table.configured(Tag::new(number).unwrap());
    }
}

fn look_at(table: &Table, route: RouteRef) {
    let _ = (table.route_name(route), table.target(route));
    let _ = table.route_rank(route);
    for condition in table.conditions(route).take(LOOKED_AT_MAX) {
        let _ = table.slot_label(condition.slot);
    }
    let slots = table.slots(sources().last().flatten());
    let _ = table.matching_range(route, &slots);
    for range in table.ranges(route).take(LOOKED_AT_MAX) {
        let _ = range.to_string();
    }
}
