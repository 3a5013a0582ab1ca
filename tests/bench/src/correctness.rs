//! Whom does each subject hand to which engine: real Logons, what is none, and Logons that hide a field?
//!
//! Two sets of first messages: the corpus, most of it from real engines, each with whether it is a Logon; and the attacks of the tests, with
//! what the independent readers of `fixgw-readings` make of each. A subject misleads where it hands a message to an engine though some reader
//! sees it meant for the other one.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fixgw_e2e::attack::{Case, Expect, Sample, a_reader_follows_another_than, cases, corpus};
use fixgw_e2e::echo::EchoEngine;

use crate::figures::{Figures, Metric};
use crate::load::{Load, SENDER};
use crate::metrics::{ATTACKS, CORPUS};
use crate::subject::{Kind, Rules, Setting, Subject};
use crate::units::count;

const fn number(name: &'static str) -> Metric<'static> {
    Metric {
        name,
        unit: "",
        to: None,
    }
}

/// How long answers are waited for: all that is routed is routed at once.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// From the last byte on, nothing more comes.
const QUIET: Duration = Duration::from_millis(1_500);

/// A longer CompID has no rule: nginx's map takes none by default.
const NAME_MAX: usize = 30;

/// The engines: of the attacks, and of the corpus.
const ENGINES: [&str; 2] = fixgw_e2e::attack::ENGINES;

/// Plays all of them to each subject that routes.
pub fn add(figures: &mut Figures, load: &mut Load, setting: &Setting, kinds: &[Kind]) {
    let engines = ENGINES.map(EchoEngine::start);
    let addresses = engines.each_ref().map(EchoEngine::address);
    let corpus = corpus();
    let (rules, left_out) = rules(&corpus);
    if left_out > 0 {
        eprintln!(
            "         {left_out} messages of the corpus have no CompID that a map could hold, and no rule"
        );
    }
    let setting = Setting {
        rules,
        engines: addresses
            .into_iter()
            .chain(load.engines().first().copied())
            .collect(),
        ..setting.clone()
    };
    let attacks = cases();
    // FIX tells capitals from small letters.
    let sender = fixgw_e2e::attack::ROUTES[0].1.to_lowercase();
    let other_case = fixgw_e2e::fix::logon("FIX.4.4", &sender, "VENUE", &[]);
    for kind in kinds.iter().filter(|kind| kind.routes()) {
        eprintln!("         correctness: {}", kind.name());
        let (subject, _) = Subject::start(*kind, &setting, load);
        let address = subject.target(false).address;
        let of_corpus = corpus.iter().map(|message| message.bytes.as_slice());
        let routed = play(address, &engines, &of_corpus.collect::<Vec<_>>());
        let of_attacks = attacks.iter().map(|case| case.bytes.as_slice());
        let handed = play(address, &engines, &of_attacks.collect::<Vec<_>>());
        let other_case = play(address, &engines, &[&other_case]);
        let mut all = [
            judge_corpus(&corpus, &routed),
            judge_attacks(&attacks, &handed),
        ]
        .concat();
        let other_case = other_case.iter().flatten().count();
        all.push((ATTACKS, number("CompID in another case routed"), other_case));
        for (table, metric, value) in all {
            figures.add((table, "all"), kind.name(), metric, 0, count(value));
        }
        drop(subject);
        load.forget();
    }
}

/// A rule for each CompID, that of the attacks first. HAProxy's map is separated by blanks, so a CompID with one has none.
fn rules(corpus: &[Sample]) -> (Rules, usize) {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut left_out = 0;
    for message in corpus.iter().filter(|message| message.is_logon) {
        match &message.sender {
            Some(sender) if has_rule(message) => {
                rules.insert(sender.clone(), 0);
            }
            _ => left_out += 1,
        }
    }
    for (engine, (_, sender)) in fixgw_e2e::attack::ROUTES.iter().enumerate() {
        rules.insert((*sender).to_owned(), engine);
    }
    // The generator's own engine, by which the subject's start is noticed.
    rules.insert(format!("{SENDER}0"), ENGINES.len());
    (Rules::exactly(rules.into_iter().collect()), left_out)
}

fn has_rule(message: &Sample) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let sender = message.sender.as_deref().unwrap_or_default();
    (1..=NAME_MAX).contains(&sender.len()) && sender.bytes().all(is_plain)
}

