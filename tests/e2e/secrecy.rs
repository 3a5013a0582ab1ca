//! Does a secret of a Logon stand anywhere in what any component printed or wrote?

use std::io::Write as _;
use std::process::{Command, Stdio};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::{Process, text};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::{secret, tool};
use rustix::process::Signal;

/// Long enough that none stands in an output by chance, and each different in every part.
const PASSWORD: &str = "hunter2-Kestrel";
const NEW_PASSWORD: &str = "Zanzibar!9417";
const RAW_DATA: &str = "rawQuaggaBlob55";
const ENCRYPTED_PASSWORD: &str = "cipherOkapi00";
const REDACTED: &str = "XVWAPmarmot71";
const UNLOGGED: &str = "RESTRICTEDlynx8";
const SECRETS: [&str; 6] = [
    PASSWORD,
    NEW_PASSWORD,
    RAW_DATA,
    ENCRYPTED_PASSWORD,
    REDACTED,
    UNLOGGED,
];

fn secret_fields() -> Vec<(u32, &'static str)> {
    vec![
        (554, PASSWORD),
        (925, NEW_PASSWORD),
        (95, "15"),
        (96, RAW_DATA),
        (1401, "13"),
        (1402, ENCRYPTED_PASSWORD),
        (20001, REDACTED),
        (9001, UNLOGGED),
    ]
}

fn logon(sender: &str, more: &[(u32, &str)]) -> Vec<u8> {
    fix::logon(
        "FIX.4.4",
        sender,
        "VENUE",
        &[secret_fields().as_slice(), more].concat(),
    )
}

/// Every kind of Logon and failure, each with the secrets in it.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let plain = text(logon("BROKER", &[]));
    let long = "x".repeat(9_000);
    let many = vec![(372, "D"); 600];
    vec![
        ("routed", logon("BROKER", &[])),
        ("routed without a ready endpoint", logon("NOWHERE", &[])),
        ("unknown", logon("STRANGER", &[])),
        ("ambiguous", logon("BROKER", &[(49, "STRANGER")])),
        (
            "a secret twice",
            logon("BROKER", &[(554, PASSWORD), (20001, REDACTED)]),
        ),
        ("too large", logon("BROKER", &[(58, &long)])),
        ("too many fields", logon("BROKER", &many)),
        (
            "no Logon",
            fix::message(
                "FIX.4.4",
                "D",
                &[&[(49, "BROKER")], secret_fields().as_slice()].concat(),
            ),
        ),
        ("cut short", plain.as_bytes()[..plain.len() - 9].to_vec()),
        (
            "cut inside the password",
            plain.as_bytes()[..plain.find(PASSWORD).unwrap() + PASSWORD.len()].to_vec(),
        ),
        (
            "leading zeros",
            plain
                .replace("\u{1}554=", "\u{1}0554=")
                .replace("\u{1}925=", "\u{1}0925=")
                .into_bytes(),
        ),
        (
            "no equals sign",
            plain
                .replace("\u{1}554=", "\u{1}554")
                .replace("\u{1}20001=", "\u{1}20001")
                .into_bytes(),
        ),
        (
            "a blank",
            plain
                .replace("\u{1}554=", "\u{1} 554=")
                .replace("\u{1}925=", "\u{1}925 =")
                .into_bytes(),
        ),
        (
            "a wrapping tag",
            plain.replace("\u{1}554=", "\u{1}4294967850=").into_bytes(),
        ),
        (
            "a wrong data length",
            plain
                .replace("\u{1}95=15\u{1}", "\u{1}95=9999\u{1}")
                .into_bytes(),
        ),
        (
            "a short data length",
            plain
                .replace("\u{1}95=15\u{1}", "\u{1}95=3\u{1}")
                .into_bytes(),
        ),
        (
            "a wrong body length",
            plain.replacen("\u{1}9=", "\u{1}9=1", 1).into_bytes(),
        ),
        (
            "no length of the data",
            plain.replace("\u{1}95=15\u{1}", "\u{1}").into_bytes(),
        ),
        (
            "literal separators",
            plain.replace('\u{1}', "|").into_bytes(),
        ),
        (
            "literal separators, later",
            plain.replacen("\u{1}35", "|35", 1).into_bytes(),
        ),
        (
            "not FIX at all",
            format!("PASS {PASSWORD}\r\n{REDACTED} {RAW_DATA}").into_bytes(),
        ),
        (
            "HTTP",
            format!("GET /?password={PASSWORD} HTTP/1.1\r\nAuthorization: {RAW_DATA}\r\n\r\n")
                .into_bytes(),
        ),
    ]
}

