//! Which FIXSessions does an API server refuse, and does the gateway say the same?
//!
//! Each object goes to both. What the server refuses, the gateway must refuse: an object that it would take has to be one that can
//! be kept. The other way round there is a short list.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fixgw_core::limits;
use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::tool;

use crate::{sessions, with_definition};

/// A target, where the case is about something else.
const TARGET: &str = "target: { service: { name: engine, port: 9876 } }";

/// A field, where the case is about something else.
const FIELD: &str = "matchFields: { SenderCompID49: { value: A } }";

/// A part of what is said.
#[derive(Clone, Copy)]
enum Words {
    /// Of the server and of the gateway.
    Ours(&'static str),
    /// Of the server alone: the gateway has other words for it.
    Kubernetes(&'static str),
}
use Words::{Kubernetes, Ours};

/// What is wrong, and what the server says of which field.
struct Case(String, &'static str, Words);

/// A case of a spec with [`TARGET`].
fn case(spec: impl AsRef<str>, field: &'static str, words: Words) -> Case {
    Case(format!("{}, {TARGET}", spec.as_ref()), field, words)
}

/// A case of a value, written as it is in YAML.
fn value(yaml: impl AsRef<str>, field: &'static str, words: Words) -> Case {
    let spec = format!("matchFields: {{ A1: {{ value: {} }} }}", yaml.as_ref());
    case(spec, field, words)
}

/// A case of a pattern.
fn pattern(yaml: impl AsRef<str>, field: &'static str, words: Words) -> Case {
    let spec = format!(
        "matchFields: {{ A1: {{ pattern: {} }} }}, priority: 1",
        yaml.as_ref()
    );
    case(spec, field, words)
}

/// A case of source ranges.
fn ranges(yaml: &str, field: &'static str, words: Words) -> Case {
    case(format!("sourceRanges: {yaml}, priority: 1"), field, words)
}

/// A case of one more member of the spec.
fn beside(yaml: &str, field: &'static str, words: Words) -> Case {
    case(format!("{FIELD}, {yaml}"), field, words)
}

fn target(yaml: &str, field: &'static str, words: Words) -> Case {
    Case(format!("{FIELD}, target: {yaml}"), field, words)
}

/// So many fields, of values.
fn many_fields(count: usize) -> String {
    let mut fields = String::new();
    for tag in 1..=count {
        let _ = write!(fields, "A{}: {{ value: A }}, ", tag + 100);
    }
    format!("matchFields: {{ {fields} }}")
}

/// So many ranges.
fn many_ranges(count: usize) -> String {
    let ranges: Vec<String> = (0..count).map(|n| format!("10.0.{n}.0/24")).collect();
    format!("sourceRanges: [{}], priority: 1", ranges.join(", "))
}

/// A key of so many letters and a tag number.
fn key(bytes: usize) -> String {
    format!(
        "matchFields: {{ {}49: {{ value: A }} }}",
        "A".repeat(bytes - "49".len())
    )
}

const KEY_FORM: Words =
    Ours("a key is a name in PascalCase followed by the tag number, as in `SenderCompID49`");
const VALUE_BYTES: Words = Ours("a value or prefix has 1 to 128 bytes and no SOH");
const PATTERN_FORM: Words =
    Ours("a pattern is `*` (present) or a prefix followed by `*`; for anything else use `value`");
const PLAIN_TEXT: Words = Kubernetes("must be of type string");
const BEGIN_STRING: Words = Ours("tag 8 always begins with `FIX`");
const CIDR: Words = Kubernetes("must be of type cidr");
const DURATION_FORM: Words =
    Ours("a duration is a number with its unit, as in `30s`, `1m30s` or `500ms`");
const DURATION_RANGE: Words = Ours("a hold lasts from 1ms to 1h");
const SERVICE_NAME: Words =
    Ours("is no name of a Service; it has lower-case letters, digits and `-`, 63 at most");

fn of_fields() -> Vec<Case> {
    let all = "spec.matchFields";
    let text = "A".repeat(limits::RULE_VALUE_BYTES_MAX + 1);
    // Two bytes each.
    let wide = "ü".repeat(limits::RULE_VALUE_BYTES_MAX / 2 + 1);
    let keys = |yaml: &str, words| case(format!("matchFields: {{ {yaml} }}"), all, words);
    vec![
        keys("senderCompID49: { value: A }", KEY_FORM),
        keys("Sender-CompID49: { value: A }", KEY_FORM),
        keys("SenderCompID: { value: A }", KEY_FORM),
        keys("SenderCompID049: { value: A }", KEY_FORM),
        keys("SenderCompID4900000000: { value: A }", KEY_FORM),
        keys("\"49\": { value: A }", KEY_FORM),
        case(key(limits::FIELD_KEY_BYTES_MAX + 1), all, KEY_FORM),
        keys(
            "SenderCompID49: { value: A }, Sender49: { value: B }",
            Kubernetes("two keys have the same tag number; keep one"),
        ),
        case(
            many_fields(limits::ROUTE_FIELDS_MAX + 1),
            all,
            Kubernetes("must have at most 16 items"),
        ),
        keys(
            "BodyLength9: { value: A }",
            Ours("tags 9, 10 and 35 cannot be matched"),
        ),
        keys(
            "CheckSum10: { value: A }",
            Ours("tags 9, 10 and 35 cannot be matched"),
        ),
        keys(
            "MsgType35: { value: A }",
            Ours("tags 9, 10 and 35 cannot be matched"),
        ),
        keys(
            "Password554: { value: A }",
            Ours("a tag that carries secrets cannot be matched"),
        ),
        keys(
            "RawData96: { value: A }",
            Ours("a tag that carries secrets cannot be matched"),
        ),
        keys(
            "Other42982: { value: A }",
            Ours("a tag that carries secrets cannot be matched"),
        ),
        keys("BeginString8: { value: FAST }", BEGIN_STRING),
        case(
            "matchFields: { BeginString8: { pattern: \"*\" } }, priority: 1",
            all,
            BEGIN_STRING,
        ),
        case(
            "matchFields: { A1: {} }",
            "spec.matchFields[A1]",
            Ours("give exactly one of `value` and `pattern`"),
        ),
        case(
            "matchFields: { A1: { value: A, pattern: \"A*\" } }, priority: 1",
            "spec.matchFields[A1]",
            Ours("give exactly one of `value` and `pattern`"),
        ),
        value(
            "''",
            "spec.matchFields.A1.value",
            Kubernetes("should be at least 1 chars long"),
        ),
        value(text, "spec.matchFields.A1.value", Kubernetes("may not be")),
        value(wide, "spec.matchFields[A1].value", VALUE_BYTES),
        value("\"A\\x01B\"", "spec.matchFields[A1].value", VALUE_BYTES),
        value("49", "spec.matchFields.A1.value", PLAIN_TEXT),
        value("yes", "spec.matchFields.A1.value", PLAIN_TEXT),
        pattern("ABC", "spec.matchFields[A1].pattern", PATTERN_FORM),
        pattern("\"A*B*\"", "spec.matchFields[A1].pattern", PATTERN_FORM),
        pattern("\"*A\"", "spec.matchFields[A1].pattern", PATTERN_FORM),
        pattern("\"A\\x01*\"", "spec.matchFields[A1].pattern", VALUE_BYTES),
    ]
}

fn of_ranks() -> Vec<Case> {
    let priority = "spec.priority";
    vec![
        case(
            "priority: 1",
            "spec.matchFields",
            Ours("give `matchFields`, `sourceRanges`, or `default: true`"),
        ),
        case(
            "default: false",
            "spec.matchFields",
            Ours("give `matchFields`, `sourceRanges`, or `default: true`"),
        ),
        case(
            "default: true",
            priority,
            Ours("a default route needs a `priority`"),
        ),
        beside(
            "default: true, priority: 1",
            "spec.default",
            Ours("a default route matches every Logon; drop `default` or the fields"),
        ),
        case(
            "matchFields: { A1: { pattern: \"A*\" } }",
            priority,
            Ours("a route with a pattern needs a `priority`"),
        ),
        case(
            "matchFields: { A1: { value: A }, B2: { pattern: \"*\" } }",
            priority,
            Ours("a route with a pattern needs a `priority`"),
        ),
        case(
            "sourceRanges: [10.0.0.0/8]",
            priority,
            Ours("a route of source ranges alone needs a `priority`"),
        ),
        beside(
            "priority: 1",
            priority,
            Ours("a route of values only is ranked by its number of fields; drop `priority`"),
        ),
        beside(
            "sourceRanges: [10.0.0.0/8], priority: 1",
            priority,
            Ours("a route of values only is ranked by its number of fields; drop `priority`"),
        ),
        case(
            "default: true, priority: 2147483648",
            priority,
            Kubernetes("should be less than or equal to 2147483647"),
        ),
        case(
            "default: true, priority: high",
            priority,
            Kubernetes("must be of type integer"),
        ),
    ]
}

fn of_ranges() -> Vec<Case> {
    let first = "spec.sourceRanges[0]";
    vec![
        ranges("[10.0.0.0/33]", first, CIDR),
        ranges("[10.0.0.0]", first, CIDR),
        ranges("[10.0.0/8]", first, CIDR),
        ranges("[10.0.0.256/32]", first, CIDR),
        ranges("[\"2001:db8::/129\"]", first, CIDR),
        ranges("[\"2001:db8:::/32\"]", first, CIDR),
        ranges("[london]", first, CIDR),
        ranges(
            "[10.0.0.0/8, 10.0.0.0/8]",
            "spec.sourceRanges[1]",
            Kubernetes("Duplicate value"),
        ),
        ranges(
            "[]",
            "spec.sourceRanges",
            Ours("no range is listed, so nobody would match"),
        ),
        case(
            many_ranges(limits::ROUTE_RANGES_MAX + 1),
            "spec.sourceRanges",
            Kubernetes("must have at most 64 items"),
        ),
    ]
}

fn of_the_rest() -> Vec<Case> {
    let (name, port) = ("spec.target.service.name", "spec.target.service.port");
    let (held, timeout) = ("spec.maxHeldConnections", "spec.holdTimeout");
    vec![
        Case(
            FIELD.to_owned(),
            "spec.target",
            Kubernetes("Required value"),
        ),
        target("{}", "spec.target.service", Kubernetes("Required value")),
        target(
            "{ service: { name: engine } }",
            port,
            Kubernetes("Required value"),
        ),
        target("{ service: { name: Engine, port: 1 } }", name, SERVICE_NAME),
        target(
            "{ service: { name: other.engine, port: 1 } }",
            name,
            SERVICE_NAME,
        ),
        target("{ service: { name: '', port: 1 } }", name, SERVICE_NAME),
        target(
            "{ service: { name: a123456789012345678901234567890123456789012345678901234567890123, port: 1 } }",
            name,
            Kubernetes("may not be"),
        ),
        target(
            "{ service: { name: engine, port: 0 } }",
            port,
            Kubernetes("should be greater than or equal to 1"),
        ),
        target(
            "{ service: { name: engine, port: 65536 } }",
            port,
            Kubernetes("should be less than or equal to 65535"),
        ),
        target(
            "{ service: { name: engine, port: fix } }",
            port,
            Kubernetes("must be of type integer"),
        ),
        beside(
            "maxHeldConnections: -1",
            held,
            Kubernetes("should be greater than or equal to 0"),
        ),
        beside(
            "maxHeldConnections: 501",
            held,
            Kubernetes("should be less than or equal to 500"),
        ),
        beside("holdTimeout: 30", timeout, PLAIN_TEXT),
        beside("holdTimeout: '30'", timeout, DURATION_FORM),
        beside("holdTimeout: ''", timeout, DURATION_FORM),
        beside("holdTimeout: 1.5s", timeout, DURATION_FORM),
        beside("holdTimeout: -1s", timeout, DURATION_FORM),
        beside("holdTimeout: 10us", timeout, DURATION_FORM),
        beside("holdTimeout: 0s", timeout, DURATION_RANGE),
        beside("holdTimeout: 1h1ms", timeout, DURATION_RANGE),
        beside("holdTimeout: 999999h999999h", timeout, DURATION_RANGE),
    ]
}

#[test]
fn wrong_objects_are_refused_with_what_to_write_instead() {
    let (server, _) = with_definition();
    let cases = [of_fields(), of_ranks(), of_ranges(), of_the_rest()];
    let mut wrong = Vec::new();
    for Case(spec, field, words) in cases.into_iter().flatten() {
        let object = object(&spec);
        let said = server.create(&sessions(), Sent::Yaml(&object));
        let (Ours(part) | Kubernetes(part)) = words;
        let causes = said.causes();
        let is_said = |(of, text): &(&str, &str)| *of == field && text.contains(part);
        if said.code != 422 || !causes.iter().any(is_said) {
            wrong.push(format!(
                "{spec}: wanted {field}: {part}\n    {} {}",
                said.code,
                said.message()
            ));
        }
        let (found, refused) = check(&object);
        let says_the_same = !matches!(words, Ours(_)) || found.contains(part);
        if !refused || !says_the_same {
            wrong.push(format!(
                "{spec}: `fixgw check` should say {part}\n    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unknown_fields_are_refused() {
    let (server, _) = with_definition();
    for (spec, field) in [
        (format!("{FIELD}, priorty: 1, {TARGET}"), "spec.priorty"),
        (
            format!("matchFields: {{ A1: {{ value: A, redcat: true }} }}, {TARGET}"),
            "spec.matchFields.A1.redcat",
        ),
        (
            format!(
                "{FIELD}, target: {{ service: {{ name: engine, port: 1, namespace: other }} }}"
            ),
            "spec.target.service.namespace",
        ),
    ] {
        let object = object(&spec);
        let said = server.create(&sessions(), Sent::Yaml(&object));
        assert_eq!(said.code, 400, "{}", said.message());
        let wanted = format!("unknown field \"{field}\"");
        assert!(said.message().contains(&wanted), "{}", said.message());
        let (found, refused) = check(&object);
        assert!(refused && found.contains(field), "{found}");
    }
}

#[test]
fn objects_at_their_bounds_are_taken() {
    let (server, _) = with_definition();
    let most = limits::RULE_VALUE_BYTES_MAX;
    let (text, prefix) = ("A".repeat(most), "ü".repeat(most / 2));
    for spec in [
        many_fields(limits::ROUTE_FIELDS_MAX),
        many_ranges(limits::ROUTE_RANGES_MAX),
        key(limits::FIELD_KEY_BYTES_MAX),
        "matchFields: { A999999999: { value: A } }".to_owned(),
        "matchFields: { A1: { value: \"*\" } }".to_owned(),
        format!("matchFields: {{ A1: {{ value: {text} }} }}"),
        format!("matchFields: {{ A1: {{ pattern: \"{prefix}*\" }} }}, priority: -2147483648"),
        "matchFields: { BeginString8: { pattern: \"FIX.4*\" } }, priority: 2147483647".to_owned(),
        "matchFields: {}, default: true, priority: 0".to_owned(),
        "sourceRanges: [0.0.0.0/0, \"::/0\", \"2001:DB8::192.0.2.0/120\"], priority: 1".to_owned(),
        format!("{FIELD}, sourceRanges: [10.1.2.3/32], maxHeldConnections: 0, holdTimeout: 1ms"),
        format!("{FIELD}, default: false, maxHeldConnections: 500, holdTimeout: 59m59s1000ms"),
        format!("{FIELD}, holdTimeout: 3600000ms"),
    ] {
        taken(&server, &format!("{spec}, {TARGET}"));
    }
    for port in [1, 65535] {
        let name = "a".repeat(63);
        let target = format!("target: {{ service: {{ name: {name}, port: {port} }} }}");
        taken(&server, &format!("{FIELD}, {target}"));
    }
}

fn taken(server: &ApiServer, spec: &str) {
    let object = object(spec);
    let said = server.create(&sessions(), Sent::Yaml(&object));
    assert_eq!(said.code, 201, "{spec}: {}", said.message());
    let (found, refused) = check(&object);
    assert!(!refused, "{spec}: {found}");
}

/// What needs more than Kubernetes 1.29 to be said in a schema.
#[test]
fn what_the_schema_cannot_know_is_left_to_the_gateway() {
    let (server, _) = with_definition();
    for (ranges, words) in [
        ("[10.1.2.3/8]", "10.0.0.0/8"),
        ("[\"2001:db8::1/32\"]", "2001:db8::/32"),
        ("[\"::ffff:10.0.0.0/104\"]", "10.0.0.0/8"),
    ] {
        let object = object(&format!("sourceRanges: {ranges}, priority: 1, {TARGET}"));
        let said = server.create(&sessions(), Sent::Yaml(&object));
        assert_eq!(said.code, 201, "{ranges}: {}", said.message());
        let (found, refused) = check(&object);
        assert!(refused && found.contains(words), "{ranges}: {found}");
    }
}

/// A FIXSession, which the server gives a name that is free.
fn object(spec: &str) -> String {
    format!(
        "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ generateName: case-, namespace: {NAMESPACE} }}\n\
         spec: {{ {spec} }}\n"
    )
}

/// What `fixgw check` says of an object, and whether it refuses it.
fn check(object: &str) -> (String, bool) {
    let object = object.replace("generateName: case-", "name: case");
    let mut process = Command::new(tool::program("fixgw"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(object.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(code < 2, "`fixgw check` ended with {code}: {said}");
    (said, code == 1)
}
