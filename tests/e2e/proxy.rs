//! Who is the counterparty when a load balancer stands before the gateway, and who may say so? And what does an engine
//! learn of it?
//!
//! Two addresses of this machine play a load balancer that is trusted and one that is not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{self, Directory, Route};
use fixgw_e2e::gateway::{Gateway, LISTENER, Setup};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{Ending, Stream, kind, signal_pid, text, wait_until};
use fixgw_e2e::proxy;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;
use rustix::process::Signal;
use serde_json::Value;

const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

/// A counterparty far away, and where it believes to be connected.
fn far() -> (SocketAddr, SocketAddr) {
    (
        "203.0.113.7:1111".parse().unwrap(),
        "198.51.100.9:2222".parse().unwrap(),
    )
}

fn far_in_ipv6() -> (SocketAddr, SocketAddr) {
    (
        "[2001:db8::7]:1111".parse().unwrap(),
        "[2001:db8::9]:2222".parse().unwrap(),
    )
}

fn v1() -> Vec<u8> {
    proxy::v1(far().0, far().1)
}

fn v2() -> Vec<u8> {
    proxy::v2(far().0, far().1, &[])
}

/// A gateway behind load balancers, with one route for BROKER.
struct Scene {
    gateway: Gateway,
    light: EchoEngine,
    _directory: Directory,
}

impl Scene {
    fn set(headers: &str) -> Self {
        Self::with(headers, |setup| setup)
    }

    fn with(headers: &str, more: impl FnOnce(Setup) -> Setup) -> Self {
        let light = EchoEngine::start("light");
        let directory =
            Directory::of(&[Route::new("broker", "light").value("SenderCompID49", "BROKER")]);
        let setup = Setup::over(&directory)
            .endpoint("light", light.address())
            .arguments([
                "--proxy-protocol",
                headers,
                "--proxy-trusted",
                "127.0.0.2/32",
            ]);
        Self {
            gateway: more(setup).start(),
            light,
            _directory: directory,
        }
    }

    fn from(&self, source: IpAddr) -> RawClient {
        RawClient::connect_from(source, self.gateway.address())
    }

    /// A Logon behind `header` reaches the engine whole and alone; the record about it.
    fn routed(&self, source: IpAddr, header: &[u8], counts_as: Option<SocketAddr>) -> Value {
        let before = self.light.received().len();
        let mut client = self.from(source);
        client.send(&[header, &logon()].concat());
        assert_eq!(client.take_greeting(), "light");
        assert_eq!(client.take(logon().len()), logon());
        assert_eq!(
            self.light.received()[before],
            logon(),
            "no byte of the header"
        );
        let record = self
            .gateway
            .decision_about(counts_as.unwrap_or(client.address()));
        assert_eq!(text(&record, "reason"), "matched", "{record}");
        let proxy = counts_as.map_or(String::new(), |_| client.address().to_string());
        assert_eq!(text(&record, "proxy"), proxy, "{record}");
        record
    }

    /// What is sent from there is closed without a byte and with a record about the address itself.
    fn refused(&self, source: IpAddr, bytes: &[u8]) -> Value {
        let before = self.light.received().len();
        let mut client = self.from(source);
        client.send(bytes);
        assert_eq!(client.take_to_end(), b"");
        let record = self.gateway.decision_about(client.address());
        assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
        assert_eq!(text(&record, "severity"), "WARN", "{record}");
        assert_eq!(
            self.light.received().len(),
            before,
            "the engine saw nothing"
        );
        record
    }

    /// Envoy closes by itself, without a record.
    fn reset(&self, bytes: &[u8]) {
        let decisions = self.gateway.decisions().len();
        let mut client = self.from(TRUSTED);
        client.send_unless_closed(bytes);
        assert_eq!(client.take_to_end(), b"");
        assert_eq!(self.gateway.decisions().len(), decisions);
    }

    /// Waits until it was told that Envoy closed so many connections in all.
    fn wait_told(&self, total: usize, what: &str) {
        let (end, what) = (
            format!("({total} since the start)"),
            format!("on {LISTENER} {what}"),
        );
        self.gateway
            .process()
            .wait_for(&format!("{what} {end}"), |event| {
                let message = text(event, "message");
                kind(event) == "gateway"
                    && text(event, "severity") == "WARN"
                    && message.contains(&what)
                    && message.ends_with(&end)
            });
    }
}

