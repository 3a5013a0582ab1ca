//! Where does HAProxy route a Logon that the gateway refuses because readers differ on it?
//!
//! Plays every case of the tests to a gateway and to an HAProxy with the same two routes. A case that the gateway refuses
//! as ambiguous and HAProxy routes is then read by all readers of `fixgw-readings`, and by a QuickFIX engine behind
//! HAProxy. Says only what it has seen; ends by itself, and so does all that it started.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is written with the tests' harness and fails as a test does"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use fixgw_e2e::attack::{
    Case, Expect, ROUTES, a_reader_follows_another_than, answer_at, cases, directory, logged_on_at,
    quickfix,
};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Engine, Session};
use fixgw_e2e::process::{Process, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tool;
use tempfile::NamedTempFile;

/// What HAProxy's manual advises where it documents `fix_is_valid` and `fix_tag_value`; the rules that route follow.
const CONFIGURATION: &str = "
global
    maxconn 100
    noreuseport
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend fix
    bind @LISTEN@
    tcp-request inspect-delay 10s
    tcp-request content reject unless { req.payload(0,0),fix_is_valid }
    tcp-request content reject unless { req.payload(0,0),fix_tag_value(MsgType) -m str A }
";

/// The kind of cases whose data fields all have the right length: what QuickFIX does with a dictionary at a negative
/// one is to end.
const RIGHT_LENGTHS: &str = "data hides";

struct HaProxy {
    address: SocketAddr,
    _process: Process,
    _configuration: NamedTempFile,
}

impl HaProxy {
    /// Before these engines, in the order of [`ROUTES`].
    fn before(engines: [SocketAddr; 2]) -> Self {
        let address = unused_port();
        let rules = ROUTES.map(|(name, sender)| {
            let sender = format!("req.payload(0,0),fix_tag_value(SenderCompID) -m str {sender}");
            format!("    use_backend {name} if {{ {sender} }}\n")
        });
        let backends = ROUTES.iter().zip(engines);
        let backends = backends
            .map(|((name, _), engine)| format!("backend {name}\n    server {name} {engine}\n"));
        let text = CONFIGURATION.replace("@LISTEN@", &address.to_string())
            + &rules.concat()
            + &backends.collect::<String>();
        let configuration = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(configuration.path(), text).expect("the configuration can be written");
        let process = Process::start("haproxy", tool::haproxy(), |command| {
            command.args(["-db", "-f"]).arg(configuration.path());
        });
        wait_until("HAProxy to listen", || {
            assert!(
                process.is_running(),
                "HAProxy ended: {}",
                String::from_utf8_lossy(&process.output().bytes())
            );
            TcpStream::connect(address).ok()
        });
        Self {
            address,
            _process: process,
            _configuration: configuration,
        }
    }
}

/// A case, and what became of it.
struct Played {
    case: Case,
    /// The engine that HAProxy handed every byte to.
    haproxy: Option<String>,
}

impl Played {
    fn is_ambiguous(&self) -> bool {
        self.case.expect == Expect::Refused("ambiguous_field".to_owned())
    }

    /// Whether HAProxy handed to this engine what the gateway refuses, and a reader follows the other route.
    fn misleads(&self, engine: &str) -> bool {
        self.is_ambiguous()
            && self.haproxy.as_deref() == Some(engine)
            && a_reader_follows_another_than(engine, &self.case.bytes)
    }
}

/// What the gateway makes of the cases, by its own records. All are sent before the first record is awaited, since those
/// come several times a second at most; while all are connected, each has a port of its own.
fn gateway_on(gateway: &Gateway, cases: &[Case]) -> Vec<Expect> {
    let send = |case: &Case| {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&case.bytes);
        if case.expect == Expect::Refused("incomplete_logon".to_owned()) {
            client.finish();
        }
        client
    };
    let clients: Vec<RawClient> = cases.iter().map(send).collect();
    let route = format!("{NAMESPACE}/");
    let decided = |client: &RawClient| {
        let record = gateway.decision_about(client.address());
        match text(&record, "route").strip_prefix(&route) {
            Some(engine) if text(&record, "decision") == "ROUTE" => {
                Expect::Engine(engine.to_owned())
            }
            _ => Expect::Refused(text(&record, "reason").to_owned()),
        }
    };
    clients.iter().map(decided).collect()
}

