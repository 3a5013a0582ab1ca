//! What does the gateway do? Told in some thirty lines by real engines and counterparties, and proven on the way.
//!
//! Prints nothing that it has not seen: each line stands for an event of a QuickFIX peer or of the gateway.
//! Ends by itself; whatever goes wrong is its last line, and its exit code is not 0 then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is written with the tests' harness and fails as a test does"
)]

use std::process::ExitCode;
use std::time::Instant;

use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup, TLS_LISTENER};
use fixgw_e2e::peer::{Counterparty, Engine, Peer, Session};
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::socket::established;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tls::{Authority, Client, Files, Issued};
use fixgw_e2e::told;
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;
use serde_json::Value;

/// Messages each way before the edit, and again after it.
const MESSAGES: u64 = 10;

/// The name of the gateway, in its certificate and for who connects to the port with TLS.
const HOST: &str = "localhost";

fn main() -> ExitCode {
    told::story("demo", tell)
}

/// One of the two engines: the acceptor, and the relay in front of it that counts what it accepts.
struct Desk {
    name: &'static str,
    engine: Engine,
    tap: Tap,
}

impl Desk {
    fn open(name: &'static str, sessions: &[Session]) -> Self {
        let engine = Peer::engine(name, sessions);
        let tap = Tap::before(engine.address());
        println!(
            "  engine   {name:<9} QuickFIX acceptor at {}",
            tap.address()
        );
        Self { name, engine, tap }
    }
}

/// The port with TLS: who issues the certificates of both sides, and where they lie.
struct Secure {
    authority: Authority,
    client: Issued,
    /// What the gateway is given.
    gateway_files: Files,
    /// What the counterparty is given.
    client_files: Files,
}

impl Secure {
    fn new(counterparty: &str) -> Self {
        let (authority, clients) = (
            Authority::new("the gateway's CA"),
            Authority::new("brokers"),
        );
        let client = clients.issue(counterparty);
        let gateway_files = Files::of(&authority.issue(HOST));
        gateway_files.put_client_ca(&clients.pem());
        let client_files = Files::of(&client);
        client_files.put_client_ca(&authority.pem());
        Self {
            authority,
            client,
            gateway_files,
            client_files,
        }
    }

    /// Replaces the gateway's certificate, and connects to see which one is shown.
    fn renew(&self, gateway: &Gateway) {
        let renewed = self.authority.issue(HOST);
        let (mark, saved) = (gateway.mark(), Instant::now());
        self.gateway_files.put_identity(&renewed);
        gateway.wait_said(mark, "INFO", "tls.crt");
        let mut client = Client::trusting(&self.authority)
            .asking_for(HOST)
            .showing(&self.client)
            .connect(gateway.address_of(TLS_LISTENER));
        let refusal = client.greeting_after(&fix::logon("FIX.4.4", "NOBODY", "VENUE", &[]));
        assert!(refusal.is_err(), "no engine has this name: {refusal:?}");
        assert!(
            client.shown() == renewed.der(),
            "the gateway still shows the certificate from before"
        );
        println!(
            "  the next connection was shown the new one, {} ms after the files were saved",
            saved.elapsed().as_millis()
        );
    }
}