/// The engine that each message reached whole, if it reached one.
fn play(address: SocketAddr, engines: &[EchoEngine; 2], messages: &[&[u8]]) -> Vec<Option<usize>> {
    let begin = |bytes: &&[u8]| {
        let mut stream = TcpStream::connect(address).expect("it takes connections");
        // Whoever is closed at once is not routed; that is seen when the answer is read.
        let _ = stream.write_all(bytes);
        stream
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        (stream, Vec::new())
    };
    let mut clients: Vec<(TcpStream, Vec<u8>)> = messages.iter().map(begin).collect();
    let (end, mut heard) = (Instant::now() + ANSWER_MAX, Instant::now());
    let mut buffer = [0; 16 * 1_024];
    while Instant::now() < end && heard.elapsed() < QUIET {
        for (stream, answer) in &mut clients {
            match stream.read(&mut buffer) {
                Ok(0) => {}
                Ok(count) => {
                    answer.extend_from_slice(&buffer[..count]);
                    heard = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => {}
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let whole = |(answer, bytes): (&Vec<u8>, &&[u8])| {
        let is_its = |engine: &EchoEngine| *answer == [engine.greeting(), bytes.to_vec()].concat();
        engines.iter().position(is_its)
    };
    let answers = clients.iter().map(|(_, answer)| answer);
    answers.zip(messages).map(whole).collect()
}

/// Table, figure, number.
type Judged = (&'static str, Metric<'static>, usize);

fn judge_corpus(corpus: &[Sample], routed: &[Option<usize>]) -> Vec<Judged> {
    let pairs = || corpus.iter().zip(routed);
    let is_ours = |message: &Sample| message.is_real && message.is_logon && has_rule(message);
    let logons = || pairs().filter(|(message, _)| is_ours(message));
    let sound = || logons().filter(|(message, _)| message.is_sound);
    let others = || pairs().filter(|(message, _)| !message.is_logon);
    let refused = |of: &mut dyn Iterator<Item = (&Sample, &Option<usize>)>| {
        of.filter(|(_, engine)| engine.is_none()).count()
    };
    for (message, _) in sound().filter(|(_, engine)| engine.is_none()) {
        eprintln!("         refused though right: {}", message.id);
    }
    vec![
        (CORPUS, number("real Logons"), logons().count()),
        (
            CORPUS,
            number("real Logons refused"),
            refused(&mut logons()),
        ),
        (
            CORPUS,
            number("refused though BodyLength and CheckSum are right"),
            refused(&mut sound()),
        ),
        (CORPUS, number("no Logons"), others().count()),
        (
            CORPUS,
            number("no Logons routed"),
            others().count() - refused(&mut others()),
        ),
    ]
}

fn judge_attacks(cases: &[Case], handed: &[Option<usize>]) -> Vec<Judged> {
    let pairs = || cases.iter().zip(handed);
    let ambiguous = |case: &Case| case.expect == Expect::Refused("ambiguous_field".to_owned());
    let hides = |case: &Case| case.kind == "data hides";
    let misled = |of: &dyn Fn(&Case) -> bool| {
        let routed = pairs().filter_map(|(case, engine)| Some((case, ENGINES[(*engine)?])));
        let routed = routed.filter(|(case, _)| of(case));
        let misled =
            routed.filter(|(case, engine)| a_reader_follows_another_than(engine, &case.bytes));
        misled.count()
    };
    let clear = |case: &Case| matches!(case.expect, Expect::Engine(_));
    let refused = pairs().filter(|(case, engine)| clear(case) && engine.is_none());
    vec![
        (ATTACKS, number("cases"), cases.len()),
        (
            ATTACKS,
            number("ambiguous"),
            cases.iter().filter(|case| ambiguous(case)).count(),
        ),
        (
            ATTACKS,
            number("handed to an engine though a reader sees the other one"),
            misled(&|_| true),
        ),
        (
            ATTACKS,
            number("of them by a field hidden in data"),
            misled(&hides),
        ),
        (
            ATTACKS,
            number("unambiguous"),
            cases.iter().filter(|case| clear(case)).count(),
        ),
        (ATTACKS, number("unambiguous refused"), refused.count()),
    ]
}