const MALFORMED: &str = "refused: no or malformed PROXY header";
const UNFINISHED: &str = "closed: no whole PROXY header within 10000 ms";

#[test]
fn a_trusted_header_of_either_version_says_who_the_counterparty_is() {
    let scene = Scene::set("required");
    let (source, destination) = far_in_ipv6();
    scene.routed(TRUSTED, &v1(), Some(far().0));
    scene.routed(TRUSTED, &proxy::v1(source, destination), Some(source));
    let other = SocketAddr::from(([203, 0, 113, 8], 1));
    scene.routed(TRUSTED, &proxy::v2(other, far().1, &[]), Some(other));
    let other = SocketAddr::new(source.ip(), 2);
    let record = scene.routed(TRUSTED, &proxy::v2(other, destination, &[]), Some(other));
    assert_eq!(text(&record, "listener"), LISTENER, "{record}");
}

#[test]
fn a_header_and_a_logon_may_come_byte_by_byte() {
    let scene = Scene::set("optional");
    for (header, index) in [v1(), v2()].iter().zip(0..) {
        let mut client = scene.from(TRUSTED);
        client.send_one_by_one(&[header, logon().as_slice()].concat());
        assert_eq!(client.take_greeting(), "light");
        assert_eq!(client.take(logon().len()), logon());
        assert_eq!(scene.light.received()[index], logon());
    }
    let found = scene
        .gateway
        .process()
        .wait_all("both decisions", |events| {
            let from_far = |event: &&Value| text(event, "source") == far().0.to_string();
            let found: Vec<_> = events.iter().filter(from_far).cloned().collect();
            (found.len() == 2).then_some(found)
        });
    assert_eq!(text(&found[1], "reason"), "matched");
}

#[test]
fn a_load_balancer_that_speaks_for_nobody_counts_as_itself() {
    for headers in ["required", "optional"] {
        let scene = Scene::set(headers);
        scene.routed(TRUSTED, b"PROXY UNKNOWN\r\n", None);
        scene.routed(TRUSTED, &proxy::v2_local(far().0, far().1), None);
    }
}

#[test]
fn a_header_from_an_untrusted_address_is_refused_with_the_address_itself_as_source() {
    for headers in ["required", "optional"] {
        let scene = Scene::set(headers);
        for header in [v1(), v2()] {
            let record = scene.refused(STRANGER, &[header, logon()].concat());
            assert_eq!(text(&record, "reason"), "untrusted_proxy", "{record}");
            let detail = text(&record, "detail");
            assert!(detail.contains(&far().0.to_string()), "{record}");
            assert_eq!(text(&record, "proxy"), "", "{record}");
            assert_eq!(text(&record, "received"), "", "{record}");
        }
        // One that forges where it was connected to, which an engine could be told.
        let mut client = scene.from(STRANGER);
        client.send(&[proxy::v2(client.address(), far().1, &[]), logon()].concat());
        assert_eq!(client.take_to_end(), b"");
        let record = scene.gateway.decision_about(client.address());
        assert_eq!(text(&record, "reason"), "untrusted_proxy", "{record}");
    }
}

#[test]
fn an_untrusted_header_with_nothing_behind_it_is_counted_and_not_told() {
    let scene = Scene::with("required", Setup::admin);
    let mut client = scene.from(STRANGER);
    client.send(&v2());
    // Before that, Envoy would see a connection that ends within its header, and our filter none.
    wait_until("the header to be taken", || {
        let count = scene.gateway.statistics()["proxy_proto.main.versions.v2.found"];
        (count == 1).then_some(())
    });
    client.finish();
    assert_eq!(client.take_to_end(), b"");
    scene.gateway.process().wait_for("the count", |event| {
        kind(event) == "counts" && event["silentConnections"].as_u64() > Some(0)
    });
    assert!(scene.gateway.decisions_about(client.address()).is_empty());
}