fn tell() {
    println!("\nTwo engines, eight counterparties, one gateway between. All of them are real.\n");
    let everyone = sessions();
    let desks = [
        Desk::open("EQUITIES", &everyone),
        Desk::open("FX", &everyone),
    ];
    let [equities, fx] = &desks;
    let [.., by_tls, stranger, next, late] = &everyone;
    let secure = Secure::new(by_tls.sender());
    let rules = rules();
    let mut gateway = Setup::over(&rules)
        .endpoint("equities-engine", equities.tap.address())
        .endpoint("fx-engine", fx.tap.address())
        .tls(&secure.gateway_files)
        .client_ca(&secure.gateway_files)
        .start();
    println!(
        "  gateway            fixgw at {}, with TLS at {}; Envoy with 2 workers, 4 rules",
        gateway.address(),
        gateway.address_of(TLS_LISTENER)
    );

    println!(
        "\nWho connected                 Which fields decided, by which rule, and which engine answered"
    );
    let mut counterparties: Vec<Peer> = everyone[..4]
        .iter()
        .map(|session| connect(&gateway, session))
        .collect();
    counterparties.push(
        Counterparty::new(
            &who(by_tls),
            gateway.address_of(TLS_LISTENER),
            std::slice::from_ref(by_tls),
        )
        .host(HOST)
        .tls(&secure.client_files)
        .start(),
    );
    let mut live = Vec::new();
    for (session, counterparty) in everyone.iter().zip(&counterparties) {
        let desk = answering(&desks, session, counterparty);
        show(session, &gateway, counterparty, desk);
        live.push((
            session,
            desk,
            LiveSession::begin(session, counterparty, &desk.engine, &desk.tap),
        ));
    }
    for (_, _, session) in &mut live {
        session.exchange(MESSAGES);
    }

    delete_the_default_route(&gateway, &rules, stranger);

    println!("\nThe file broker-a.yaml is edited: its target is now fx-engine");
    let rule = std::fs::read_to_string(rules.file("broker-a")).expect("the rule can be read");
    let saved = Instant::now();
    gateway.apply(|| rules.write("broker-a", &rule.replace("equities-engine", "fx-engine")));
    println!(
        "  every worker uses it {} ms after the file was saved",
        saved.elapsed().as_millis()
    );
    let newcomer = connect(&gateway, next);
    show(
        next,
        &gateway,
        &newcomer,
        answering(&desks, next, &newcomer),
    );

    wait_for_an_engine(&gateway, &rules, late, fx);

    println!("\nThe certificate and the key of the port with TLS are replaced");
    secure.renew(&gateway);

    println!(
        "\nThe sessions that were live all the while, messages to the engine and back (sent = received)"
    );
    for (session, desk, live) in &mut live {
        live.exchange(MESSAGES - 1);
        let count = live.assert_unbroken();
        println!(
            "  {:<27} {:<9} {} and {}: unbroken, the same connection, no logout, nothing twice",
            who(session),
            desk.name,
            count.to_engine,
            count.to_counterparty
        );
    }
    for (_, _, session) in live {
        session.log_out();
    }
    gateway.stop();
}

/// The session that it took goes on, and the next Logon that it would have taken is refused.
fn delete_the_default_route(gateway: &Gateway, rules: &Directory, stranger: &Session) {
    println!("\nThe file everyone-else.yaml is deleted; with it the default route is gone");
    let mark = gateway.mark();
    gateway.apply(|| rules.remove("everyone-else"));
    let orphans = gateway.wait_object(mark, "word of the orphans", |event| {
        text(event, "about") == "sessions"
    });
    println!(
        "  {}: {}",
        text(&orphans, "object"),
        text(&orphans, "message")
    );
    let refused = Counterparty::new(
        "stranger",
        gateway.address(),
        std::slice::from_ref(stranger),
    )
    .once()
    .start();
    let said = refused.wait_logout_text(&stranger.at_counterparty());
    println!(
        "  {:<27} no rule: the reject engine sent a Logout, \"{said}\"",
        who(stranger)
    );
}

/// A Logon comes before its engine: it is held until the engine is there.
fn wait_for_an_engine(gateway: &Gateway, rules: &Directory, session: &Session, desk: &Desk) {
    println!("\nA rule is added whose engine does not run yet");
    rules.put_service("night-engine", &[]);
    let rule = Route::new("night-desk", "night-engine").value("SenderCompID49", session.sender());
    gateway.apply(|| rules.put(&rule));
    let mark = gateway.mark();
    let counterparty = connect(gateway, session);
    let held = gateway
        .process()
        .wait_after(mark, "the hold", |event| text(event, "decision") == "HELD");
    println!("  {:<27} {}", who(session), text(&held, "detail"));
    let saved = Instant::now();
    rules.put_service("night-engine", &[desk.tap.address()]);
    counterparty.wait_logon(&session.at_counterparty());
    println!(
        "  {:<27} logged on {} ms after its engine was listed as ready, on the connection that it had",
        "",
        saved.elapsed().as_millis()
    );
    assert_eq!(counterparty.logons(&session.at_counterparty()), 1);
    println!(
        "  QuickFIX itself gives up after 10 s (LogonTimeout), and engines refuse a Logon whose SendingTime is 120 s old:\n  \
         holdTimeout, 30 s unless a rule says otherwise, lies between, and counts only as long as the counterparty waits"
    );
}

