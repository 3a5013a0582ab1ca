//! Do listeners with TLS take whom they should, say why they do not take others, and change their certificates under live
//! sessions?

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup, TLS_LISTENER};
use fixgw_e2e::peer::{Counterparty, Peer, Session};
use fixgw_e2e::process::{Stream, kind, text};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::secret;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tls::{
    Authority, Client, Files, GATEWAY, Issued, TlsClient, Validity, hello_of_tls_1_1,
};
use fixgw_e2e::unbroken::LiveSession;
use rustix::fs::{CWD, RenameFlags};
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

/// The password that goes through each session of these tests.
const PASSWORD: &str = "hunter2-Kestrel";

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[(554, PASSWORD)])
}

fn broker() -> Directory {
    Directory::of(&[Route::new("broker", "light").value("SenderCompID49", "BROKER")])
}

/// A gateway with a listener with TLS, and one without, before a light engine.
struct Scene {
    authority: Authority,
    issued: Issued,
    files: Files,
    directory: Directory,
    light: EchoEngine,
}

impl Scene {
    fn set() -> Self {
        let authority = Authority::new("the gateway's CA");
        let issued = authority.issue(GATEWAY);
        Self {
            files: Files::of(&issued),
            issued,
            authority,
            directory: broker(),
            light: EchoEngine::start("light"),
        }
    }

    fn setup(&self) -> Setup {
        Setup::over(&self.directory)
            .endpoint("light", self.light.address())
            .tls(&self.files)
    }

    fn client(&self) -> Client<'_> {
        Client::trusting(&self.authority)
    }

    /// A client that the gateway takes, with its session.
    fn session(&self, gateway: &Gateway) -> TlsClient {
        session(gateway, &self.client())
    }
}

fn session(gateway: &Gateway, client: &Client<'_>) -> TlsClient {
    let mut client = client.connect(gateway.address_of(TLS_LISTENER));
    let greeting = client.greeting_after(&logon());
    assert_eq!(greeting.as_deref(), Ok("light"));
    client
}

/// Fails unless a client is refused; the decision about it.
fn refused(gateway: &Gateway, client: &Client<'_>) -> Value {
    let mut client = client.connect(gateway.address_of(TLS_LISTENER));
    let refusal = client.greeting_after(&logon());
    assert!(refusal.is_err(), "it was let in: {refusal:?}");
    gateway.decision_about(client.address())
}

fn assert_failed_handshake(record: &Value, words: &str, envoy: &str) {
    assert_eq!(text(record, "decision"), "CLOSED", "{record}");
    assert_eq!(text(record, "reason"), "tls_handshake_failed", "{record}");
    assert_eq!(text(record, "severity"), "WARN", "{record}");
    assert_eq!(text(record, "listener"), TLS_LISTENER, "{record}");
    let detail = text(record, "detail");
    assert!(detail.contains(words) && detail.contains(envoy), "{detail}");
    assert_eq!(record["tlsVersion"], Value::Null, "{record}");
}

fn wait_counted(gateway: &Gateway, key: &str, count: u64) {
    gateway
        .process()
        .wait_for(&format!("{count} {key}"), |event| {
            kind(event) == "counts" && event[key].as_u64() == Some(count)
        });
}

#[test]
fn both_versions_connect_and_the_record_says_which_and_which_name_was_asked_for() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    for (version, label) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let mut client = session(&gateway, &scene.client().version(version));
        client.assert_echoes(b"more");
        assert_eq!(client.shown(), scene.issued.der());
        let record = gateway.decision_about(client.address());
        assert_eq!(text(&record, "decision"), "ROUTE", "{record}");
        assert_eq!(text(&record, "tlsVersion"), label, "{record}");
        assert_eq!(text(&record, "serverName"), GATEWAY, "{record}");
        assert_eq!(record["clientCertificate"], Value::Null, "{record}");
    }
    // Beside it there is a listener without TLS.
    let mut plain = RawClient::connect(gateway.address());
    plain.send(&logon());
    assert_eq!(plain.take_greeting(), "light");
    let record = gateway.decision_about(plain.address());
    for key in ["tlsVersion", "serverName", "clientCertificate"] {
        assert_eq!(record[key], Value::Null, "{record}");
    }
}

