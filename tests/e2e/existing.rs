//! Does the filter alone, in an Envoy that somebody runs already, route by the rules in its own configuration?

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::Directory;
use fixgw_e2e::process::{Process, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::secret;
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::{fix, tool};
use serde_json::Value;

/// `envoy/existing.yaml` with another module, edited.
fn configuration(directory: &Directory, module: &Path, edits: &[(&str, &str)]) -> PathBuf {
    let file = tool::repository().join("envoy/existing.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let module = module.display().to_string();
    let module = ("/etc/fixgw/fixgw_filter.wasm", module.as_str());
    let text = edits
        .iter()
        .chain([&module])
        .fold(text, |text, (old, new)| {
            assert!(text.contains(old), "the file has `{old}`");
            text.replace(old, new)
        });
    directory.write("envoy", &text);
    directory.file("envoy")
}

/// An Envoy over the configuration, that listens.
struct Existing {
    envoy: Process,
    address: SocketAddr,
    _directory: Directory,
}

impl Existing {
    fn start(module: &Path, engines: [&EchoEngine; 2], edits: &[(&str, &str)]) -> Self {
        let directory = Directory::new();
        let address = unused_port();
        let port = |address: SocketAddr| format!("port_value: {}", address.port());
        let ports = [address, engines[0].address(), engines[1].address()].map(port);
        let mut all = vec![
            ("address: 0.0.0.0", "address: 127.0.0.1"),
            ("port_value: 9880", ports[0].as_str()),
            ("port_value: 9901", &ports[1]),
            ("port_value: 9902", &ports[2]),
        ];
        all.extend(edits);
        let file = configuration(&directory, module, &all);
        let envoy = Process::start("envoy", tool::envoy(), |command| {
            command
                .args(["--concurrency", "2", "--disable-hot-restart", "-c"])
                .arg(file);
        });
        wait_until("Envoy to listen", || {
            std::net::TcpStream::connect(address).ok()
        });
        Self {
            envoy,
            address,
            _directory: directory,
        }
    }

    /// The decision record in Envoy's log about the connection from `source`.
    fn record(&self, source: SocketAddr) -> Value {
        let line = self
            .envoy
            .wait_line(&format!("\"fixgw.source\":\"{source}\""));
        let (_, record) = line.split_once(": {").expect("a record is an object");
        serde_json::from_str(&format!("{{{record}")).expect("a record is JSON")
    }

    fn log_on(&self, source: &str, logon: &[u8]) -> RawClient {
        let mut client = RawClient::connect_from(source.parse().unwrap(), self.address);
        client.send_unless_closed(logon);
        client
    }
}

#[test]
fn each_logon_goes_where_the_inline_routes_say_whole_and_once() {
    let (equities, algo) = (EchoEngine::start("equities"), EchoEngine::start("algo"));
    let existing = Existing::start(&tool::filter(), [&equities, &algo], &[]);
    for (source, sender, more, engine, route) in [
        ("127.0.0.1", "BROKER_A", &[][..], "equities", "broker-a"),
        (
            "127.0.0.1",
            "BROKER_A",
            &[(20001, "VWAP"), (554, "s3cretPass")],
            "algo",
            "broker-a-algo",
        ),
        ("127.0.1.9", "OTHER", &[], "equities", "london"),
    ] {
        let logon = fix::logon("FIX.4.4", sender, "VENUE", more);
        let mut client = existing.log_on(source, &logon);
        assert_eq!(client.take_greeting(), engine);
        assert_eq!(client.take(logon.len()), logon);
        client.send(b"and more");
        assert_eq!(client.take(8), b"and more");
        let record = existing.record(client.address());
        assert_eq!(text(&record, "fixgw.decision"), "ROUTE", "{record}");
        assert_eq!(text(&record, "fixgw.route"), route, "{record}");
        assert_eq!(text(&record, "severity"), "INFO", "{record}");
    }
    let refused: [(&str, Vec<u8>); 4] = [
        (
            "no_match",
            fix::logon("FIX.4.4", "STRANGER", "VENUE", &[(554, "s3cretPass")]),
        ),
        (
            "ambiguous_field",
            fix::logon("FIX.4.4", "BROKER_A", "VENUE", &[(49, "STRANGER")]),
        ),
        (
            "not_logon",
            fix::order("FIX.4.4", "BROKER_A", "VENUE", 1, 1),
        ),
        ("not_fix", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (reason, bytes) in refused {
        let mut client = existing.log_on("127.0.0.1", &bytes);
        assert_eq!(client.take_to_end(), b"");
        let record = existing.record(client.address());
        assert_eq!(text(&record, "fixgw.reason"), reason, "{record}");
        assert_eq!(text(&record, "severity"), "WARN", "{record}");
    }
    assert_eq!(equities.received().len() + algo.received().len(), 3);
    // VWAP is what a route redacts.
    let log = existing.envoy.output().bytes();
    secret::assert_absent("Envoy's log", &log, &["s3cretPass", "VWAP"]);
}

/// An engine that sends back what it gets, at a Unix socket, until its counterparty has finished.
fn engine_at(path: &Path) -> std::thread::JoinHandle<u64> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (engine, _) = listener.accept().unwrap();
        std::io::copy(&mut &engine, &mut &engine).unwrap()
    })
}

#[test]
fn an_engine_at_a_unix_socket_has_its_sessions_for_as_long_as_they_last() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("engine");
    let engine = engine_at(&path);
    let cluster = format!(
        "clusters:\n  - name: pipe-engine\n    type: STATIC\n    connect_timeout: 1s\n    \
         load_assignment: {{ cluster_name: pipe-engine, endpoints: [{{ lb_endpoints: [{{ endpoint: \
         {{ address: {{ pipe: {{ path: {} }} }} }} }}] }}] }}\n",
        path.display()
    );
    let (equities, algo) = (EchoEngine::start("equities"), EchoEngine::start("algo"));
    let edits = [
        ("clusters:\n", cluster.as_str()),
        (
            "{ \"value\": \"BROKER_A\" } },\n                      \"cluster\": \"equities-engine\"",
            "{ \"value\": \"BROKER_A\" } },\n                      \"cluster\": \"pipe-engine\"",
        ),
        ("\"routes\": [", "\"connectTimeoutMs\": 300, \"routes\": ["),
    ];
    let existing = Existing::start(&tool::filter(), [&equities, &algo], &edits);
    let logon = fix::logon("FIX.4.4", "BROKER_A", "VENUE", &[]);
    let mut client = existing.log_on("127.0.0.1", &logon);
    assert_eq!(client.take(logon.len()), logon);
    // Longer than anybody is tried for.
    let begun = Instant::now();
    let mut sent = logon.len();
    while begun.elapsed() < Duration::from_secs(1) {
        client.send(b"on and on");
        assert_eq!(client.take(9), b"on and on");
        sent += 9;
    }
    client.finish();
    assert_eq!(client.take_to_end(), b"");
    assert_eq!(engine.join().unwrap(), sent as u64);
}

