//! Does the server keep to its bounds, and answer what it should? Over loopback, each test with a server of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fixgw_core::decision::Reason;
use fixgw_core::wire;
use fixgw_reject_engine::proxy::Fault;
use fixgw_reject_engine::{
    Config, Ending, Limits, Outcome, ProxyProtocol, Text, Unanswered, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longer than any test takes: what waits this long has failed.
const FAR: Duration = Duration::from_mins(1);

struct Server {
    address: SocketAddr,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn limits() -> Limits {
    Limits {
        timeout: FAR,
        linger: FAR,
        ..Limits::default()
    }
}

async fn start(limits: Limits, proxy_protocol: ProxyProtocol, text: &str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, outcomes) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let config = Config {
        text: Text::new(text).unwrap(),
        limits,
        proxy_protocol,
        report: Arc::new(move |outcome| sender.send(*outcome).unwrap()),
    };
    let shutdown = async { drop(stopped.await) };
    Server {
        address,
        outcomes,
        stop,
        task: tokio::spawn(serve(listener, config, shutdown)),
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered to `bytes`, and the server's own account of it.
    async fn ask(&mut self, bytes: &[u8]) -> (Vec<u8>, Outcome) {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let answer = until_closed(&mut stream).await;
        drop(stream);
        (answer, self.outcomes.recv().await.unwrap())
    }

    async fn closed(&mut self, bytes: &[u8], why: Unanswered) {
        let (answer, outcome) = self.ask(bytes).await;
        assert_eq!(
            outcome.ending,
            Ending::Closed(why),
            "{}",
            bytes.escape_ascii()
        );
        assert!(answer.is_empty(), "{}", answer.escape_ascii());
    }

    async fn finish(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// Everything until the end. A reset counts as one: the server closes without reading what it does not want.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let mut chunk = [0_u8; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        got.extend(&chunk[..count]);
    }
    got
}

const LOGON: &[u8] = b"8=FIX.4.4\x019=72\x0135=A\x0149=BROKER\x0156=ENGINE\x0134=1\x0152=20260801-09:30:00.000\x0198=0\x01108=30\x01554=hunter2\x0110=000\x01";

fn header(reason: &str) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let length = u16::try_from(12 + 3 + reason.len()).unwrap();
    header.extend(length.to_be_bytes());
    header.extend([192, 0, 2, 7, 127, 0, 0, 1, 0xC0, 0x01, 0x26, 0x94]);
    header.push(0xE0);
    header.extend(u16::try_from(reason.len()).unwrap().to_be_bytes());
    header.extend(reason.bytes());
    header
}

fn text_of(answer: &[u8]) -> String {
    assert!(wire::trailer(answer).is_some_and(|t| t.body_length_ok && t.checksum_ok));
    let text = wire::first(answer, wire::Tag::new(58).unwrap()).unwrap();
    String::from_utf8(text.reveal().to_vec()).unwrap()
}

#[tokio::test]
async fn answers_by_the_reason_in_the_header() {
    let mut server = start(limits(), ProxyProtocol::Required, "Call the desk").await;
    for (label, reason, text) in [
        ("no_match", Some(Reason::NoMatch), "Call the desk"),
        (
            "ambiguous_field",
            Some(Reason::AmbiguousField),
            "Logon is ambiguous: FIX engines could read its fields differently",
        ),
        (
            "logon_too_large",
            Some(Reason::LogonTooLarge),
            "Logon is too large",
        ),
        ("-", None, "Logon refused by the gateway"),
    ] {
        let (answer, outcome) = server.ask(&[&header(label), LOGON].concat()).await;
        assert_eq!(text_of(&answer), text);
        let expected = Outcome {
            source: "192.0.2.7:49153".parse().unwrap(),
            received_bytes: LOGON.len(),
            ending: Ending::Answered {
                reason,
                sent_bytes: answer.len(),
            },
        };
        assert_eq!(outcome, expected);
    }
    server.finish().await;
}

#[tokio::test]
async fn answers_without_a_header_where_none_is_expected() {
    let mut server = start(limits(), ProxyProtocol::Off, "Call the desk").await;
    let (answer, outcome) = server.ask(LOGON).await;
    assert_eq!(text_of(&answer), "Call the desk");
    assert!(outcome.source.ip().is_loopback());
    server.finish().await;
}

#[tokio::test]
async fn header_and_logon_may_come_in_any_pieces() {
    let mut server = start(limits(), ProxyProtocol::Required, "x").await;
    let bytes = [&header("no_match"), LOGON].concat();
    for size in [1, 7, header("no_match").len() + 1] {
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        for piece in bytes.chunks(size) {
            stream.write_all(piece).await.unwrap();
        }
        assert_eq!(text_of(&until_closed(&mut stream).await), "x");
        drop(stream);
        server.outcomes.recv().await.unwrap();
    }
    server.finish().await;
}

#[tokio::test]
async fn what_follows_the_logon_is_read_and_dropped_and_the_answer_is_one() {
    let mut server = start(limits(), ProxyProtocol::Required, "x").await;
    let order = b"8=FIX.4.4\x019=5\x0135=D\x0110=000\x01".repeat(4000);
    let (answer, _) = server
        .ask(&[&header("no_match"), LOGON, &order].concat())
        .await;
    assert_eq!(text_of(&answer), "x");
    assert!(
        answer.ends_with(b"\x01") && answer.windows(5).filter(|w| w == b"35=5\x01").count() == 1
    );
    server.finish().await;
}

#[tokio::test]
async fn what_is_no_logon_is_closed_without_an_answer() {
    let mut server = start(limits(), ProxyProtocol::Required, "x").await;
    let behind = |bytes: &[u8]| [&header("not_logon"), bytes].concat();
    server
        .closed(&behind(b"GET / HTTP/1.1\r\n\r\n"), Unanswered::NotFix)
        .await;
    server
        .closed(&behind(b"\x16\x03\x01"), Unanswered::NotFix)
        .await;
    server
        .closed(
            &behind(b"8=FIX.4.4\x019=5\x0135=0\x0110=000\x01"),
            Unanswered::NotLogon,
        )
        .await;
    let begin = format!("8=FIX.{}\x0135=A\x0110=000\x01", "4".repeat(50));
    server
        .closed(&behind(begin.as_bytes()), Unanswered::NotLogon)
        .await;
    server.finish().await;
}

#[tokio::test]
async fn a_missing_or_broken_header_is_closed_without_an_answer() {
    let mut server = start(limits(), ProxyProtocol::Required, "x").await;
    let proxy = Unanswered::Proxy;
    server.closed(LOGON, proxy(Fault::Signature)).await;
    server
        .closed(
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n",
            proxy(Fault::Signature),
        )
        .await;
    let mut version = header("no_match");
    version[12] = 0x31;
    server.closed(&version, proxy(Fault::Kind)).await;
    let mut long = header("no_match");
    long[14..16].copy_from_slice(&[0xFF, 0xFF]);
    server.closed(&long, proxy(Fault::TooLong)).await;
    let mut tlv = header("no_match");
    tlv[29] = 0xFF;
    server.closed(&tlv, proxy(Fault::Length)).await;
    server.finish().await;
}

#[tokio::test]
async fn a_logon_that_does_not_end_within_the_bound_is_closed() {
    let bounded = Limits {
        bytes_max: 1000,
        ..limits()
    };
    let mut server = start(bounded, ProxyProtocol::Off, "x").await;
    let endless = [
        b"8=FIX.4.4\x0135=A\x01".as_slice(),
        &b"58=x\x01".repeat(200),
    ]
    .concat();
    server.closed(&endless, Unanswered::TooLarge).await;
    server.finish().await;
}

#[tokio::test]
async fn a_connection_that_leaves_is_told_apart_by_what_it_said() {
    let mut server = start(limits(), ProxyProtocol::Required, "x").await;
    for (bytes, why) in [
        (Vec::new(), Unanswered::Silent),
        (header("no_match"), Unanswered::Silent),
        (
            header("no_match")[..20].to_vec(),
            Unanswered::Proxy(Fault::Length),
        ),
        (
            [&header("no_match"), &LOGON[..30]].concat(),
            Unanswered::Incomplete,
        ),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(until_closed(&mut stream).await.is_empty());
        let outcome = server.outcomes.recv().await.unwrap();
        assert_eq!(outcome.ending, Ending::Closed(why));
    }
    server.finish().await;
}

#[tokio::test]
async fn a_slow_counterparty_is_closed_at_the_deadline() {
    let short = Limits {
        timeout: Duration::from_millis(50),
        ..limits()
    };
    let mut server = start(short, ProxyProtocol::Off, "x").await;
    let mut stream = server.connect().await;
    stream.write_all(&LOGON[..40]).await.unwrap();
    assert!(until_closed(&mut stream).await.is_empty());
    let outcome = server.outcomes.recv().await.unwrap();
    assert_eq!(outcome.ending, Ending::Closed(Unanswered::Timeout));
    assert_eq!(outcome.received_bytes, 40);
    server.finish().await;
}

/// Asks until there is a place to be answered in.
async fn until_there_is_a_place(server: &mut Server) {
    let asked = async {
        loop {
            let (_, outcome) = server.ask(LOGON).await;
            if let Ending::Answered { .. } = outcome.ending {
                break;
            }
        }
    };
    tokio::time::timeout(FAR, asked)
        .await
        .expect("the place is given back");
}

#[tokio::test]
async fn a_counterparty_that_does_not_close_after_its_answer_is_closed() {
    let short = Limits {
        connections_max: 1,
        linger: Duration::from_millis(50),
        ..limits()
    };
    let mut server = start(short, ProxyProtocol::Off, "x").await;
    let mut stays = server.connect().await;
    stays.write_all(LOGON).await.unwrap();
    assert_eq!(text_of(&until_closed(&mut stays).await), "x");
    server.outcomes.recv().await.unwrap();
    until_there_is_a_place(&mut server).await;
    drop(stays);
    server.finish().await;
}

#[tokio::test]
async fn a_counterparty_that_goes_on_sending_after_its_answer_is_closed() {
    let mut server = start(limits(), ProxyProtocol::Off, "x").await;
    let mut talks = server.connect().await;
    talks.write_all(LOGON).await.unwrap();
    assert_eq!(text_of(&until_closed(&mut talks).await), "x");
    server.outcomes.recv().await.unwrap();
    // Its half is still open: that it is closed shows in that writing fails.
    let order = [b'8'; 4096];
    let sent = async { while talks.write_all(&order).await.is_ok() {} };
    tokio::time::timeout(FAR, sent)
        .await
        .expect("writing fails");
    server.finish().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_the_place_is_given_back() {
    let one = Limits {
        connections_max: 1,
        ..limits()
    };
    let mut server = start(one, ProxyProtocol::Off, "x").await;
    let mut first = server.connect().await;
    // Accepted in order: once this one is refused, the first holds the place.
    let mut second = server.connect().await;
    assert!(until_closed(&mut second).await.is_empty());
    let outcome = server.outcomes.recv().await.unwrap();
    assert_eq!(outcome.ending, Ending::Closed(Unanswered::Full));
    first.write_all(LOGON).await.unwrap();
    assert_eq!(text_of(&until_closed(&mut first).await), "x");
    assert!(matches!(
        server.outcomes.recv().await.unwrap().ending,
        Ending::Answered { .. }
    ));
    drop(first);
    // The place is free when the server has seen the first one close.
    until_there_is_a_place(&mut server).await;
    server.finish().await;
}

#[tokio::test]
async fn stopping_closes_connections_that_wait() {
    let mut server = start(limits(), ProxyProtocol::Off, "x").await;
    let mut waiting = server.connect().await;
    waiting.write_all(b"8=FIX").await.unwrap();
    let (answer, _) = server.ask(LOGON).await;
    assert_eq!(text_of(&answer), "x");
    let address = server.address;
    server.finish().await;
    assert!(until_closed(&mut waiting).await.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}
