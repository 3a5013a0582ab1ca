//! The two QuickFIX peers: the engine that accepts and the counterparty that connects.
//!
//! Both are Python programs (`tests/peers`) that obey lines on standard input and report lines on
//! standard output; here they have methods.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Process, kind, text};
use crate::tls::Files;
use crate::tool;

/// One FIX session, seen from the counterparty.
#[derive(Clone, Debug)]
pub struct Session {
    begin: String,
    counterparty: String,
    engine: String,
    logon: Vec<(u32, String)>,
    reset_on_logon: bool,
    dictionary: bool,
    logon_timeout: Option<Duration>,
}

impl Session {
    /// A session of this version between these two CompIDs. `FIXT.1.1` carries FIX.5.0SP2.
    #[must_use]
    pub fn new(begin: &str, counterparty: &str, engine: &str) -> Self {
        Self {
            begin: begin.to_owned(),
            counterparty: counterparty.to_owned(),
            engine: engine.to_owned(),
            logon: Vec::new(),
            reset_on_logon: false,
            dictionary: false,
            logon_timeout: None,
        }
    }

    /// One more field on the counterparty's Logon.
    #[must_use]
    pub fn with(mut self, tag: u32, value: &str) -> Self {
        self.logon.push((tag, value.to_owned()));
        self
    }

    /// Both sides begin at sequence number 1 with every Logon.
    #[must_use]
    pub fn reset_on_logon(mut self) -> Self {
        self.reset_on_logon = true;
        self
    }

    /// QuickFIX knows from a dictionary of the tests which fields are data fields, and honours their lengths. Whatever
    /// else a dictionary lets it refuse, it accepts.
    #[must_use]
    pub fn with_dictionary(mut self) -> Self {
        self.dictionary = true;
        self
    }

    /// How long QuickFIX waits for the answer to a Logon; unless it is said, ten seconds.
    #[must_use]
    pub fn patient_for(mut self, time: Duration) -> Self {
        self.logon_timeout = Some(time);
        self
    }

    /// Whether these bytes begin with a Logon of this session.
    #[must_use]
    pub fn is_begun_by(&self, bytes: &[u8]) -> bool {
        let first = bytes
            .split_inclusive(|byte| *byte == b'\x01')
            .take_while(|field| !field.starts_with(b"10="));
        let first: Vec<&[u8]> = first.collect();
        [
            (8, self.begin.as_str()),
            (35, "A"),
            (49, &self.counterparty),
            (56, &self.engine),
        ]
        .iter()
        .all(|(tag, value)| first.contains(&format!("{tag}={value}\x01").as_bytes()))
    }

    /// The counterparty's CompID.
    #[must_use]
    pub fn sender(&self) -> &str {
        &self.counterparty
    }

    /// The BeginString.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.begin
    }

    /// Its name in the counterparty's events.
    #[must_use]
    pub fn at_counterparty(&self) -> String {
        format!("{}:{}->{}", self.begin, self.counterparty, self.engine)
    }

    /// Its name in the engine's events.
    #[must_use]
    pub fn at_engine(&self) -> String {
        format!("{}:{}->{}", self.begin, self.engine, self.counterparty)
    }

    fn settings(&self, sender: &str, target: &str) -> Value {
        let logon: serde_json::Map<String, Value> = self
            .logon
            .iter()
            .map(|(tag, value)| (tag.to_string(), json!(value)))
            .collect();
        let mut more = if self.dictionary {
            json!({
                "UseDataDictionary": "Y", "DataDictionary": tool::peer_script("logon44.xml").display().to_string(),
                "ValidateFieldsOutOfOrder": "N", "ValidateFieldsHaveValues": "N",
                "ValidateUserDefinedFields": "N", "AllowUnknownMsgFields": "Y",
            })
        } else {
            json!({})
        };
        if let Some(time) = self.logon_timeout {
            more["LogonTimeout"] = json!(time.as_secs().to_string());
        }
        json!({
            "begin": self.begin, "sender": sender, "target": target, "logon": logon,
            "reset_on_logon": self.reset_on_logon, "settings": more,
        })
    }

    fn for_counterparty(&self) -> Value {
        self.settings(&self.counterparty, &self.engine)
    }

    fn for_engine(&self) -> Value {
        let mut settings = self.settings(&self.engine, &self.counterparty);
        settings["logon"] = json!({});
        settings
    }
}