fn play(gateway: &Gateway, light: &EchoEngine) {
    let mut reached = 0;
    for (name, bytes) in messages() {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&bytes);
        client.finish();
        let _ = client.take_to_end();
        let record = gateway.decision_about(client.address());
        reached += usize::from(record["decision"] == "ROUTE");
        println!("{name}: {} {}", record["decision"], record["reason"]);
    }
    assert!(
        reached >= 1 && light.received().len() >= reached,
        "a Logon with secrets is routed like any other"
    );
}

fn directory() -> Directory {
    Directory::of(&[
        Route::new("broker", "light")
            .value("SenderCompID49", "BROKER")
            .redacted_value("AlgoStrategy20001", REDACTED)
            .unlogged_value("ComplianceID9001", UNLOGGED),
        Route::new("broker-plain", "light").value("SenderCompID49", "BROKER"),
        Route::new("nowhere", "nowhere").value("SenderCompID49", "NOWHERE"),
    ])
}

#[test]
fn no_component_prints_a_secret_whatever_happens_to_its_logon() {
    let light = EchoEngine::start("light");
    let directory = directory();
    let mut gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .start();
    play(&gateway, &light);
    // A conflict is talked about as well.
    let mark = gateway.mark();
    directory.put(
        &Route::new("rival", "light")
            .value("SenderCompID49", "BROKER")
            .redacted_value("AlgoStrategy20001", REDACTED)
            .unlogged_value("ComplianceID9001", UNLOGGED),
    );
    let _ = gateway.wait_object(mark, "the conflict", |event| {
        event["severity"] == "CRITICAL"
    });
    gateway.stop();
    secret::assert_absent(
        "the gateway's output",
        &gateway.process().output().bytes(),
        &SECRETS,
    );
}

#[test]
fn a_fault_in_a_file_is_told_without_the_value_that_the_file_wants_redacted() {
    let light = EchoEngine::start("light");
    let directory = directory();
    let mut gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .start();
    let condition = format!("{{ value: {REDACTED:?}, redact: true }}");
    let faults = [
        format!("{{ valeu: {REDACTED}, redact: true }}"),
        format!("{{ value: [{REDACTED}], redact: true }}"),
        format!("{{ value: {{ is: {REDACTED} }}, redact: true }}"),
        format!("{{ value: {REDACTED}, redact: true"),
        format!("{{ value: \"{REDACTED}, redact: true }}"),
        format!("{{ value: {REDACTED}, redact: perhaps }}"),
        format!("{{ value: {REDACTED}, pattern: {REDACTED}, redact: true }}"),
        format!("{{ value: {REDACTED}, value: {REDACTED}, redact: true }}"),
        format!("{{ pattern: {REDACTED}, redact: true }}"),
        format!("{{ pattern: \"{REDACTED}*{REDACTED}\", redact: true }}"),
        format!("{{ value: {}, redact: true }}", REDACTED.repeat(20)),
        format!("{{ value: \"{REDACTED}\\x01\", redact: true }}"),
        format!("{{ value: *{REDACTED}, redact: true }}"),
    ];
    for (index, fault) in faults.iter().enumerate() {
        let name = format!("faulty-{index}");
        let good = Route::new(&name, "light")
            .redacted_value("AlgoStrategy20001", REDACTED)
            .yaml();
        assert!(good.contains(&condition));
        directory.write(&name, &good.replace(&condition, fault));
        let told = gateway.wait_object(0, &format!("the fault of {fault}"), |event| {
            text(event, "file").ends_with(&format!("{name}.yaml"))
        });
        println!("{fault}: {}", text(&told, "message"));
    }
    gateway.stop();
    secret::assert_absent(
        "the gateway's output",
        &gateway.process().output().bytes(),
        &[REDACTED],
    );
}

