//! Did hundreds of live sessions go on unbroken while something was done to the gateway?
//!
//! A flock is so many light sessions through a gateway, both sides of each in one thread: a client that sends a Logon and
//! numbered messages, and an engine that answers with a Logon and numbered messages of its own. Each byte that arrives on either
//! side is held against the bytes that were sent, so that a lost one, a repeated one and a foreign one are told apart at once.
//!
//! Never connects a session a second time, and never stops at the first fault: what is wrong is counted and told at the end.

use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::fix;
use crate::process::{EVENT_WAIT_MAX, wait_until};
use crate::socket::{FourTuple, established};
use crate::tls;

/// How often each side of each session speaks, unless a flock is told otherwise.
const BREATH: Duration = Duration::from_millis(100);
/// Turns in a breath: not all speak in the same moment.
const TURNS: usize = 10;
/// Sessions that are on their way at a time while a flock gathers.
const ARRIVING_MAX: usize = 50;
/// Bytes of one way that may be under way before its side falls silent: a gateway that passes nothing on must not make the
/// harness keep everything.
const UNDER_WAY_MAX: usize = 256 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4_096;
/// Faults that are told in words; the others are counted.
const TOLD_MAX: usize = 8;
/// What one wait for sockets brings at most.
const READY_MAX: usize = 512;

/// What every light session's Logon says after its own name.
const TARGET: &str = "VENUE";
const BEGIN: &str = "FIX.4.4";
/// How the CompIDs of a flock begin: one pattern routes them all.
pub const PREFIX: &str = "FLOCK";
/// A CompID of that kind that is no session's: the fold answers it as a light engine would, and does not count it. So a test sees
/// where the flock's route leads.
pub const GUEST: &str = "FLOCK-GUEST";
/// The name that the fold answers with.
pub const NAME: &str = "fold";

/// Where the light sessions end. It listens from the start, so that a gateway can be told where.
pub struct Fold {
    listener: TcpListener,
    address: SocketAddr,
}

impl Default for Fold {
    fn default() -> Self {
        Self::open()
    }
}

impl Fold {
    /// Listens on a port of its own.
    #[must_use]
    pub fn open() -> Self {
        Self::open_on(Ipv4Addr::LOCALHOST)
    }

    /// As [`Self::open`], on another of this machine's addresses.
    #[must_use]
    pub fn open_on(address: Ipv4Addr) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let any: SocketAddr = (address, 0).into();
        listener.bind(&any.into()).expect("a port is free");
        listener.listen(BACKLOG).expect("a bound socket can listen");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let listener = TcpListener::from(listener);
        let address = listener.local_addr().expect("a listener has an address");
        Self { listener, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A flock of so many sessions through `gateway`, all logged on.
    #[must_use]
    pub fn gather(self, gateway: SocketAddr, size: usize) -> Flock {
        self.gather_each(gateway, size, BREATH, &|| Side::plain(gateway))
    }

    /// As [`Self::gather`], each speaking once in `breath`.
    #[must_use]
    pub fn gather_slow(self, gateway: SocketAddr, size: usize, breath: Duration) -> Flock {
        self.gather_each(gateway, size, breath, &|| Side::plain(gateway))
    }

    /// As [`Self::gather`], by TLS.
    #[must_use]
    pub fn gather_tls(self, gateway: SocketAddr, size: usize, client: &tls::Client<'_>) -> Flock {
        self.gather_each(gateway, size, BREATH, &|| Side::tls(client, gateway))
    }

    fn gather_each(
        self,
        gateway: SocketAddr,
        size: usize,
        breath: Duration,
        connect: &dyn Fn() -> Side,
    ) -> Flock {
        let shared = Arc::new(Shared::default());
        let (arriving, arrivals) = std::sync::mpsc::channel();
        let mut work = Work::new(self.listener, Arc::clone(&shared), breath);
        let thread = std::thread::spawn(move || {
            while !work.shared.ending.load(Ordering::Acquire) {
                for side in arrivals.try_iter() {
                    work.enter(side);
                }
                work.round();
            }
            work.end()
        });
        let flock = Flock {
            shared: Arc::clone(&shared),
            thread: Some(thread),
            size,
        };
        let live = || shared.live.load(Ordering::Acquire);
        for number in 0..size {
            wait_until("the sessions before to be live", || {
                (number < live() + ARRIVING_MAX).then_some(())
            });
            arriving.send(connect()).expect("the flock's thread lives");
        }
        wait_until("every session of the flock to be live", || {
            flock.assert_sound();
            (live() == size).then_some(())
        });
        assert_eq!(
            shared.gateway_addresses(),
            BTreeSet::from([gateway]),
            "all are connected to the gateway"
        );
        flock
    }
}

/// What the flock's thread tells while it works.
#[derive(Default)]
struct Shared {
    live: AtomicUsize,
    accepted: AtomicUsize,
    ending: AtomicBool,
    /// Messages that have arrived, both ways.
    arrived: AtomicUsize,
    faults: Mutex<Vec<String>>,
    gateways: Mutex<BTreeSet<SocketAddr>>,
}

impl Shared {
    fn gateway_addresses(&self) -> BTreeSet<SocketAddr> {
        let addresses = self.gateways.lock();
        addresses.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn faults(&self) -> Vec<String> {
        let faults = self.faults.lock();
        faults.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, fault: String) {
        let faults = self.faults.lock();
        faults.unwrap_or_else(PoisonError::into_inner).push(fault);
    }
}

/// A flock at work.
pub struct Flock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Account>>,
    size: usize,
}

impl Flock {
    /// How many sessions it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Connections that its engine has accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Fails as soon as something is known to be broken, rather than at the end.
    pub fn assert_sound(&self) {
        let faults = self.shared.faults();
        let told: Vec<&String> = faults.iter().take(TOLD_MAX).collect();
        assert!(
            told.is_empty(),
            "{} faults, the first: {told:#?}\n{}",
            faults.len(),
            crate::process::journal()
        );
    }