#[test]
fn where_headers_are_optional_a_connection_without_one_is_the_counterpartys_own() {
    let scene = Scene::set("optional");
    scene.routed(STRANGER, b"", None);
    scene.routed(TRUSTED, b"", None);
    scene.routed(TRUSTED, &v2(), Some(far().0));
    // From a stranger these change nothing either.
    scene.routed(STRANGER, b"PROXY UNKNOWN\r\n", None);
    scene.routed(STRANGER, &proxy::v2_local(far().0, far().1), None);
    let record = scene.refused(STRANGER, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(text(&record, "reason"), "not_fix", "{record}");
}

#[test]
fn where_headers_are_required_what_comes_without_one_is_reset_counted_and_told() {
    let scene = Scene::with("required", Setup::admin);
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[0; 64]].concat();
    let untidy = [
        logon(),
        hello,
        b"no header at all, but long enough".to_vec(),
    ];
    for bytes in &untidy {
        scene.reset(bytes);
    }
    scene.wait_told(untidy.len(), MALFORMED);
    let statistics = scene.gateway.statistics();
    assert_eq!(statistics["proxy_proto.main.not_found_disallowed"], 3);
    // A stranger's LOCAL is a header, and refused as one.
    let local = proxy::v2_local(far().0, far().1);
    let record = scene.refused(STRANGER, &[local, logon()].concat());
    assert_eq!(text(&record, "reason"), "untrusted_proxy", "{record}");
    scene.routed(TRUSTED, &v1(), Some(far().0));
}