/// The engine that HAProxy hands it to. The client ends its direction: what HAProxy would wait for will not come.
fn haproxy_on(haproxy: &HaProxy, engines: &[EchoEngine; 2], case: &Case) -> Option<String> {
    let answer = answer_at(haproxy.address, &case.bytes);
    if answer.is_empty() {
        return None;
    }
    let whole = |engine: &EchoEngine| answer == [engine.greeting(), case.bytes.clone()].concat();
    let place = engines.iter().position(whole);
    Some(
        ROUTES[place.expect("an engine got every byte")]
            .0
            .to_owned(),
    )
}

fn play() -> Vec<Played> {
    let engines = ROUTES.map(|(name, _)| EchoEngine::start(name));
    let addresses = engines.each_ref().map(EchoEngine::address);
    let haproxy = HaProxy::before(addresses);
    let directory = directory();
    let mut setup = Setup::over(&directory);
    for ((name, _), address) in ROUTES.iter().zip(addresses) {
        setup = setup.endpoint(name, address);
    }
    let mut gateway = setup.start();
    let cases = cases();
    for (case, decided) in cases.iter().zip(gateway_on(&gateway, &cases)) {
        assert_eq!(decided, case.expect, "{}", case.id);
    }
    gateway.stop();
    let play = |case: Case| {
        let haproxy = haproxy_on(&haproxy, &engines, &case);
        Played { case, haproxy }
    };
    let played: Vec<Played> = cases.into_iter().map(play).collect();
    for (name, _) in ROUTES {
        let plain = format!("plain-{name}");
        let plain = played.iter().find(|played| played.case.id == plain);
        assert_eq!(
            plain.and_then(|played| played.haproxy.as_deref()),
            Some(name),
            "HAProxy routes a Logon that nobody could misread"
        );
    }
    played
}

/// What QuickFIX engines behind HAProxy have done.
struct QuickFix<'p> {
    /// Logons that they took.
    taken: usize,
    /// Those at which one logged on the counterparty of the other engine, and who that is.
    misled: Vec<(&'p Played, String)>,
}

/// Plays cases to QuickFIX engines behind HAProxy, either of which would accept both counterparties.
fn quickfix_on<'p>(
    played: impl Iterator<Item = &'p Played>,
    arrange: impl Fn(Session) -> Session,
) -> QuickFix<'p> {
    let engines = ROUTES.map(|(name, _)| quickfix(name, &arrange));
    let haproxy = HaProxy::before(engines.each_ref().map(Engine::address));
    let mut seen = QuickFix {
        taken: 0,
        misled: Vec::new(),
    };
    for played in played {
        let meant = ROUTES
            .iter()
            .find(|(name, _)| played.haproxy.as_deref() == Some(name));
        if let Some(who) = logged_on_at(haproxy.address, &played.case.bytes) {
            seen.taken += 1;
            if meant.is_some_and(|(_, sender)| *sender != who) {
                seen.misled.push((played, who));
            }
        }
    }
    seen
}

fn count(played: &[&Played], is: impl Fn(&Played) -> bool) -> usize {
    played.iter().filter(|played| is(played)).count()
}

fn tell_row(kind: &str, played: &[&Played]) {
    println!(
        "{kind:<16}{:>7}{:>11}{:>9}{:>11}{:>11}",
        played.len(),
        count(played, Played::is_ambiguous),
        count(played, |it| it.is_ambiguous() && it.haproxy.is_some()),
        count(played, |it| it.misleads("victim")),
        count(played, |it| it.misleads("broker")),
    );
}