    /// Waits until each side of each session has spoken `rounds` times more on average, and all of that has arrived.
    pub fn wait_rounds(&self, rounds: usize) {
        let arrived = || self.shared.arrived.load(Ordering::Acquire);
        let wanted = arrived() + 2 * self.size * rounds;
        wait_until("the flock to go on", || {
            self.assert_sound();
            (arrived() >= wanted).then_some(())
        });
    }

    /// Falls silent, waits until what was sent has arrived, and says what there is to say.
    #[must_use]
    pub fn end(mut self) -> Account {
        self.shared.ending.store(true, Ordering::Release);
        let thread = self.thread.take().expect("a flock ends once");
        thread.join().expect("the flock's thread only counts")
    }
}

impl Drop for Flock {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
    }
}

/// What became of a flock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sessions.
    pub sessions: usize,
    /// Messages that the engine has received.
    pub to_engine: u64,
    /// Messages that the clients have received.
    pub to_clients: u64,
    /// Sessions of which something is wrong.
    pub broken: usize,
    /// Bytes that were sent and did not arrive.
    pub lost: u64,
    /// Bytes that arrived and were not sent, or not in this place.
    pub foreign: u64,
    /// The longest that a message took from one side to the other.
    pub pause: Duration,
    /// What is wrong, in words; the first of it.
    pub faults: Vec<String>,
}

impl Account {
    /// Fails unless nothing is wrong.
    pub fn assert_unbroken(&self) {
        let wrong = (self.broken, self.lost, self.foreign, self.faults.len());
        assert_eq!(
            wrong,
            (0, 0, 0, 0),
            "sessions broken, bytes lost, bytes foreign, faults: {:#?}\n{}",
            self.faults,
            crate::process::journal()
        );
    }
}

/// One end of a session.
enum Side {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Side {
    fn plain(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateway).expect("the gateway takes connections");
        Self::Plain(prepared(stream))
    }