#[test]
fn a_bad_configuration_is_refused_at_load_with_the_route_that_is_wrong() {
    const BROKER_A: &str = "{ \"value\": \"BROKER_A\" } },";
    for (old, new, wanted) in [
        (
            "\"priority\": 10,",
            "\"priority\": 10, \"colour\": \"red\",",
            "routes[2] `london`: unknown field `colour`, expected one of `name`",
        ),
        (
            "\"priority\": 10,",
            "",
            "routes[2] `london`: priority: a route of source ranges alone needs a `priority`",
        ),
        (
            "127.0.1.0/24",
            "127.0.1.1/24",
            "routes[2] `london`: sourceRanges[0]: `127.0.1.1/24` has bits beyond its length; write `127.0.1.0/24`",
        ),
        (
            "127.0.1.0/24",
            "::ffff:127.0.1.0/120",
            "routes[2] `london`: sourceRanges[0]: `::ffff:127.0.1.0/120` is an IPv4 range written as IPv6; write `127.0.1.0/24`",
        ),
        (
            BROKER_A,
            "{ \"value\": 1234 } },",
            "routes[1] `broker-a`: matchFields.SenderCompID49: invalid type: integer, expected a string",
        ),
        (
            "\"matchFields\": { \"SenderCompID49\": { \"value\": \"BROKER_A\" } },",
            "\"matchFields\": { \"Password554\": { \"value\": \"hunter2\" } },",
            "routes[1] `broker-a`: matchFields.Password554: a tag that carries secrets cannot be matched",
        ),
        (
            ", \"redact\": true }",
            " }, \"Strategy20001\": { \"value\": \"TWAP\" }",
            "routes[0] `broker-a-algo`: matchFields.Strategy20001: `AlgoStrategy20001` and `Strategy20001` are the same tag",
        ),
        (
            "\"AlgoStrategy20001\": { \"value\": \"VWAP\", \"redact\": true }",
            "",
            "a configuration is refused: key must be a string at line 8 column",
        ),
        (
            "\"name\": \"broker-a-algo\"",
            "\"name\": \"broker-a\"",
            "two routes are named `broker-a`",
        ),
        (
            "\"AlgoStrategy20001\": { \"value\": \"VWAP\", \"redact\": true }",
            "\"AlgoStrategy20001\": { \"value\": \"VWAP\" } }, \"cluster\": \"x\" }, { \"name\": \"twin\", \"matchFields\": { \
             \"SenderCompID49\": { \"value\": \"BROKER_A\" }",
            "route `twin` takes the same Logons as route `broker-a`, by the same values of SenderCompID49",
        ),
    ] {
        let directory = Directory::new();
        let file = configuration(&directory, &tool::filter(), &[(old, new)]);
        let validation = Command::new(tool::envoy())
            .args(["--mode", "validate", "--log-level", "error", "-c"])
            .arg(file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&validation.stderr);
        assert!(!validation.status.success(), "{new}");
        assert!(said.contains(wanted), "{new}: {said}");
        for value in ["hunter2", "TWAP", "1234"] {
            assert!(!said.contains(value), "{new}: {said}");
        }
    }
}

