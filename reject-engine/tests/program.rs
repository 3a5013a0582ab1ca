//! Does the program say where it listens, print lines without values, and stop when told to?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fixgw-reject-engine");
const LOGON: &[u8] = b"8=FIX.4.2\x019=5\x0135=A\x0149=BROKER\x0156=ENGINE\x01554=hunter2\x0196=hunter2\x0110=000\x01";

struct Program {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Program {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--proxy-protocol", "off"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn stop(mut self, signal: Signal) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{rest}");
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn prints_its_address_and_a_line_for_each_answer_without_values() {
    let mut program = Program::start(&["--text", "Call the desk"]);
    let listening = program.line();
    let address = listening
        .strip_prefix("listening on ")
        .unwrap()
        .parse()
        .unwrap();
    let answer = ask(address, LOGON);
    assert!(
        answer.contains("\u{1}56=BROKER\u{1}") && answer.contains("\u{1}58=Call the desk\u{1}")
    );
    let line = program.line();
    assert!(line.starts_with("answered 127.0.0.1:"), "{line}");
    let counts = format!(
        "reason=no_match received_bytes={} sent_bytes={}",
        LOGON.len(),
        answer.len()
    );
    assert!(line.ends_with(&counts), "{line}");
    drop(TcpStream::connect(address).unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET ").unwrap();
    let line = program.line();
    assert!(
        line.starts_with("closed 127.0.0.1:") && line.ends_with("why=not_fix received_bytes=4"),
        "{line}"
    );
    assert_eq!(program.stop(Signal::TERM), "");
}

#[test]
fn prints_json_and_stops_at_an_interrupt() {
    let mut program = Program::start(&["--json"]);
    let listening: serde_json::Value = serde_json::from_str(&program.line()).unwrap();
    let address = listening
        .get("address")
        .unwrap()
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    ask(address, LOGON);
    let line: serde_json::Value = serde_json::from_str(&program.line()).unwrap();
    assert_eq!(line.get("event").unwrap(), "answered");
    assert_eq!(line.get("reason").unwrap(), "no_match");
    assert_eq!(line.get("received_bytes").unwrap(), LOGON.len());
    assert!(!line.to_string().contains("BROKER"));
    assert_eq!(program.stop(Signal::INT), "");
}

#[test]
fn a_taken_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(PROGRAM)
        .args(["--listen", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&address) && said.contains("--listen"),
        "{said}"
    );
}

#[test]
fn a_text_that_would_break_a_field_is_refused() {
    let output = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--text", "a\u{1}10=000"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}