/// The sessions in the order in which they appear.
fn sessions() -> [Session; 8] {
    [
        Session::new("FIX.4.2", "BROKER_A", "VENUE"),
        Session::new("FIX.4.4", "BROKER_A", "VENUE")
            .with(50, "FX-DESK")
            .with(20001, "VWAP"),
        Session::new("FIXT.1.1", "HEDGE_ONE", "VENUE"),
        Session::new("FIX.4.0", "SOMEBODY", "VENUE"),
        // By TLS.
        Session::new("FIX.4.4", "HEDGE_TWO", "VENUE"),
        Session::new("FIX.4.4", "STRANGER", "VENUE"),
        Session::new("FIX.4.3", "BROKER_A", "VENUE"),
        Session::new("FIX.4.4", "NIGHT_DESK", "VENUE"),
    ]
}

/// A copy of examples/quickstart to edit, without the fixed addresses of its engines.
fn rules() -> Directory {
    let copy = Directory::new();
    let quickstart = tool::repository().join("examples/quickstart");
    for name in [
        "broker-a",
        "broker-a-fx-vwap",
        "hedge-funds",
        "everyone-else",
        "services",
    ] {
        let file = quickstart.join(format!("{name}.yaml"));
        copy.write(
            name,
            &std::fs::read_to_string(&file).expect("the example is there"),
        );
    }
    copy
}

fn connect(gateway: &Gateway, session: &Session) -> Peer {
    Peer::counterparty(
        &who(session),
        gateway.address(),
        std::slice::from_ref(session),
    )
}

fn who(session: &Session) -> String {
    format!("{} ({})", session.sender(), session.version())
}

/// The engine whose own onLogon says that it answered.
fn answering<'d>(desks: &'d [Desk; 2], session: &Session, counterparty: &Peer) -> &'d Desk {
    counterparty.wait_logon(&session.at_counterparty());
    let answered = || {
        desks
            .iter()
            .filter(|desk| desk.engine.logons(&session.at_engine()) > 0)
    };
    // Two programs told their ends of one Logon: the counterparty's word may arrive first.
    let desk = wait_until("the engine's word that it answered", || answered().next());
    assert!(
        answered().count() == 1,
        "two engines answered {}",
        who(session)
    );
    desk
}

/// The decision about this session's Logon, as the gateway recorded it.
fn show(session: &Session, gateway: &Gateway, counterparty: &Peer, desk: &Desk) {
    let connections = established(counterparty.process().pid());
    let (source, _) = connections
        .first()
        .expect("a session that is logged on has a connection");
    let record = gateway.decision_about(*source);
    let fields = record["fields"].as_object().map(|fields| {
        let shown = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)));
        shown.collect::<Vec<_>>().join(" ")
    });
    let fields = fields
        .filter(|fields| !fields.is_empty())
        .unwrap_or_else(|| "no other rule".to_owned());
    println!(
        "  {:<27} {fields} ({}) → {}",
        who(session),
        text(&record, "route"),
        desk.name
    );
    if let Some(version) = record["tlsVersion"].as_str() {
        let name = record["serverName"].as_str().unwrap_or("nothing");
        println!(
            "  {:<27} by {version}, asked for {name} (SNI), showed the certificate {}",
            "",
            plain(&record["clientCertificate"])
        );
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