#[test]
fn a_version_below_the_minimum_is_refused_and_said() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    let mut old = RawClient::connect(gateway.address_of(TLS_LISTENER));
    old.send(&hello_of_tls_1_1());
    let _alert = old.take_to_end();
    let record = gateway.decision_about(old.address());
    assert_failed_handshake(&record, "below the minimum", "UNSUPPORTED_PROTOCOL");
    wait_counted(&gateway, "failedHandshakes", 1);
    let strict = scene.setup().arguments(["--tls-min", "1.3"]).start();
    let record = refused(&strict, &scene.client().version(&TLS12));
    assert_failed_handshake(&record, "below the minimum", "UNSUPPORTED_PROTOCOL");
    let _ = session(&strict, &scene.client().version(&TLS13));
}

#[test]
fn with_tls_alone_no_port_takes_plaintext() {
    let scene = Scene::set();
    let gateway = scene.setup().without_listener().start();
    let _ = scene.session(&gateway);
    let events = gateway.process().events();
    let listening: Vec<&str> = events
        .iter()
        .filter(|event| kind(event) == "listening")
        .map(|event| text(event, "name"))
        .collect();
    assert_eq!(listening, [TLS_LISTENER]);
}

#[test]
fn only_the_cipher_suites_that_were_asked_for_are_taken() {
    let scene = Scene::set();
    let suite = "ECDHE-RSA-AES128-GCM-SHA256";
    let gateway = scene.setup().arguments(["--tls-ciphers", suite]).start();
    // The certificate is an ECDSA one: no suite is left.
    let record = refused(&gateway, &scene.client().version(&TLS12));
    assert_failed_handshake(&record, "no cipher suite", "NO_SHARED_CIPHER");
    // They are not about TLS 1.3.
    let _ = session(&gateway, &scene.client().version(&TLS13));
}

#[test]
fn every_cipher_suite_that_can_be_asked_for_is_one_that_envoy_has() {
    let scene = Scene::set();
    let suites = fixgw_operator_suites();
    let gateway = scene.setup().arguments(["--tls-ciphers", &suites]).start();
    let _ = session(&gateway, &scene.client().version(&TLS12));
}

/// What `fixgw up --help` lists.
fn fixgw_operator_suites() -> String {
    let help = std::process::Command::new(fixgw_e2e::tool::program("fixgw"))
        .args(["up", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let suites: Vec<&str> = help
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("ECDHE-"))
        .collect();
    assert!(suites.len() >= 6, "{help}");
    suites.join(":")
}

#[test]
fn with_a_client_ca_only_a_certificate_of_it_gets_in_and_each_refusal_has_its_reason() {
    let scene = Scene::set();
    let (clients, strangers) = (Authority::new("brokers"), Authority::new("strangers"));
    scene.files.put_client_ca(&clients.pem());
    let gateway = scene.setup().client_ca(&scene.files).start();
    let good = clients.issue("BROKER desk 1");
    let expired = clients.issue_valid("BROKER desk 0", Validity::Over);
    let early = clients.issue_valid("BROKER desk 2", Validity::Later);
    let other = strangers.issue("BROKER desk 1");
    let mut failed = 0;
    for version in [&TLS12, &TLS13] {
        let client = scene.client().version(version);
        let record =
            gateway.decision_about(session(&gateway, &client.clone().showing(&good)).address());
        assert_eq!(text(&record, "decision"), "ROUTE", "{record}");
        assert_eq!(text(&record, "clientCertificate"), "CN=BROKER desk 1");
        for (certificate, words, envoy) in [
            (
                None,
                "sent no certificate",
                "PEER_DID_NOT_RETURN_A_CERTIFICATE",
            ),
            (Some(&other), "does not know", "CERTIFICATE_VERIFY_FAILED"),
            (Some(&expired), "has expired", "CERTIFICATE_VERIFY_FAILED"),
            (Some(&early), "not valid yet", "CERTIFICATE_VERIFY_FAILED"),
        ] {
            let mut client = client.clone();
            if let Some(certificate) = certificate {
                client = client.showing(certificate);
            }
            let record = refused(&gateway, &client);
            assert_failed_handshake(&record, words, envoy);
            assert_eq!(record["clientCertificate"], Value::Null, "{record}");
            failed += 1;
        }
    }
    wait_counted(&gateway, "failedHandshakes", failed);
    assert_eq!(scene.light.received().len(), 2, "nobody else got through");
}

#[test]
fn what_is_no_tls_is_told_on_a_port_with_tls_and_tls_on_one_without() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    for (bytes, words) in [
        (logon(), "speak FIX without TLS"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "HTTP"),
    ] {
        let mut plain = RawClient::connect(gateway.address_of(TLS_LISTENER));
        plain.send(&bytes);
        let _alert = plain.take_to_end();
        let record = gateway.decision_about(plain.address());
        assert_failed_handshake(&record, words, "OPENSSL_internal");
        assert!(!record.to_string().contains(PASSWORD));
    }
    let mut client = scene.client().connect(gateway.address());
    assert!(client.greeting_after(&logon()).is_err());
    let record = gateway.decision_about(client.address());
    assert_eq!(text(&record, "reason"), "not_fix", "{record}");
    assert!(text(&record, "detail").contains("TLS"), "{record}");
    assert!(scene.light.received().is_empty());
}