#[test]
fn a_malformed_header_is_reset_in_either_mode_counted_and_told() {
    for headers in ["required", "optional"] {
        let scene = Scene::set(headers);
        let (source, destination) = far();
        let mut overrun = proxy::v2(source, destination, &[(0x04, b"four")]);
        let last_length = overrun.len() - 5;
        overrun[last_length] = 200;
        let mut of_version_3 = v2();
        of_version_3[12] = 0x31;
        let malformed = [
            [
                b"PROXY TCP4 203.0.113.7 198.51.100.9 1111 2222".as_slice(),
                &[b' '; 200],
                b"\r\n",
            ]
            .concat(),
            [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat(),
            b"PROXY TCP4 999.0.0.1 198.51.100.9 1111 2222\r\n".to_vec(),
            overrun,
            of_version_3,
        ];
        for header in &malformed {
            scene.reset(&[header.as_slice(), &logon()].concat());
        }
        scene.wait_told(malformed.len(), MALFORMED);
        scene.routed(TRUSTED, &v2(), Some(source));
    }
}

#[test]
fn a_header_with_ten_kilobytes_or_a_wrong_checksum_is_read_for_its_addresses_alone() {
    let scene = Scene::set("required");
    let (source, destination) = far();
    let large = proxy::v2(source, destination, &[(0x04, &[0; 10 * 1024])]);
    scene.routed(TRUSTED, &large, Some(source));
    // Envoy does not look at PP2_TYPE_CRC32C.
    let other = SocketAddr::from(([203, 0, 113, 8], 1));
    let unchecked = proxy::v2(other, destination, &[(0x03, &[1, 2, 3, 4])]);
    scene.routed(TRUSTED, &unchecked, Some(other));
}

#[test]
fn a_second_header_is_no_logon() {
    let scene = Scene::set("required");
    let mut client = scene.from(TRUSTED);
    client.send(&[v2(), v2(), logon()].concat());
    assert_eq!(client.take_to_end(), b"");
    let record = scene.gateway.decision_about(far().0);
    assert_eq!(text(&record, "reason"), "not_fix", "{record}");
    assert!(text(&record, "detail").contains("PROXY"), "{record}");
}

#[test]
fn half_a_header_waits_for_the_other_half_and_not_for_ever() {
    let scene = Scene::set("required");
    let header = v2();
    let (first, second) = header.split_at(20);
    let mut late = scene.from(TRUSTED);
    late.send(first);
    let mut never = scene.from(TRUSTED);
    never.send(first);
    // Whoever connects meanwhile is served, so the halves have been seen by then.
    scene.routed(
        TRUSTED,
        &proxy::v2(SocketAddr::from(([203, 0, 113, 8], 1)), far().1, &[]),
        Some(SocketAddr::from(([203, 0, 113, 8], 1))),
    );
    late.send(&[second, &logon()].concat());
    assert_eq!(late.take_greeting(), "light");
    assert_eq!(late.take(logon().len()), logon());
    assert_eq!(never.take_to_end(), b"");
    scene.wait_told(1, UNFINISHED);
    late.send(b"still here");
    assert_eq!(late.take(10), b"still here");
}

/// A reject engine that also writes what it says into a file, which its path leads to.
fn reject_engine_on_record(directory: &Directory) -> std::path::PathBuf {
    let path = |name: &str| directory.path().join(name);
    let (program, fifo, said) = (path("reject-engine"), path("fifo"), path("said"));
    // The engine takes the shell's place, so that it ends as usual, and `tee` with it.
    let script = format!(
        "#!/bin/sh\nmkfifo {fifo}\ntee {said} < {fifo} &\nexec {} \"$@\" > {fifo}\n",
        tool::program("fixgw-reject-engine").display(),
        fifo = fifo.display(),
        said = said.display(),
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[test]
fn behind_a_load_balancer_the_logout_has_its_reason_and_the_reject_engine_the_counterparty() {
    let aside = Directory::new();
    let program = reject_engine_on_record(&aside);
    let scene = Scene::with("required", |setup| setup.reject_engine(&program));
    let (_, destination) = far();
    let stranger = fix::logon("FIX.4.4", "NOBODY", "VENUE", &[]);
    // Whoever connects to the load balancer may not choose the reason.
    let forged: &[(u8, &[u8])] = &[(0xE0, b"logon_too_large"), (0xE0, b"matched")];
    let headers = [
        v1(),
        v2(),
        proxy::v2(SocketAddr::from(([203, 0, 113, 8], 1)), destination, forged),
    ];
    for header in headers {
        let mut client = scene.from(TRUSTED);
        client.send(&[header, stranger.clone()].concat());
        let logout = fix::read(&client.take_to_end());
        let said = fix::value(&logout, 58);
        assert_eq!(said, Some("No matching session configuration"));
    }
    for source in ["203.0.113.7:1111", "203.0.113.8:1"] {
        let line = format!("answered {source} reason=no_match");
        wait_until(&format!("`{line}`"), || {
            let said = std::fs::read_to_string(aside.path().join("said")).ok()?;
            said.contains(&line).then_some(())
        });
    }
}

#[test]
fn headers_need_somebody_who_may_send_them_and_the_other_way_round() {
    let directory = Directory::new();
    let cases: [(&[&str], &[&str]); 5] = [
        (
            &["--proxy-protocol", "required"],
            &["--proxy-trusted 10.0.0.0/24"],
        ),
        (
            &["--proxy-trusted", "10.0.0.0/24"],
            &["--proxy-protocol required"],
        ),
        (
            &[
                "--proxy-protocol",
                "optional",
                "--proxy-trusted",
                "10.0.0.1/24",
            ],
            &["10.0.0.1/24", "10.0.0.0/24", "10.0.0.1/32"],
        ),
        (
            &[
                "--proxy-protocol",
                "optional",
                "--proxy-trusted",
                "balancer",
            ],
            &["balancer", "203.0.113.0/24"],
        ),
        (&["--proxy-protocol", "maybe"], &["required, optional"]),
    ];
    for (arguments, told) in cases {
        let mut setup = Setup::over(&directory);
        for argument in arguments {
            setup = setup.arguments([*argument]);
        }
        let mut gateway = setup.spawn();
        let status = gateway.process_mut().wait_exit();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        let said = gateway.process().output().text(Stream::Err);
        for told in told {
            assert!(said.contains(told), "`{told}` in {said}");
        }
        assert!(gateway.children().is_empty(), "{arguments:?}");
    }
}

/// A header of this version, or none.
fn header(version: Option<&str>, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    match version {
        Some("v1") => proxy::v1(source, destination),
        Some("v2") => proxy::v2(source, destination, &[]),
        Some(other) => panic!("no version `{other}`"),
        None => Vec::new(),
    }
}

/// Says of a Service which header its engines want.
fn annotate(directory: &Directory, service: &str, version: Option<&str>) {
    let yaml = version.map_or_else(
        || fixture::service_yaml(service),
        |version| fixture::proxied_service_yaml(service, version),
    );
    directory.write(&format!("{service}-service"), &yaml);
}

/// A gateway with BROKER at an engine of the Service `told`, which wants a header.
fn with_engine_that_is_told(
    version: &str,
    more: impl FnOnce(Setup) -> Setup,
) -> (Directory, EchoEngine, Gateway) {
    let told = EchoEngine::start("told");
    let directory =
        Directory::of(&[Route::new("broker", "told").value("SenderCompID49", "BROKER")]);
    directory.put_service("told", &[told.address()]);
    annotate(&directory, "told", Some(version));
    let gateway = more(Setup::over(&directory)).start();
    (directory, told, gateway)
}

#[test]
fn an_engine_is_told_the_address_once_before_the_logon_and_the_logon_once() {
    for version in ["v1", "v2"] {
        let (_directory, told, gateway) = with_engine_that_is_told(version, |setup| setup);
        for (one_by_one, index) in [(false, 0), (true, 1)] {
            let mut client = RawClient::connect(gateway.address());
            let header = header(Some(version), client.address(), gateway.address());
            let wanted = [header, logon(), b"and more".to_vec()].concat();
            if one_by_one {
                client.send_one_by_one(&logon());
            } else {
                client.send(&logon());
            }
            assert_eq!(client.take_greeting(), "told");
            client.send(b"and more");
            assert_eq!(client.take(wanted.len()), wanted);
            assert_eq!(told.received()[index], wanted);
        }
        // One that another route leads elsewhere tells nothing, and neither does a connection that is refused.
        let mut refused = RawClient::connect(gateway.address());
        refused.send(&fix::logon("FIX.4.4", "NOBODY", "VENUE", &[]));
        let _ = refused.take_to_end();
        assert_eq!(told.received().len(), 2);
    }
}

#[test]
fn an_engine_behind_two_proxies_is_told_what_the_load_balancer_said_and_no_more() {
    for version in ["v1", "v2"] {
        let (_directory, told, gateway) = with_engine_that_is_told(version, |setup| {
            setup.arguments([
                "--proxy-protocol",
                "required",
                "--proxy-trusted",
                "127.0.0.2/32",
            ])
        });
        let pairs = [far(), far_in_ipv6()];
        for ((source, destination), index) in pairs.into_iter().zip(0..) {
            let mut client = RawClient::connect_from(TRUSTED, gateway.address());
            let said = proxy::v2(source, destination, &[(0xE0, b"matched"), (0x02, b"host")]);
            client.send(&[said, logon()].concat());
            assert_eq!(client.take_greeting(), "told");
            let wanted = [header(Some(version), source, destination), logon()].concat();
            assert_eq!(client.take(wanted.len()), wanted);
            assert_eq!(told.received()[index], wanted);
        }
    }
}

/// Sessions at a light engine, with what it should have received of each.
struct Live {
    client: RawClient,
    sent: Vec<u8>,
}

/// Opens sessions until one has the header that is wanted. Each of them has this one or the one before, and its Logon
/// once and whole.
fn session_with(
    version: Option<&str>,
    before: Option<&str>,
    gateway: &Gateway,
    engine: &EchoEngine,
) -> Live {
    wait_until(&format!("a session with {version:?}"), || {
        let index = engine.received().len();
        let mut client = RawClient::connect(gateway.address());
        client.send(&logon());
        let form = |version| {
            let header = header(version, client.address(), gateway.address());
            [header, logon()].concat()
        };
        let (wanted, old) = (form(version), form(before));
        let received = wait_until("the Logon", || {
            let bytes = engine.received().get(index).cloned()?;
            bytes.ends_with(&logon()).then_some(bytes)
        });
        assert!(received == wanted || received == old, "{received:?}");
        (received == wanted).then(|| {
            client.take_greeting();
            client.take(wanted.len());
            let sent = wanted;
            Live { client, sent }
        })
    })
}

#[test]
fn an_annotation_that_comes_changes_and_goes_ends_no_session_and_loses_no_byte() {
    let session = Session::new("FIX.4.4", "FUND", "LIVE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let (tap, light) = (Tap::before(engine.address()), EchoEngine::start("light"));
    let directory = Directory::of(&[
        Route::new("fund", "engine").value("SenderCompID49", "FUND"),
        Route::new("broker", "light").value("SenderCompID49", "BROKER"),
    ]);
    directory.put_service("engine", &[tap.address()]);
    directory.put_service("light", &[light.address()]);
    let gateway = Setup::over(&directory).start();
    let counterparty = Peer::counterparty(
        "counterparty",
        gateway.address(),
        std::slice::from_ref(&session),
    );
    let mut quickfix = LiveSession::begin(&session, &counterparty, &engine, &tap);
    let mut live = vec![session_with(None, None, &gateway, &light)];
    let mut before = None;
    for version in [Some("v2"), Some("v1"), None] {
        for service in ["engine", "light"] {
            annotate(&directory, service, version);
        }
        live.push(session_with(version, before, &gateway, &light));
        before = version;
        for session in &mut live {
            let order = fix::order("FIX.4.4", "BROKER", "VENUE", 2, 1);
            session.client.send(&order);
            assert_eq!(session.client.take(order.len()), order);
            session.sent.extend(order);
        }
        quickfix.exchange(5);
    }
    quickfix.assert_unbroken();
    let received = light.received();
    for session in &live {
        assert!(received.contains(&session.sent), "bytes of both ends agree");
    }
}

#[test]
fn an_annotation_that_changes_while_the_control_plane_is_away_takes_effect_when_it_is_back() {
    let (directory, told, gateway) = with_engine_that_is_told("v1", |setup| setup);
    let mut live = session_with(Some("v1"), None, &gateway, &told);
    let control = gateway.child("control");
    // Stopped, so that it cannot see the change before it ends.
    signal_pid(control, Signal::STOP);
    annotate(&directory, "told", Some("v2"));
    gateway.kill_child("control");
    let _later = session_with(Some("v2"), Some("v1"), &gateway, &told);
    live.client.send(b"still here");
    assert_eq!(live.client.take(10), b"still here");
}

/// Threads that begin one session after the other while something changes.
const CONNECTING: usize = 4;

#[test]
fn sessions_that_begin_while_annotations_change_have_one_form_or_another_and_lose_no_byte() {
    let (directory, _told, gateway) = with_engine_that_is_told("v2", |setup| setup);
    let changed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let begin = || {
            while !changed.load(Ordering::Acquire) {
                let mut client = RawClient::connect(gateway.address());
                client.send(&logon());
                assert_eq!(client.take_greeting(), "told");
                let form = |version| header(version, client.address(), gateway.address());
                let forms = [form(Some("v1")), form(Some("v2")), form(None)];
                let first = client.take(1);
                let header = forms
                    .into_iter()
                    .map(|header| [header, logon()].concat())
                    .find(|form| form.starts_with(&first))
                    .expect("a header or a Logon begins like this");
                assert_eq!(client.take(header.len() - 1), header[1..]);
            }
        };
        let ending = Ending(&changed);
        let connecting: Vec<_> = (0..CONNECTING).map(|_| scope.spawn(begin)).collect();
        let mut before = Some("v2");
        for version in [Some("v1"), None, Some("v2"), None, Some("v1")] {
            annotate(&directory, "told", version);
            wait_until(&format!("a session with {version:?}"), || {
                let mut client = RawClient::connect(gateway.address());
                client.send(&logon());
                client.take_greeting();
                let form = |version| header(version, client.address(), gateway.address());
                let (wanted, old) = (form(version), form(before));
                let shortest = wanted.len().min(old.len()) + logon().len();
                let received = client.take(shortest);
                [wanted, logon()]
                    .concat()
                    .starts_with(&received)
                    .then_some(())
            });
            before = version;
        }
        drop(ending);
        for connecting in connecting {
            connecting.join().expect("every session begins");
        }
    });
}

/// More clusters than go to a proxy at once.
const SERVICES: usize = 150;

#[test]
fn many_annotations_at_once_take_effect_in_batches() {
    let told = EchoEngine::start("told");
    let directory = Directory::new();
    let name = |index: usize| format!("engine-{index:03}");
    let (mut routes, mut slices) = (String::new(), String::new());
    for index in 0..SERVICES {
        let route = Route::new(&name(index), &name(index));
        routes += "---\n";
        routes += &route.value("SenderCompID49", &name(index)).yaml();
        slices += &fixture::slices_yaml(&name(index), &[told.address()]);
    }
    let services = |yaml: &dyn Fn(&str) -> String| {
        let documents = (0..SERVICES).map(|index| format!("---\n{}", yaml(&name(index))));
        directory.write("services", &documents.collect::<String>());
    };
    directory.write("routes", &routes);
    directory.write("slices", &slices);
    services(&fixture::service_yaml);
    let gateway = Setup::over(&directory).start();
    services(&|name| fixture::proxied_service_yaml(name, "v2"));
    for index in [0, SERVICES - 1] {
        wait_until("a session with a header", || {
            let mut client = RawClient::connect(gateway.address());
            client.send(&fix::logon("FIX.4.4", &name(index), "VENUE", &[]));
            client.take_greeting();
            (client.take(1) == proxy::SIGNATURE[..1]).then_some(())
        });
    }
}