/// A QuickFIX process of either kind.
pub struct Peer {
    process: Arc<Process>,
}

impl Peer {
    /// An engine that accepts these sessions on a port of its own.
    #[must_use]
    pub fn engine(name: &str, sessions: &[Session]) -> Engine {
        Self::engine_with_store(name, sessions, None)
    }

    /// An engine that outlives bytes that are no FIX. It is not to be told to send anything.
    #[must_use]
    pub fn engine_for_strangers(name: &str, sessions: &[Session]) -> Engine {
        Self::start_engine(name, sessions, None, true)
    }

    /// An engine that keeps its sequence numbers in `store`.
    #[must_use]
    pub fn engine_with_store(name: &str, sessions: &[Session], store: Option<&Path>) -> Engine {
        Self::start_engine(name, sessions, store, false)
    }

    fn start_engine(
        name: &str,
        sessions: &[Session],
        store: Option<&Path>,
        strangers: bool,
    ) -> Engine {
        let sessions: Vec<Value> = sessions.iter().map(Session::for_engine).collect();
        let peer = Self::start(
            name,
            "engine.py",
            &json!({
                "port": 0, "store": store.map(Path::to_string_lossy), "sessions": sessions,
                "strangers": strangers,
            }),
        );
        let listening = peer
            .process
            .wait_for("the engine's port", |event| kind(event) == "listening");
        let port = listening["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .expect("a port");
        Engine {
            peer,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// A counterparty that connects these sessions and, when it loses one, tries again every second.
    #[must_use]
    pub fn counterparty(name: &str, address: SocketAddr, sessions: &[Session]) -> Self {
        Counterparty::new(name, address, sessions).start()
    }

    fn start(name: &str, script: &str, settings: &Value) -> Self {
        let process = Process::start(name, tool::python(), |command| {
            command
                .arg("-u")
                .arg(tool::peer_script(script))
                .arg(settings.to_string());
            command.env("PYTHONDONTWRITEBYTECODE", "1");
        });
        Self::of(Arc::new(process))
    }

    /// One that somebody else has started.
    #[must_use]
    pub const fn of(process: Arc<Process>) -> Self {
        Self { process }
    }

    /// The settings of an engine that accepts these sessions on this port.
    #[must_use]
    pub fn engine_settings(port: u16, sessions: &[Session]) -> Value {
        let sessions: Vec<Value> = sessions.iter().map(Session::for_engine).collect();
        json!({ "port": port, "store": null, "sessions": sessions, "strangers": false })
    }

    /// The process, for its events.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How many times the session has had its onLogon.
    #[must_use]
    pub fn logons(&self, session: &str) -> usize {
        let events = self.process.events();
        events
            .iter()
            .filter(|event| kind(event) == "logon" && text(event, "session") == session)
            .count()
    }

    /// Waits for the session's onLogon.
    pub fn wait_logon(&self, session: &str) {
        self.process
            .wait_for(&format!("the logon of {session}"), |event| {
                kind(event) == "logon" && text(event, "session") == session
            });
    }

    /// Waits for the session's onLogout.
    pub fn wait_logout(&self, session: &str) {
        self.process
            .wait_for(&format!("the logout of {session}"), |event| {
                kind(event) == "logout" && text(event, "session") == session
            });
    }

    /// Waits for a Logout from the other side and returns its text.
    #[must_use]
    pub fn wait_logout_text(&self, session: &str) -> String {
        self.wait_logout_text_after(0, session)
    }

    /// [`Self::wait_logout_text`] among later events.
    #[must_use]
    pub fn wait_logout_text_after(&self, mark: usize, session: &str) -> String {
        let logout = self
            .process
            .wait_after(mark, &format!("a Logout to {session}"), |event| {
                kind(event) == "admin"
                    && text(event, "direction") == "in"
                    && text(event, "type") == "logout"
                    && text(event, "session") == session
            });
        text(&logout, "text").to_owned()
    }

    /// Sends `count` numbered messages on one session and returns how many it has sent since its start.
    pub fn send(&self, session: &str, count: u64) -> u64 {
        let mark = self.process.mark();
        self.process
            .say(&json!({"do": "send", "session": session, "count": count}));
        let sent = self
            .process
            .wait_after(mark, "the messages to be sent", |event| {
                kind(event) == "sent" && text(event, "session") == session
            });
        sent["total"].as_u64().expect("a number of messages")
    }

    /// The numbers of the messages received on one session, in their order.
    #[must_use]
    pub fn received(&self, session: &str) -> Vec<u64> {
        received(&self.process.events(), session)
    }

    /// Waits until the message of this number has come.
    pub fn wait_received(&self, session: &str, number: u64) {
        self.process
            .wait_for(&format!("message {number} of {session}"), |event| {
                kind(event) == "app"
                    && text(event, "session") == session
                    && event["number"].as_u64() == Some(number)
            });
    }

    /// Logs one session out.
    pub fn log_out(&self, session: &str) {
        self.process
            .say(&json!({"do": "logout", "session": session}));
    }

    /// The next sequence numbers of one session: (its own, the other side's).
    pub fn numbers(&self, session: &str) -> (u64, u64) {
        let mark = self.process.mark();
        self.process
            .say(&json!({"do": "numbers", "session": session}));
        let numbers = self
            .process
            .wait_after(mark, "the sequence numbers", |event| {
                kind(event) == "numbers"
            });
        let number = |key: &str| numbers[key].as_u64().expect("a sequence number");
        (number("next_sender"), number("next_target"))
    }

    /// Ends it and waits for its end.
    pub fn stop(self) {
        self.process.say(&json!({"do": "stop"}));
        let status = self.process.wait_exit();
        assert!(
            status.success(),
            "{} ended with {status}",
            self.process.name()
        );
    }
}

fn received(events: &[Value], session: &str) -> Vec<u64> {
    let of_session = events
        .iter()
        .filter(|event| kind(event) == "app" && text(event, "session") == session);
    of_session
        .filter_map(|event| event["number"].as_u64())
        .collect()
}

/// An engine and where it listens.
pub struct Engine {
    peer: Peer,
    address: SocketAddr,
}

impl Engine {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl std::ops::Deref for Engine {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// What a counterparty is started with.
pub struct Counterparty {
    name: String,
    address: SocketAddr,
    host: String,
    sessions: Vec<Session>,
    reconnect_seconds: u32,
    store: Option<PathBuf>,
    tls: Option<Value>,
}

impl Counterparty {
    /// A counterparty that reconnects every second and forgets its sequence numbers.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, sessions: &[Session]) -> Self {
        Self {
            name: name.to_owned(),
            address,
            host: address.ip().to_string(),
            sessions: sessions.to_vec(),
            reconnect_seconds: 1,
            store: None,
            tls: None,
        }
    }

    /// Speaks TLS, with the certificate of these files, and trusts their CA.
    #[must_use]
    pub fn tls(mut self, files: &Files) -> Self {
        let path = |file: std::path::PathBuf| file.display().to_string();
        self.tls = Some(json!({
            "ca": path(files.client_ca()),
            "certificate": path(files.certificate()),
            "key": path(files.key()),
        }));
        self
    }

    /// Connects to this name, which stands for the address. By TLS it asks for it (SNI); for an address it asks for nothing.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        name.clone_into(&mut self.host);
        self
    }

    /// Does not connect a second time within a test.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.reconnect_seconds = 3600;
        self
    }

    /// Keeps its sequence numbers in this directory.
    #[must_use]
    pub fn store(mut self, directory: &Path) -> Self {
        self.store = Some(directory.to_owned());
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Peer {
        let sessions: Vec<Value> = self
            .sessions
            .iter()
            .map(Session::for_counterparty)
            .collect();
        let settings = json!({
            "host": self.host, "port": self.address.port(),
            "reconnect": self.reconnect_seconds, "store": self.store.as_deref().map(Path::to_string_lossy), "sessions": sessions,
            "tls": self.tls,
        });
        Peer::start(&self.name, "counterparty.py", &settings)
    }
}