fn tell_table(played: &[Played]) {
    println!(
        "\n{:<16}{:>7}{:>11}{:>9}{:>11}{:>11}",
        "kind", "cases", "ambiguous", "routed", "to VICTIM", "to BROKER"
    );
    let mut kinds: Vec<&str> = Vec::new();
    let mut by_kind: BTreeMap<&str, Vec<&Played>> = BTreeMap::new();
    for played in played {
        let kind = played.case.kind.as_str();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        by_kind.entry(kind).or_default().push(played);
    }
    for kind in kinds {
        tell_row(kind, &by_kind[kind]);
    }
    tell_row("all", &played.iter().collect::<Vec<_>>());
    println!(
        "\n  ambiguous   the gateway refuses them with `ambiguous_field`\n  \
         routed      of these, HAProxy hands so many to an engine\n  \
         to VICTIM   of these, so many to the engine of VICTIM, though a reader sees BROKER_A\n  \
         to BROKER   of these, so many to the engine of BROKER_A, though a reader sees VICTIM"
    );
}

fn tell_ids<'p>(what: &str, played: impl Iterator<Item = &'p Played>) {
    let ids: Vec<&str> = played.map(|played| played.case.id.as_str()).collect();
    println!("\n{what}: {}", ids.len());
    if !ids.is_empty() {
        println!("  {}", ids.join(" "));
    }
}

fn tell_the_rest(played: &[Played]) {
    let to = |played: &Played| match &played.case.expect {
        Expect::Engine(engine) => Some(engine.clone()),
        Expect::Refused(_) => None,
    };
    let routed = || played.iter().filter(|played| to(played).is_some());
    println!(
        "\nThe gateway routes {}. Of these HAProxy routes to the same engine: {}",
        routed().count(),
        routed()
            .filter(|played| played.haproxy == to(played))
            .count()
    );
    tell_ids(
        "Of these HAProxy refuses",
        routed().filter(|played| played.haproxy.is_none()),
    );
    tell_ids(
        "Of these HAProxy routes to the other engine",
        routed().filter(|played| played.haproxy.is_some() && played.haproxy != to(played)),
    );
    tell_ids(
        "The gateway refuses for another reason, and HAProxy routes",
        played.iter().filter(|played| {
            to(played).is_none() && !played.is_ambiguous() && played.haproxy.is_some()
        }),
    );
}

fn tell_quickfix(which: &str, seen: &QuickFix) {
    println!(
        "\n{which}\n  behind HAProxy, asked for the ambiguous that HAProxy routes, took so many: {}\n  \
         of these, so many for the counterparty of the other engine: {}",
        seen.taken,
        seen.misled.len()
    );
    for (played, who) in &seen.misled {
        let engine = played.haproxy.as_deref().unwrap_or_default();
        println!("    {}: {who} at engine {engine}", played.case.id);
    }
}

fn main() {
    let version = Command::new(tool::haproxy())
        .arg("-v")
        .output()
        .expect("HAProxy tells its version");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    println!("{}", version.lines().next().unwrap_or_default());
    let played = play();
    tell_table(&played);
    for (engine, other) in [("victim", "BROKER_A"), ("broker", "VICTIM")] {
        tell_ids(
            &format!("HAProxy hands to engine {engine}, though a reader sees {other}"),
            played.iter().filter(|played| played.misleads(engine)),
        );
    }
    let ambiguous = || {
        played
            .iter()
            .filter(|played| played.is_ambiguous() && played.haproxy.is_some())
    };
    tell_quickfix("QuickFIX", &quickfix_on(ambiguous(), |session| session));
    tell_quickfix(
        "QuickFIX that honours data fields (only the kind `data hides`, whose lengths are right)",
        &quickfix_on(
            ambiguous().filter(|played| played.case.kind == RIGHT_LENGTHS),
            Session::with_dictionary,
        ),
    );
    tell_the_rest(&played);
}