#[test]
fn two_listeners_of_one_envoy_have_rules_of_their_own() {
    let (equities, algo) = (EchoEngine::start("equities"), EchoEngine::start("algo"));
    let second = unused_port();
    // The same listener again, behind the first one, with other routes.
    let file = tool::repository().join("envoy/existing.yaml");
    let whole = std::fs::read_to_string(file).unwrap();
    let (_, rest) = whole.split_once("  - name: fix\n").unwrap();
    let (listener, _) = rest.split_once("\n  clusters:").unwrap();
    let listener = format!("  - name: fix\n{listener}")
        .replace("name: fix\n", "name: second\n")
        .replace(
            "port_value: 9880",
            &format!("port_value: {}", second.port()),
        )
        .replace("127.0.1.0/24", "127.0.2.0/24")
        .replace("\"BROKER_A\"", "\"BROKER_B\"");
    let both = format!("{listener}\n  clusters:");
    let existing = Existing::start(
        &tool::filter(),
        [&equities, &algo],
        &[("\n  clusters:", &both)],
    );
    let greeting = |address, sender| {
        let mut client = RawClient::connect(address);
        client.send_unless_closed(&fix::logon("FIX.4.4", sender, "VENUE", &[]));
        let record = existing.record(client.address());
        (text(&record, "fixgw.decision") == "ROUTE").then(|| client.take_greeting())
    };
    let equities = Some("equities".to_owned());
    assert_eq!(greeting(existing.address, "BROKER_A"), equities);
    assert_eq!(greeting(second, "BROKER_B"), equities);
    assert_eq!(greeting(existing.address, "BROKER_B"), None);
    assert_eq!(greeting(second, "BROKER_A"), None);
}

#[test]
fn a_vm_that_traps_has_its_inline_routes_back() {
    let (equities, algo) = (EchoEngine::start("equities"), EchoEngine::start("algo"));
    let existing = Existing::start(&tool::filter_with_faults(), [&equities, &algo], &[]);
    for fault in ["PANIC", "TRAP"] {
        let mut client = existing.log_on("127.0.0.1", &fix::logon("FIX.4.4", fault, "VENUE", &[]));
        assert_eq!(client.take_to_end(), b"", "{fault}");
        // Within the back-off Envoy refuses on the worker whose VM failed.
        let logon = fix::logon("FIX.4.4", "BROKER_A", "VENUE", &[]);
        for _ in 0..4 {
            wait_until("a Logon to be routed", || {
                let mut client = existing.log_on("127.0.0.1", &logon);
                let answer = client.take_some();
                (answer.starts_with(b"[equities]")).then_some(())
            });
        }
    }
}