#[test]
fn nothing_that_a_logon_brought_is_kept_on_disk() {
    // The rule's own values must be in the table; what only the Logon holds must be nowhere, Envoy's log included.
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[Route::new("broker", "light")
        .value("SenderCompID49", "BROKER")
        .redacted_pattern("AlgoStrategy20001", "XV*")
        .unlogged_pattern("ComplianceID9001", "RES*")
        .priority(5)]);
    let mut gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .filter(&tool::filter_with_faults())
        .arguments(["--envoy-log-level", "info"])
        .start();
    play(&gateway, &light);
    let mut victim = RawClient::connect(gateway.address());
    victim.send(&logon("PANIC", &[]));
    assert_eq!(victim.take_to_end(), b"");
    let record = gateway.decision_about(victim.address());
    assert_eq!(record["reason"], "internal_error");
    gateway.stop();
    let log = std::fs::read_to_string(gateway.state().join("envoy.log")).expect("Envoy has a log");
    assert!(log.contains("[info]"), "Envoy did write: {log}");
    secret::assert_absent_from_files(gateway.state(), &SECRETS);
    secret::assert_absent(
        "the gateway's output",
        &gateway.process().output().bytes(),
        &SECRETS,
    );
}

#[test]
fn the_reject_engine_alone_prints_and_answers_no_secret() {
    for form in [&[][..], &["--json"][..]] {
        let engine = Process::start(
            "reject engine",
            tool::program("fixgw-reject-engine"),
            |command| {
                command
                    .args(["--listen", "127.0.0.1:0", "--proxy-protocol", "off"])
                    .args(form);
            },
        );
        let line = engine.wait_line("127.0.0.1:");
        let address = line
            .split_once("127.0.0.1:")
            .expect("it says where it listens")
            .1;
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        for (name, bytes) in messages() {
            let mut client = RawClient::connect(address);
            client.send_unless_closed(&bytes);
            client.finish();
            secret::assert_absent(name, &client.take_to_end(), &SECRETS);
        }
        engine.signal(Signal::TERM);
        engine.wait_exit();
        let output = engine.output().bytes();
        assert!(output.len() > 100, "it says something of each connection");
        secret::assert_absent("the reject engine's output", &output, &SECRETS);
    }
}

#[test]
fn plain_lines_for_people_hold_no_secret_either() {
    let light = EchoEngine::start("light");
    let directory = directory();
    let (mut gateway, address) = Setup::over(&directory)
        .endpoint("light", light.address())
        .start_for_people();
    for (_, bytes) in messages() {
        let mut client = RawClient::connect(address);
        client.send_unless_closed(&bytes);
        client.finish();
        let _ = client.take_to_end();
        gateway.process().wait_line(&client.address().to_string());
    }
    gateway.stop();
    secret::assert_absent(
        "the lines for people",
        &gateway.process().output().bytes(),
        &SECRETS,
    );
}

#[test]
fn parse_shows_no_secret_unless_told_to() {
    for (name, bytes) in messages() {
        let hex: String = bytes
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        for (input, more) in [
            (bytes.clone(), &[][..]),
            (bytes.clone(), &["--json"][..]),
            (hex.into_bytes(), &["--format", "hex"][..]),
        ] {
            let output = parse(&input, more);
            // A stranger to every rule: only what is always secret is known to be so here.
            secret::assert_absent(
                name,
                &output,
                &[PASSWORD, NEW_PASSWORD, RAW_DATA, ENCRYPTED_PASSWORD],
            );
        }
    }
    let revealed = parse(&logon("BROKER", &[]), &["--reveal"]);
    assert!(
        secret::contains(&revealed, PASSWORD.as_bytes()),
        "`--reveal` does reveal"
    );
}

fn parse(input: &[u8], more: &[&str]) -> Vec<u8> {
    let mut command = Command::new(tool::program("fixgw"));
    command
        .arg("parse")
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("fixgw starts");
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().expect("fixgw ends");
    [output.stdout, output.stderr].concat()
}