#[test]
fn a_client_that_does_not_trust_the_gateway_is_said_to_have_refused_it() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    let elsewhere = Authority::new("elsewhere");
    for (client, words) in [
        (Client::trusting(&elsewhere), "does not know"),
        (
            scene.client().asking_for("another.example"),
            "refused this listener's certificate",
        ),
    ] {
        assert_failed_handshake(&refused(&gateway, &client), words, "ALERT");
    }
    wait_counted(&gateway, "failedHandshakes", 2);
}

#[test]
fn who_leaves_in_the_middle_of_the_handshake_counts_as_silent() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    let mut hello = Vec::new();
    scene.client().connection().write_tls(&mut hello).unwrap();
    let mut left = Vec::new();
    for _ in 0..4 {
        let mut client = RawClient::connect(gateway.address_of(TLS_LISTENER));
        client.send(&hello);
        let _server_hello = client.take(5);
        left.push(client.address());
        client.reset();
    }
    wait_counted(&gateway, "silentConnections", 4);
    for address in left {
        assert!(gateway.decisions_about(address).is_empty());
    }
}

#[test]
fn who_never_begins_a_handshake_or_never_ends_it_is_closed_at_the_logons_deadline() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    let mut hello = Vec::new();
    scene.client().connection().write_tls(&mut hello).unwrap();
    let mut clients = [
        RawClient::connect(gateway.address_of(TLS_LISTENER)),
        RawClient::connect(gateway.address_of(TLS_LISTENER)),
        RawClient::connect(gateway.address_of(TLS_LISTENER)),
    ];
    clients[1].send(&hello[..hello.len() - 1]);
    clients[2].send(&hello);
    for client in &mut clients {
        let _ = client.take_to_end();
        let record = gateway.decision_about(client.address());
        assert_eq!(text(&record, "reason"), "logon_timeout", "{record}");
        assert_eq!(text(&record, "listener"), TLS_LISTENER, "{record}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_a_live_quickfix_session_goes_on_unbroken() {
    let scene = Scene::set();
    let session = Session::new("FIX.4.4", "BROKER", "VENUE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let clients = Authority::new("brokers");
    scene.files.put_client_ca(&clients.pem());
    let gateway = Setup::over(&scene.directory)
        .endpoint("light", tap.address())
        .tls(&scene.files)
        .client_ca(&scene.files)
        .start();
    let own = clients.issue("BROKER");
    let own_files = Files::of(&own);
    own_files.put_client_ca(&scene.authority.pem());
    let counterparty = Counterparty::new(
        "counterparty",
        gateway.address_of(TLS_LISTENER),
        std::slice::from_ref(&session),
    )
    .tls(&own_files)
    .start();
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    let new_ca = Authority::new("brokers again");
    let newcomer = new_ca.issue("BROKER newcomer");
    for round in 0..3 {
        let issued = scene.authority.issue(GATEWAY);
        let mark = gateway.mark();
        scene.files.put_identity(&issued);
        if round == 1 {
            scene.files.put_client_ca(&new_ca.pem());
            gateway.wait_said(mark, "INFO", "client CA");
        }
        gateway.wait_said(mark, "INFO", "tls.crt");
        // Another session to the same engine: the engine would refuse it, the gateway does not.
        let client = scene.client();
        let client = client.showing(if round == 0 { &own } else { &newcomer });
        let mut client = client.connect(gateway.address_of(TLS_LISTENER));
        let _ = client.greeting_after(&fix::logon("FIX.4.4", "NOBODY", "VENUE", &[]));
        assert_eq!(client.shown(), issued.der(), "round {round}");
        live.exchange(5);
    }
    // The live session's own certificate is of a CA that is gone by now.
    let record = refused(&gateway, &scene.client().showing(&own));
    assert_failed_handshake(&record, "does not know", "CERTIFICATE_VERIFY_FAILED");
    let exchanged = live.assert_unbroken();
    assert_eq!((exchanged.to_engine, exchanged.to_counterparty), (21, 21));
    live.log_out();
}

#[test]
fn a_client_ca_that_is_replaced_decides_about_new_connections_only() {
    let scene = Scene::set();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    scene.files.put_client_ca(&old.pem());
    let gateway = scene.setup().client_ca(&scene.files).start();
    let (of_old, of_new) = (old.issue("BROKER 1"), new.issue("BROKER 2"));
    let mut live = session(&gateway, &scene.client().showing(&of_old));
    refused(&gateway, &scene.client().showing(&of_new));
    // Both for a while, as one does.
    let mark = gateway.mark();
    scene.files.put_client_ca(&(old.pem() + &new.pem()));
    gateway.wait_said(mark, "INFO", "the client CA");
    for certificate in [&of_old, &of_new] {
        let _ = session(&gateway, &scene.client().showing(certificate));
    }
    let mark = gateway.mark();
    scene.files.put_client_ca(&new.pem());
    gateway.wait_said(mark, "INFO", "the client CA");
    let _ = session(&gateway, &scene.client().showing(&of_new));
    let record = refused(&gateway, &scene.client().showing(&of_old));
    assert_failed_handshake(&record, "does not know", "CERTIFICATE_VERIFY_FAILED");
    // A broken one changes nothing.
    let mark = gateway.mark();
    scene.files.put_client_ca("broken");
    gateway.wait_said(mark, "ERROR", "ca.pem");
    let _ = session(&gateway, &scene.client().showing(&of_new));
    live.assert_echoes(b"still here");
}

/// Both at once: with one after the other, the gateway may see that there is none in between, and say so.
fn swap(one: &Path, other: &Path) {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn a_bad_certificate_leaves_the_old_one_in_use_until_it_is_repaired() {
    let scene = Scene::set();
    let gateway = scene.setup().start();
    let mut live = scene.session(&gateway);
    let (certificate, key) = (scene.files.certificate(), scene.files.key());
    let aside = certificate.with_extension("aside");
    let stranger = scene.authority.issue(GATEWAY);
    let expired = scene.authority.issue_valid(GATEWAY, Validity::Over);
    let early = scene.authority.issue_valid(GATEWAY, Validity::Later);
    let put = |issued: &Issued| scene.files.put_identity(issued);
    let faults: [(&str, &dyn Fn(), &str); 7] = [
        (
            "another key",
            &|| scene.files.put(&key, &stranger.key),
            "is not that of",
        ),
        ("expired", &|| put(&expired), "expired at 2001"),
        ("not valid yet", &|| put(&early), "not valid before 3001"),
        (
            "garbage",
            &|| scene.files.put(&certificate, "garbage"),
            "holds no certificate",
        ),
        (
            "an empty key",
            &|| scene.files.put(&key, ""),
            "holds no private key",
        ),
        (
            "gone",
            &|| std::fs::remove_file(&certificate).unwrap(),
            "cannot be read",
        ),
        (
            "a directory",
            &|| {
                std::fs::create_dir(&aside).unwrap();
                swap(&aside, &certificate);
            },
            "cannot be read",
        ),
    ];
    for (name, damage, part) in faults {
        let mark = gateway.mark();
        damage();
        let said = gateway.wait_said(mark, "ERROR", part);
        let message = text(&said, "message");
        assert!(message.contains("stays in use"), "{name}: {message}");
        assert!(
            message.contains("tls.crt") || message.contains("tls.key"),
            "{message}"
        );
        assert_eq!(
            scene.session(&gateway).shown(),
            scene.issued.der(),
            "{name}"
        );
        live.assert_echoes(b"on");
        // The repair with what was in use is noticed; the error of each fault was told once.
        let mark = gateway.mark();
        if certificate.is_dir() {
            swap(&aside, &certificate);
        }
        put(&scene.issued);
        gateway.wait_said(mark, "INFO", "again the one in use");
    }
    let errors = gateway.process().events();
    let errors = errors
        .iter()
        .filter(|event| kind(event) == "gateway" && text(event, "severity") == "ERROR");
    assert_eq!(errors.count(), 7, "one for each fault");
    // And so is a repair with something new.
    scene.files.put(&key, &stranger.key);
    gateway.wait_said(gateway.mark(), "ERROR", "is not that of");
    let mark = gateway.mark();
    put(&stranger);
    gateway.wait_said(mark, "INFO", "is in use");
    assert_eq!(scene.session(&gateway).shown(), stranger.der());
    live.assert_echoes(b"on");
}

#[test]
fn files_may_be_rewritten_in_place_or_swapped_by_a_symlink() {
    let scene = Scene::set();
    // As Kubernetes lays out a mounted Secret: tls.crt → ..data/tls.crt, ..data → ..VERSION
    for (version, issued) in [
        ("..1", &scene.issued),
        ("..2", &scene.authority.issue(GATEWAY)),
    ] {
        std::fs::create_dir(scene.files.path(version)).unwrap();
        let lay = |name: &str, text: &str| {
            std::fs::write(scene.files.path(version).join(name), text).unwrap();
        };
        lay("tls.crt", &issued.certificate);
        lay("tls.key", &issued.key);
    }
    symlink("..1", scene.files.path("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        std::fs::remove_file(scene.files.path(name)).unwrap();
        symlink(format!("..data/{name}"), scene.files.path(name)).unwrap();
    }
    let gateway = scene.setup().start();
    assert_eq!(scene.session(&gateway).shown(), scene.issued.der());
    let mark = gateway.mark();
    symlink("..2", scene.files.path("..data_tmp")).unwrap();
    std::fs::rename(scene.files.path("..data_tmp"), scene.files.path("..data")).unwrap();
    gateway.wait_said(mark, "INFO", "is in use");
    assert_ne!(scene.session(&gateway).shown(), scene.issued.der());
    let mark = gateway.mark();
    let third = scene.authority.issue(GATEWAY);
    // Through the link, into the file that is there.
    std::fs::write(scene.files.certificate(), &third.certificate).unwrap();
    std::fs::write(scene.files.key(), &third.key).unwrap();
    gateway.wait_said(mark, "INFO", "is in use");
    assert_eq!(scene.session(&gateway).shown(), third.der());
}

#[test]
fn a_certificate_that_expires_soon_is_told_at_the_start() {
    let scene = Scene::set();
    let days = |days: u64| Validity::For(Duration::from_secs(days * 24 * 3600));
    scene
        .files
        .put_identity(&scene.authority.issue_valid(GATEWAY, days(10)));
    let gateway = scene.setup().start();
    gateway.wait_said(0, "WARN", "tls.crt");
    let mark = gateway.mark();
    scene
        .files
        .put_identity(&scene.authority.issue_valid(GATEWAY, days(60)));
    gateway.wait_said(mark, "INFO", "is in use");
}

/// What is done to the files, and a word of the refusal.
type Damage<'d> = (&'d dyn Fn(&Files), &'d str);

#[test]
fn what_is_bad_at_the_start_refuses_it_with_one_sentence_and_code_2() {
    let authority = Authority::new("CA");
    let (issued, stranger) = (authority.issue(GATEWAY), authority.issue(GATEWAY));
    let expired = authority.issue_valid(GATEWAY, Validity::Over);
    let directory = broker();
    let refusals: [Damage<'_>; 6] = [
        (&|files| files.put(&files.key(), &stranger.key), "tls.key"),
        (&|files| files.put_identity(&expired), "renew it"),
        (
            &|files| files.put(&files.certificate(), "garbage"),
            "tls.crt",
        ),
        (
            &|files| std::fs::remove_file(files.key()).unwrap(),
            "tls.key",
        ),
        (&|files| files.put_client_ca("garbage"), "ca.pem"),
        (&|files| files.put_client_ca(""), "ca.pem"),
    ];
    for (damage, part) in refusals {
        let files = Files::of(&issued);
        files.put_client_ca(&authority.pem());
        damage(&files);
        let setup = Setup::over(&directory).tls(&files).client_ca(&files);
        assert_refused(setup, part);
    }
    let files = Files::of(&issued);
    let suite = "ECDHE-RSA-AES128-GCM-SHA256";
    assert_refused(
        Setup::over(&directory)
            .tls(&files)
            .arguments(["--tls-min", "1.3", "--tls-ciphers", suite]),
        "TLS 1.2",
    );
}

fn assert_refused(setup: Setup, part: &str) {
    let mut gateway = setup.spawn();
    let status = gateway.process_mut().wait_exit();
    assert_eq!(status.code(), Some(2), "{part}");
    let said = gateway.process().output().text(Stream::Err);
    assert_eq!(said.lines().count(), 1, "one sentence: {said}");
    assert!(said.contains(part), "{said}");
    assert!(gateway.children().is_empty(), "nothing was started");
}

#[test]
fn the_private_key_and_passwords_stand_in_nothing_that_is_written() {
    let scene = Scene::set();
    let temporary = tempfile::TempDir::with_prefix("fixgw-e2e-").unwrap();
    let mut gateway = scene
        .setup()
        .temporary(temporary.path())
        .arguments(["--envoy-log-level", "debug"])
        .start();
    let second = scene.authority.issue(GATEWAY);
    let stranger = scene.authority.issue(GATEWAY);
    let _ = scene.session(&gateway);
    let mark = gateway.mark();
    scene.files.put_identity(&second);
    gateway.wait_said(mark, "INFO", "is in use");
    let _ = scene.session(&gateway);
    let mark = gateway.mark();
    scene.files.put(&scene.files.key(), &stranger.key);
    gateway.wait_said(mark, "ERROR", "is not that of");
    let mut plain = RawClient::connect(gateway.address_of(TLS_LISTENER));
    plain.send(&logon());
    let _ = plain.take_to_end();
    let _ = gateway.decision_about(plain.address());
    let issued = [&scene.issued, &second, &stranger];
    let mut secrets: Vec<&str> = issued.iter().flat_map(|i| i.secret_lines()).collect();
    secrets.push(PASSWORD);
    // Nor in the run directory, once Envoy has read it.
    secret::assert_absent_from_files(temporary.path(), &secrets);
    gateway.stop();
    secret::assert_absent_from_files(gateway.state(), &secrets);
    secret::assert_absent("its output", &gateway.process().output().bytes(), &secrets);
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "the run directory is gone");
}