    fn tls(client: &tls::Client<'_>, gateway: SocketAddr) -> Self {
        let mut stream = client.connect(gateway).into_stream();
        let StreamOwned { conn, sock } = &mut stream;
        while conn.is_handshaking() {
            conn.complete_io(sock).expect("the gateway shakes hands");
        }
        let StreamOwned { conn, sock } = stream;
        Self::Tls(Box::new(StreamOwned::new(conn, prepared(sock))))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn addresses(&self) -> FourTuple {
        addresses(self.socket())
    }
}

impl Read for Side {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Side {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_nonblocking(true))
        .expect("a socket can be made non-blocking, and without delay");
    stream
}

fn addresses(stream: &TcpStream) -> FourTuple {
    let local = stream.local_addr().expect("a socket has an address");
    // A connection that was reset has no other end any more.
    let remote = stream.peer_addr().unwrap_or(local);
    (local, remote)
}

/// One way of one session: what was said and what of it has arrived.
#[derive(Default)]
struct Way {
    /// Not taken by the sender's socket yet.
    unsent: VecDeque<u8>,
    /// Said, and not arrived.
    due: VecDeque<u8>,
    /// Bytes said, and bytes that arrived as they were said.
    said: u64,
    arrived: u64,
    /// Where each message that is under way ends, and when it was said.
    marks: VecDeque<(u64, Instant)>,
    messages: u64,
    foreign: u64,
    pause: Duration,
}

impl Way {
    fn say(&mut self, message: &[u8]) {
        self.unsent.extend(message);
        self.due.extend(message);
        self.said += message.len() as u64;
        self.marks.push_back((self.said, Instant::now()));
    }

    /// Hands to the socket what it takes.
    fn send(&mut self, side: &mut Side) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            let (bytes, _) = self.unsent.as_slices();
            match side.write(bytes) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Holds what came against what was said. False: it is something else.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let same = bytes.iter().zip(&self.due);
        let same = same.take_while(|(came, said)| came == said).count();
        drop(self.due.drain(..same));
        self.arrived += same as u64;
        self.foreign += (bytes.len() - same) as u64;
        while let Some((end, since)) = self.marks.front().copied()
            && end <= self.arrived
        {
            self.messages += 1;
            self.pause = self.pause.max(since.elapsed());
            self.marks.pop_front();
        }
        same == bytes.len()
    }
}

/// One session: its client, and its engine's end once that has it.
struct Session {
    name: String,
    client: Side,
    engine: Option<Side>,
    addresses: (FourTuple, Option<FourTuple>),
    to_engine: Way,
    to_client: Way,
    spoken: u32,
    live: bool,
    faults: Vec<String>,
    /// How many of them were told.
    told: usize,
}

impl Session {
    fn is_silent(&self) -> bool {
        !self.live || !self.faults.is_empty()
    }

    /// Each side says its next message.
    fn speak(&mut self) {
        let full = |way: &Way| way.due.len() > UNDER_WAY_MAX;
        if self.is_silent() || full(&self.to_engine) || full(&self.to_client) {
            return;
        }
        self.spoken += 1;
        let (number, name) = (self.spoken, &self.name);
        self.to_engine
            .say(&fix::order(BEGIN, name, TARGET, number + 1, number));
        self.to_client
            .say(&fix::order(BEGIN, TARGET, name, number + 1, number));
        self.send();
    }

    fn send(&mut self) {
        if let Err(error) = self.to_engine.send(&mut self.client) {
            self.faults.push(format!("its client cannot send: {error}"));
        }
        if let Some(engine) = &mut self.engine
            && let Err(error) = self.to_client.send(engine)
        {
            self.faults.push(format!("its engine cannot send: {error}"));
        }
    }
}

/// Which socket has something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Listener,
    Client(usize),
    Engine(usize),
    Newcomer(usize),
}

impl Who {
    const KINDS: u64 = 4;

    fn data(self) -> epoll::EventData {
        let (kind, index) = match self {
            Self::Listener => (0, 0),
            Self::Client(index) => (1, index),
            Self::Engine(index) => (2, index),
            Self::Newcomer(index) => (3, index),
        };
        epoll::EventData::new_u64(index as u64 * Self::KINDS + kind)
    }

    fn of(data: epoll::EventData) -> Self {
        let index = usize::try_from(data.u64() / Self::KINDS).expect("an index of ours");
        match data.u64() % Self::KINDS {
            0 => Self::Listener,
            1 => Self::Client(index),
            2 => Self::Engine(index),
            _ => Self::Newcomer(index),
        }
    }
}

/// A connection that the engine has accepted and whose Logon has not come whole.
struct Newcomer {
    stream: TcpStream,
    bytes: Vec<u8>,
}

struct Work {
    poll: OwnedFd,
    listener: TcpListener,
    shared: Arc<Shared>,
    sessions: Vec<Session>,
    newcomers: Vec<Option<Newcomer>>,
    breath: Duration,
    turn: usize,
    due: Instant,
}

