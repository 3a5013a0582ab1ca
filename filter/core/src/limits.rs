//! How much of anything does the gateway accept? Each bound has a name and a reason.

/// Bytes of one Logon, from `8=` to the SOH after tag 10. Real ones have 60 to 300 bytes, with certificates in
/// `RawData` up to about 4 KiB; twice that leaves room.
pub const LOGON_BYTES_MAX: u32 = 8 * 1024;
/// Fields of one Logon. A Logon that lists 200 message types (`NoMsgTypes`) has about 420.
pub const LOGON_FIELDS_MAX: u32 = 512;
/// Milliseconds from accept (the TLS handshake included) to a complete Logon. `QuickFIX` gives up at 10 s itself.
pub const LOGON_TIMEOUT_MS: u32 = 10_000;
/// Bytes that are read again to compare readings, over all of them. While that goes on, the worker's live sessions wait: a
/// millisecond or two. An odd Logon of 2.4 KiB has room for all 420 readings, one of 8 KiB for those of one kind.
pub const READ_AGAIN_BYTES_MAX: usize = 1024 * 1024;

/// What a lookup costs for each shape of the table, as so many bytes that are read.
pub const LOOKUP_OF_A_SHAPE_BYTES: usize = 16;
/// Kinds of data fields in one odd Logon. Real ones have one or two (`RawData`, a signature).
pub const DATA_TAGS_COMPARED_MAX: usize = 4;

/// Digits of a tag number. FIX has none above 6 digits; 9 digits cannot wrap in 32 bits.
pub const TAG_DIGITS_MAX: usize = 9;
/// Largest length that a data field's length may state. More cannot be meant: it is nine digits, as a tag.
pub const DATA_LENGTH_MAX: u64 = 999_999_999;

/// Conditions of one route. The same bound as in the CRD, where it keeps CEL's cost bounded.
pub const ROUTE_FIELDS_MAX: usize = 16;
/// Bytes of an inline route's name: a namespace, a name (253 bytes) and what is between them, as Kubernetes has them.
pub const ROUTE_NAME_BYTES_MAX: usize = 63 + 1 + 253;
/// Source ranges of one route. A broker's offices have a dozen networks; the filter looks at each of a route's once.
pub const ROUTE_RANGES_MAX: usize = 64;
/// Bytes of a value or prefix in a rule. `CompIDs` have up to 64 bytes in practice.
pub const RULE_VALUE_BYTES_MAX: usize = 128;
/// Bytes of a `matchFields` key, as in the CRD.
pub const FIELD_KEY_BYTES_MAX: usize = 64;
/// Routes of one table. Ten times the largest installation that the figures speak of would be 100,000.
pub const ROUTES_MAX: usize = 200_000;
/// Distinct shapes (sets of tags, with the prefixes' lengths) of one table: the lookup probes each at most once.
pub const SHAPES_MAX: usize = 16_384;
/// Steps of the search for conflicts: hashes, comparisons, routes looked at. A hundred thousand ordinary routes take some
/// hundred thousand, as many with 500 sets of tags fifty million; five seconds or so are over when the bound is met.
pub const CONFLICT_STEPS_MAX: usize = 100_000_000;
/// Conflicts that are shown, each with its witness. The others are counted.
pub const CONFLICTS_SHOWN_MAX: usize = 100;
/// Conflicts that are kept to find the first ones among them. What is found beyond them is counted, and its routes are known.
pub const CONFLICTS_KEPT_MAX: usize = 100_000;
/// Logons that are shown for one route that differs between two sets. The others are counted.
pub const MOVES_SHOWN_MAX: usize = 3;
/// Connections that one Envoy holds, if nobody says otherwise. Each has a buffer of up to 64 KiB.
pub const HELD_PER_POD_MAX: u32 = 500;
/// Connections that are held for one route, if it does not say otherwise: a counterparty has one session.
pub const HELD_PER_ROUTE_MAX: u32 = 1;
/// Milliseconds that a connection is held, if nobody says otherwise. `QuickFIX` gives up by itself after ten seconds.
pub const HOLD_TIMEOUT_MS: u32 = 30_000;
/// Milliseconds for which a ready target that refuses is tried again, if nobody says otherwise: about what Kubernetes needs to
/// notice that an engine has gone.
pub const CONNECT_TIMEOUT_MS: u32 = 30_000;
/// Milliseconds after which what a VM holds counts as gone, if it has not been seen. It says three times as often that it
/// lives; a worker that stands still for so long serves nobody.
pub const HELD_SHARE_MS: u64 = 6_000;
/// Bytes of a table image: 200,000 routes of about 200 bytes, and as much again.
pub const TABLE_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Bytes of a readiness image.
pub const READINESS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Targets in a readiness image.
pub const TARGETS_MAX: usize = 100_000;

/// Bytes of one value in a log line; longer ones are cut there, and say so.
pub const VALUE_SHOWN_BYTES_MAX: usize = 64;
/// Bytes of a name that TLS brought (SNI, subject of a client certificate) in a log line. A DNS name has up to 253.
pub const PEER_TEXT_SHOWN_BYTES_MAX: usize = 256;
/// Bytes of the received bytes in a decision record; what follows is only counted.
pub const RECEIVED_SHOWN_BYTES_MAX: usize = 512;
/// Fields in a decision record that no route decided.
pub const RECORD_FIELDS_MAX: usize = 32;