impl Work {
    fn new(listener: TcpListener, shared: Arc<Shared>, breath: Duration) -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux has epoll");
        let work = Self {
            poll,
            listener,
            shared,
            sessions: Vec::new(),
            newcomers: Vec::new(),
            breath,
            turn: 0,
            due: Instant::now(),
        };
        work.watch(&work.listener, Who::Listener);
        work
    }

    fn watch(&self, socket: &impl std::os::fd::AsFd, who: Who) {
        epoll::add(&self.poll, socket, who.data(), epoll::EventFlags::IN)
            .expect("a socket can be watched");
    }

    /// One more session begins: its client sends the Logon.
    fn enter(&mut self, client: Side) {
        let index = self.sessions.len();
        let name = format!("{PREFIX}{index}");
        self.watch(client.socket(), Who::Client(index));
        let (local, gateway) = client.addresses();
        let gateways = self.shared.gateways.lock();
        let _ = gateways
            .unwrap_or_else(PoisonError::into_inner)
            .insert(gateway);
        let mut session = Session {
            to_engine: Way::default(),
            to_client: Way::default(),
            addresses: ((local, gateway), None),
            client,
            engine: None,
            spoken: 0,
            live: false,
            faults: Vec::new(),
            told: 0,
            name,
        };
        session
            .to_engine
            .say(&fix::logon(BEGIN, &session.name, TARGET, &[]));
        session.send();
        self.sessions.push(session);
    }

    /// Whose turn it is speaks; then, until the next turn, whatever arrives is taken.
    fn round(&mut self) {
        let turn = self.turn;
        self.turn = (turn + 1) % TURNS;
        let speakers = self.sessions.iter_mut().skip(turn).step_by(TURNS);
        speakers.for_each(Session::speak);
        let turns = u32::try_from(TURNS).expect("a small number");
        // Turns that were missed are not made up for: that would be a storm of our own.
        self.due = (self.due + self.breath / turns).max(Instant::now());
        while Instant::now() < self.due {
            self.take_until(self.due);
        }
        self.report();
    }

    fn report(&mut self) {
        let mut arrived = 0;
        let mut live = 0;
        for session in &mut self.sessions {
            arrived += session.to_engine.messages + session.to_client.messages;
            session.live |= session.to_engine.messages > 0 && session.to_client.messages > 0;
            live += usize::from(session.live);
            for fault in session.faults.iter().skip(session.told) {
                self.shared.tell(format!("{}: {fault}", session.name));
            }
            session.told = session.faults.len();
        }
        let arrived = usize::try_from(arrived).expect("so many messages do not exist");
        self.shared.arrived.store(arrived, Ordering::Release);
        self.shared.live.store(live, Ordering::Release);
    }

    fn take_until(&mut self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a short time");
        let mut events = Vec::with_capacity(READY_MAX);
        match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("sockets cannot be waited for: {error}"),
        }
        for event in events {
            match Who::of(event.data) {
                Who::Listener => self.accept(),
                Who::Newcomer(index) => self.take_logon(index),
                who @ (Who::Client(index) | Who::Engine(index)) => self.take(index, who),
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.shared.accepted.fetch_add(1, Ordering::AcqRel);
            let (stream, index) = (prepared(stream), self.newcomers.len());
            self.watch(&stream, Who::Newcomer(index));
            self.newcomers.push(Some(Newcomer {
                stream,
                bytes: Vec::new(),
            }));
        }
    }

    /// Reads what says whose connection it is.
    fn take_logon(&mut self, index: usize) {
        let Some(mut newcomer) = self.newcomers[index].take() else {
            return;
        };
        let mut buffer = [0; 4_096];
        match newcomer.stream.read(&mut buffer) {
            Ok(0) => {
                return self
                    .shared
                    .tell("a connection to the engine ended before its Logon".to_owned());
            }
            Ok(count) => newcomer.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                return self.shared.tell(format!(
                    "a connection to the engine failed before its Logon: {error}"
                ));
            }
        }
        let owner = match comer(&newcomer.bytes) {
            Some(Comer::Session(owner)) => owner,
            Some(Comer::Guest) => {
                self.shared.accepted.fetch_sub(1, Ordering::AcqRel);
                let answer = [format!("[{NAME}]").as_bytes(), &newcomer.bytes].concat();
                // Whoever asks and does not wait for the answer is no session.
                let _ = newcomer.stream.write_all(&answer);
                return;
            }
            None => {
                self.newcomers[index] = Some(newcomer);
                return;
            }
        };
        let Newcomer { stream, bytes } = newcomer;
        let is_awaited = |session: &Session| session.engine.is_none();
        if !self.sessions.get(owner).is_some_and(is_awaited) {
            let name = format!("{PREFIX}{owner}");
            let told = format!("the engine was given {name}, whom it has or does not know");
            return self.shared.tell(told);
        }
        let engine = Who::Engine(owner).data();
        epoll::modify(&self.poll, &stream, engine, epoll::EventFlags::IN)
            .expect("a socket that is watched");
        let session = &mut self.sessions[owner];
        session.addresses.1 = Some(addresses(&stream));
        session.engine = Some(Side::Plain(stream));
        let answer = fix::logon(BEGIN, TARGET, &session.name, &[]);
        session.to_client.say(&answer);
        if !session.to_engine.take(&bytes) {
            session.faults.push("its Logon is another".to_owned());
        }
        session.send();
    }

    /// Takes all that has come to one side of a session.
    fn take(&mut self, index: usize, who: Who) {
        let session = &mut self.sessions[index];
        let (side, way, name) = if who == Who::Client(index) {
            (Some(&mut session.client), &mut session.to_client, "client")
        } else {
            (session.engine.as_mut(), &mut session.to_engine, "engine")
        };
        let Some(side) = side else { return };
        let mut buffer = [0; 16 * 1_024];
        let fault = loop {
            match side.read(&mut buffer) {
                Ok(0) => break format!("the connection to its {name} was ended"),
                Ok(count) if way.take(&buffer[..count]) => {}
                Ok(count) => {
                    let shown = String::from_utf8_lossy(&buffer[..count]).replace('\u{1}', "|");
                    break format!("its {name} got other bytes than were sent: {shown}");
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => break format!("the connection to its {name} failed: {error}"),
            }
        };
        // An end would be told again and again.
        let _ = epoll::delete(&self.poll, side.socket());
        session.faults.push(fault);
    }

    /// Waits for what is under way, and closes the account.
    fn end(mut self) -> Account {
        let end = Instant::now() + EVENT_WAIT_MAX;
        let under_way = |session: &Session| {
            session.faults.is_empty()
                && !(session.to_engine.due.is_empty() && session.to_client.due.is_empty())
        };
        while self.sessions.iter().any(under_way) && Instant::now() < end {
            self.sessions.iter_mut().for_each(Session::send);
            self.take_until(Instant::now() + self.breath / 10);
        }
        // What would be one too many has had its time by now.
        self.take_until(Instant::now() + self.breath);
        let live = established(std::process::id());
        let mut account = Account {
            sessions: self.sessions.len(),
            ..Account::default()
        };
        for session in &mut self.sessions {
            let now = (
                session.client.addresses(),
                session.engine.as_ref().map(Side::addresses),
            );
            if now != session.addresses
                || !live.contains(&now.0)
                || !now.1.is_some_and(|engine| live.contains(&engine))
            {
                session.faults.push(format!(
                    "its connections were {:?} and are {now:?}, or are not live",
                    session.addresses
                ));
            }
            for way in [&session.to_engine, &session.to_client] {
                account.lost += way.said - way.arrived;
                account.foreign += way.foreign;
                account.pause = account.pause.max(way.pause);
            }
            account.to_engine += session.to_engine.messages;
            account.to_clients += session.to_client.messages;
            account.broken += usize::from(!session.faults.is_empty());
        }
        self.report();
        let accepted = self.shared.accepted.load(Ordering::Acquire);
        if accepted != self.sessions.len() {
            let told = format!("the engine accepted {accepted} connections");
            self.shared.tell(told);
        }
        account.faults = self.shared.faults();
        account.faults.truncate(TOLD_MAX);
        account
    }
}

/// Whose connection begins so.
enum Comer {
    Session(usize),
    Guest,
}

/// `None` until the Logon is whole.
fn comer(bytes: &[u8]) -> Option<Comer> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.rsplit_once("\u{1}10=")?.1.strip_suffix('\u{1}')?;
    let (_, after) = text.split_once("\u{1}49=")?;
    let name = after.split('\u{1}').next()?;
    if name == GUEST {
        return Some(Comer::Guest);
    }
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    Some(Comer::Session(number))
}
