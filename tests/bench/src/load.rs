//! What do counterparties and engines do to a subject, and what do they see of it?
//!
//! One thread is all counterparties and all engines: nothing stands between the sending of a message and its arrival but the subject. An
//! engine answers a Logon with a Logon, and sends back every byte that follows. Each byte that comes back is held against what was
//! sent.
//!
//! - Messages go out at moments that were set beforehand (an open loop), and a round trip counts from that moment: a subject that pauses
//!   meets all messages that were due meanwhile, not one.
//! - While messages are timed the thread never sleeps: it has a processor of its own, and its waking up would be in every figure.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::fix;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Socket, Type};

/// How many engines there are. The rules spread counterparties over them.
pub const ENGINES: usize = 4;
/// Connections that wait to be accepted: more than a storm has.
const BACKLOG: i32 = 16_384;
/// What one look at the sockets brings at most.
const READY_MAX: usize = 1_024;
/// What one read brings at most.
const READ_MAX: usize = 64 * 1_024;
/// Bytes that one connection may have waiting for its socket: beyond that a subject does not keep up, and the figure would be one of queues.
const UNSENT_MAX: usize = 4 * 1_024 * 1_024;
/// A Logon, or an answer to one, has fewer bytes.
const LOGON_MAX: usize = 4 * 1_024;
/// How long a set of sessions may take to be logged on, or to be gone.
const SETTLE_MAX: Duration = Duration::from_mins(1);
/// How long what is under way is waited for once nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);

const BEGIN: &str = "FIX.4.4";
/// How the CompIDs of the counterparties begin; a number follows, which says by its remainder which engine is theirs.
pub const SENDER: &str = "BROKER";
/// Another beginning, for counterparties that no rule knows at first.
pub const NEWCOMER: &str = "NEW";

/// Where to connect, and how.
#[derive(Clone)]
pub struct Target {
    /// The subject's address.
    pub address: SocketAddr,
    /// With TLS, where it is asked for.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether it routes: then each counterparty must reach its own engine.
    pub routes: bool,
}

/// What a connection is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// It stays.
    Session,
    /// It ends when its Logon was answered.
    Visit,
}

/// A counterparty.
struct Client {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    purpose: Purpose,
    begun: u64,
    is_live: bool,
    /// What came before the answer to the Logon was whole.
    answer: Vec<u8>,
    /// When each message that is under way was due.
    due: VecDeque<u64>,
    /// Bytes of the first of them that are back.
    back: usize,
    unsent: Vec<u8>,
    waits_to_send: bool,
}

/// An engine's end.
struct End {
    stream: TcpStream,
    engine: usize,
    /// The Logon, until it is whole.
    logon: Option<Vec<u8>>,
    unsent: Vec<u8>,
    waits_to_send: bool,
}

/// Places that are taken again; what goes while events are looked at frees its place only after them.
struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
    freed: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    fn next(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    fn put(&mut self, place: usize, one: T) {
        self.all[place] = Some(one);
    }

    fn get(&mut self, place: usize) -> Option<&mut T> {
        self.all.get_mut(place)?.as_mut()
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let taken = self.all.get_mut(place)?.take()?;
        self.freed.push(place);
        Some(taken)
    }

    fn settle(&mut self) {
        self.free.append(&mut self.freed);
    }

    fn count(&self) -> usize {
        self.all.len() - self.free.len() - self.freed.len()
    }
}

/// What was seen of connections since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of each Logon that an engine answered: when the connection was begun, and when the answer was there.
    pub answered: Vec<(u64, u64)>,
    /// Connections that ended, or brought something else, before that.
    pub refused: usize,
    /// Sessions that ended, or brought something else, after that.
    pub lost: usize,
    /// Logons that reached another engine than the counterparty's.
    pub misrouted: usize,
}

/// One round trip: when it was due, and how long it took from then.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// Nanoseconds since the load began.
    pub due: u64,
    /// Nanoseconds.
    pub took: u64,
}

/// Messages at a pace.
pub struct Plan<'a> {
    /// What is sent, again and again.
    pub message: &'a [u8],
    /// So many of them a second, all sessions together.
    pub per_second: u32,
    /// For so long.
    pub length: Duration,
    /// Whether the thread never sleeps.
    pub spins: bool,
}

/// What became of the messages of a [`Plan`].
#[derive(Debug, Default)]
pub struct Exchanged {
    /// Each round trip, in the order in which they came back.
    pub trips: Vec<Trip>,
    /// Messages that never came back.
    pub missing: usize,
    /// Time in which the thread had something to do.
    pub worked: Duration,
    /// The whole time.
    pub length: Duration,
}

/// How connections come.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second, whatever becomes of them.
    PerSecond(u32),
    /// So many at a time, the next when one is done.
    AtATime(usize),
}

/// All counterparties and all engines.
pub struct Load {
    poll: OwnedFd,
    begun: Instant,
    engines: Vec<(Socket, SocketAddr)>,
    clients: Slots<Client>,
    ends: Slots<End>,
    sessions: Vec<usize>,
    logons: Vec<Vec<u8>>,
    answer: Vec<u8>,
    /// What is sent at present, and so comes back.
    message: Vec<u8>,
    trips: Vec<Trip>,
    seen: Seen,
    routes: bool,
    /// Whether the next message goes when one is back.
    answers: bool,
    server: ServerName<'static>,
    buffer: Vec<u8>,
}

impl Default for Load {
    fn default() -> Self {
        Self::begin()
    }
}

impl Load {
    /// Its engines listen.
    #[must_use]
    pub fn begin() -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux has epoll");
        let engines: Vec<(Socket, SocketAddr)> = (0..ENGINES).map(|_| engine()).collect();
        for (place, (socket, _)) in engines.iter().enumerate() {
            let data = Who::Engine(place).data();
            epoll::add(&poll, socket, data, EventFlags::IN).expect("a listener can be watched");
        }
        let server = ServerName::try_from(fixgw_e2e::tls::GATEWAY).expect("a name");
        Self {
            poll,
            begun: Instant::now(),
            engines,
            clients: Slots::default(),
            ends: Slots::default(),
            sessions: Vec::new(),
            logons: Vec::new(),
            answer: fix::logon(BEGIN, "VENUE", "BROKER", &[]),
            message: Vec::new(),
            trips: Vec::new(),
            seen: Seen::default(),
            routes: false,
            answers: false,
            server,
            buffer: vec![0; READ_MAX],
        }
    }

    /// Where the engines listen.
    #[must_use]
    pub fn engines(&self) -> Vec<SocketAddr> {
        self.engines.iter().map(|(_, address)| *address).collect()
    }

    /// Nanoseconds since the load began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What was seen since it was last asked.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Messages that came back since the present exchange began.
    #[must_use]
    pub fn trips(&self) -> usize {
        self.trips.len()
    }

    /// What was seen since it was last taken.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Sessions that are logged on.
    #[must_use]
    pub fn live(&mut self) -> usize {
        let sessions = std::mem::take(&mut self.sessions);
        let is_live = |place: &&usize| self.clients.get(**place).is_some_and(|it| it.is_live);
        let live = sessions.iter().filter(is_live).count();
        self.sessions = sessions;
        live
    }

    /// So many sessions more, this many on their way at a time. Says how long it took until the last was logged on; what was refused
    /// stands in what was [`Self::seen`].
    pub fn gather(
        &mut self,
        target: &Target,
        count: usize,
        at_a_time: usize,
        rules: usize,
    ) -> Duration {
        self.routes = target.routes;
        let start = self.now();
        let end = start + nanos(SETTLE_MAX);
        let before = (self.seen.answered.len(), self.seen.refused);
        let done = |load: &Self| load.seen.answered.len() - before.0 + load.seen.refused - before.1;
        let mut begun = 0;
        let mut last = start;
        while done(self) < count && self.now() < end {
            while begun < count && begun < done(self) + at_a_time {
                let logon = self.logon(begun % rules);
                let place = self.connect(target, &logon, Purpose::Session);
                self.sessions.extend(place);
                begun += 1;
            }
            let known = self.seen.answered.len();
            self.turn(Some(Duration::from_millis(100)));
            if self.seen.answered.len() > known {
                last = self.now();
            }
        }
        Duration::from_nanos(last - start)
    }

    /// Connections that log on and go, at a pace, from counterparties of this many rules. `hook` is called all the while with
    /// the time since the start.
    pub fn visit(
        &mut self,
        target: &Target,
        pace: Pace,
        rules: usize,
        length: Duration,
        hook: &mut dyn FnMut(&mut Self, u64),
    ) {
        self.routes = target.routes;
        let start = self.now();
        let (mut begun, mut due) = (0_usize, start);
        let under_way = |load: &Self| load.clients.count() - load.sessions.len();
        loop {
            let now = self.now();
            if now - start >= nanos(length) {
                break;
            }
            let mut next = |load: &mut Self| {
                let logon = load.logon(begun % rules);
                load.connect(target, &logon, Purpose::Visit);
                begun += 1;
            };
            let wait = match pace {
                Pace::PerSecond(count) => {
                    while due <= now {
                        next(self);
                        due += 1_000_000_000 / u64::from(count);
                    }
                    Duration::from_nanos(due.saturating_sub(self.now()))
                }
                Pace::AtATime(count) => {
                    while under_way(self) < count {
                        next(self);
                    }
                    Duration::from_millis(1)
                }
            };
            self.turn(Some(wait));
            hook(self, now - start);
        }
        let end = self.now() + nanos(DRAIN_MAX);
        while under_way(self) > 0 && self.now() < end {
            self.turn(Some(Duration::from_millis(10)));
        }
        self.quiet();
    }

    /// One more connection that logs on and goes, by a CompID of its own. It is waited for by whoever looks at what was seen.
    pub fn ask(&mut self, target: &Target, sender: &str) {
        let logon = fix::logon(BEGIN, sender, "VENUE", &[]);
        self.connect(target, &logon, Purpose::Visit);
    }

    /// Whether a Logon is answered now.
    pub fn is_answered(&mut self, target: &Target, within: Duration) -> bool {
        let before = (self.seen.answered.len(), self.seen.refused);
        let logon = self.logon(0);
        let place = self.connect(target, &logon, Purpose::Visit);
        let end = self.now() + nanos(within);
        while (self.seen.answered.len(), self.seen.refused) == before && self.now() < end {
            self.turn(Some(Duration::from_millis(1)));
        }
        let answered = self.seen.answered.len() > before.0;
        if !answered && let Some(place) = place {
            self.clients.take(place);
        }
        answered
    }

    /// Sends messages back to back: one is under way on each session, and the next goes when it is back. `hook` is called all the
    /// while with the time since the start.
    pub fn back_to_back(
        &mut self,
        message: &[u8],
        length: Duration,
        hook: &mut dyn FnMut(&mut Self, u64),
    ) {
        message.clone_into(&mut self.message);
        self.trips.clear();
        let start = self.now();
        for session in 0..self.sessions.len() {
            let now = self.now();
            self.say(self.sessions[session], now);
        }
        self.answers = true;
        while self.now() - start < nanos(length) {
            self.turn(Some(Duration::ZERO));
            let since = self.now() - start;
            hook(self, since);
        }
        self.answers = false;
        let patience = self.now() + nanos(DRAIN_MAX);
        while self.missing() > 0 && self.now() < patience {
            self.turn(Some(Duration::from_millis(5)));
        }
        self.trips.clear();
    }

    /// Sends messages over all sessions in turn, as the plan says. `hook` is called all the while with the time since the start.
    pub fn exchange(&mut self, plan: &Plan<'_>, hook: &mut dyn FnMut(&mut Self, u64)) -> Exchanged {
        plan.message.clone_into(&mut self.message);
        self.trips.clear();
        let gap = 1_000_000_000 / u64::from(plan.per_second);
        let start = self.now();
        let end = start + nanos(plan.length);
        let (mut due, mut turn, mut worked) = (start, 0, 0);
        loop {
            let now = self.now();
            if now >= end {
                break;
            }
            let mut sent = false;
            while due <= now {
                if let Some(place) = self.sessions.get(turn % self.sessions.len().max(1)) {
                    self.say(*place, due);
                    sent = true;
                }
                turn += 1;
                due += gap;
            }
            let wait = if plan.spins {
                Duration::ZERO
            } else {
                Duration::from_nanos(due.saturating_sub(self.now()))
            };
            let slept = self.turn(Some(wait));
            if let Some(slept) = slept {
                worked += self.now() - now - slept;
            } else if sent {
                worked += self.now() - now;
            }
            hook(self, now - start);
        }
        let length = self.now() - start;
        let patience = self.now() + nanos(DRAIN_MAX);
        while self.missing() > 0 && self.now() < patience {
            self.turn(Some(Duration::from_millis(5)));
        }
        Exchanged {
            trips: std::mem::take(&mut self.trips),
            missing: self.missing(),
            worked: Duration::from_nanos(worked),
            length: Duration::from_nanos(length),
        }
    }

    fn missing(&mut self) -> usize {
        let clients = self.clients.all.iter().flatten();
        clients.map(|client| client.due.len()).sum()
    }

    /// Ends all sessions, and waits until the engines have heard of it.
    pub fn leave(&mut self) {
        self.sessions.clear();
        for place in 0..self.clients.all.len() {
            self.clients.take(place);
        }
        self.clients.settle();
        self.quiet();
        self.seen.lost = 0;
    }

    /// Waits until no engine has a connection that nobody has any more.
    fn quiet(&mut self) {
        let end = self.now() + nanos(DRAIN_MAX);
        while self.ends.count() > self.sessions.len() && self.now() < end {
            self.turn(Some(Duration::from_millis(10)));
        }
    }

    /// The engines forget what they have: of a subject that is gone.
    pub fn forget(&mut self) {
        self.leave();
        for place in 0..self.ends.all.len() {
            self.ends.take(place);
        }
        self.ends.settle();
        self.take_seen();
    }

    fn logon(&mut self, number: usize) -> Vec<u8> {
        for known in self.logons.len()..=number {
            let sender = format!("{SENDER}{known}");
            self.logons.push(fix::logon(BEGIN, &sender, "VENUE", &[]));
        }
        self.logons[number].clone()
    }

    fn connect(&mut self, target: &Target, logon: &[u8], purpose: Purpose) -> Option<usize> {
        let begun = self.now();
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)
            .and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket))
            .expect("a socket can be made: are there files enough?");
        match socket.connect(&target.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(_) => {
                self.seen.refused += 1;
                return None;
            }
        }
        let tls = target.tls.as_ref().map(|config| {
            let connection = ClientConnection::new(Arc::clone(config), self.server.clone());
            let mut connection = connection.expect("a client can be made");
            connection.set_buffer_limit(None);
            let written = connection.writer().write_all(logon);
            written.expect("a buffer without limit takes a Logon");
            Box::new(connection)
        });
        let unsent = if tls.is_some() {
            Vec::new()
        } else {
            logon.to_vec()
        };
        let place = self.clients.next();
        let stream = TcpStream::from(socket);
        let data = Who::Client(place).data();
        epoll::add(&self.poll, &stream, data, EventFlags::IN).expect("a socket can be watched");
        self.clients.put(
            place,
            Client {
                stream,
                tls,
                purpose,
                begun,
                is_live: false,
                answer: Vec::new(),
                due: VecDeque::new(),
                back: 0,
                unsent,
                waits_to_send: false,
            },
        );
        self.flush_client(place);
        Some(place)
    }

    /// One message over a session.
    fn say(&mut self, place: usize, due: u64) {
        let Some(client) = self.clients.get(place).filter(|client| client.is_live) else {
            return;
        };
        client.due.push_back(due);
        if let Some(tls) = &mut client.tls {
            let written = tls.writer().write_all(&self.message);
            written.expect("a buffer without limit takes a message");
        } else {
            assert!(
                client.unsent.len() < UNSENT_MAX,
                "the subject does not keep up with the pace"
            );
            if client.unsent.is_empty() {
                match client.stream.write(&self.message) {
                    Ok(count) if count == self.message.len() => return,
                    Ok(count) => client.unsent.extend_from_slice(&self.message[count..]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        client.unsent.extend_from_slice(&self.message);
                    }
                    Err(_) => return self.end_client(place),
                }
            } else {
                client.unsent.extend_from_slice(&self.message);
            }
        }
        self.flush_client(place);
    }

    /// Hands to a counterparty's socket what it takes.
    fn flush_client(&mut self, place: usize) {
        let Some(client) = self.clients.get(place) else {
            return;
        };
        let sent = match &mut client.tls {
            Some(tls) => loop {
                if !tls.wants_write() {
                    break Ok(true);
                }
                match tls.write_tls(&mut client.stream) {
                    Ok(_) => {}
                    Err(error) if is_later(&error) => break Ok(false),
                    Err(error) => break Err(error),
                }
            },
            None => write_on(&mut client.stream, &mut client.unsent),
        };
        let Ok(all) = sent else {
            return self.end_client(place);
        };
        if client.waits_to_send == all {
            client.waits_to_send = !all;
            let (data, flags) = (Who::Client(place).data(), interest(!all));
            epoll::modify(&self.poll, &client.stream, data, flags).expect("it is watched");
        }
    }

    /// A counterparty's connection ended, or brought what nobody sent.
    fn end_client(&mut self, place: usize) {
        if let Some(client) = self.clients.take(place) {
            if client.is_live {
                self.seen.lost += 1;
            } else {
                self.seen.refused += 1;
            }
        }
    }

    /// Looks once at the sockets, for so long at most. Says how long it waited, if there was something.
    fn turn(&mut self, wait: Option<Duration>) -> Option<u64> {
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut events = Vec::with_capacity(READY_MAX);
        let before = self.now();
        match epoll::wait(&self.poll, spare_capacity(&mut events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("sockets cannot be waited for: {error}"),
        }
        if events.is_empty() {
            return None;
        }
        let slept = if wait.is_some_and(|wait| wait.tv_sec > 0 || wait.tv_nsec > 0) {
            self.now() - before
        } else {
            0
        };
        for event in &events {
            // A packed struct: no reference to what is in it.
            let (flags, data) = (event.flags, event.data);
            let can_send = flags.contains(EventFlags::OUT);
            let can_read = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            match Who::of(data) {
                Who::Engine(engine) => self.accept(engine),
                Who::End(place) => {
                    if can_send {
                        self.flush_end(place);
                    }
                    if can_read {
                        self.serve(place);
                    }
                }
                Who::Client(place) => {
                    if can_send {
                        self.flush_client(place);
                    }
                    if can_read {
                        self.hear(place);
                    }
                }
            }
        }
        self.clients.settle();
        self.ends.settle();
        Some(slept)
    }

    fn accept(&mut self, engine: usize) {
        while let Ok((socket, _)) = self.engines[engine].0.accept() {
            socket
                .set_nonblocking(true)
                .and_then(|()| socket.set_tcp_nodelay(true))
                .expect("a socket takes these options");
            let place = self.ends.next();
            let stream = TcpStream::from(socket);
            let data = Who::End(place).data();
            epoll::add(&self.poll, &stream, data, EventFlags::IN).expect("a socket can be watched");
            self.ends.put(
                place,
                End {
                    stream,
                    engine,
                    logon: Some(Vec::new()),
                    unsent: Vec::new(),
                    waits_to_send: false,
                },
            );
        }
    }

    /// What an engine does with what has come.
    fn serve(&mut self, place: usize) {
        let Some(end) = self.ends.get(place) else {
            return;
        };
        let count = match end.stream.read(&mut self.buffer) {
            Ok(0) => return drop(self.ends.take(place)),
            Ok(count) => count,
            Err(error) if is_later(&error) => return,
            Err(_) => return drop(self.ends.take(place)),
        };
        let bytes = &self.buffer[..count];
        if let Some(logon) = &mut end.logon {
            logon.extend_from_slice(bytes);
            let Some(whole) = whole_message(logon) else {
                if logon.len() > LOGON_MAX {
                    drop(self.ends.take(place));
                }
                return;
            };
            if self.routes && number_of(&logon[..whole]) != Some(end.engine) {
                self.seen.misrouted += 1;
            }
            end.unsent.extend_from_slice(&self.answer);
            end.unsent.extend_from_slice(&logon[whole..]);
            end.logon = None;
        } else if end.unsent.is_empty() {
            match end.stream.write(bytes) {
                Ok(sent) if sent == count => return,
                Ok(sent) => end.unsent.extend_from_slice(&bytes[sent..]),
                Err(error) if is_later(&error) => end.unsent.extend_from_slice(bytes),
                Err(_) => return drop(self.ends.take(place)),
            }
        } else {
            end.unsent.extend_from_slice(bytes);
        }
        self.flush_end(place);
    }

    fn flush_end(&mut self, place: usize) {
        let Some(end) = self.ends.get(place) else {
            return;
        };
        let Ok(all) = write_on(&mut end.stream, &mut end.unsent) else {
            return drop(self.ends.take(place));
        };
        if end.waits_to_send == all {
            end.waits_to_send = !all;
            let (data, flags) = (Who::End(place).data(), interest(!all));
            epoll::modify(&self.poll, &end.stream, data, flags).expect("it is watched");
        }
    }

    /// What a counterparty does with what has come.
    fn hear(&mut self, place: usize) {
        let Some(client) = self.clients.get(place) else {
            return;
        };
        let heard = match &mut client.tls {
            Some(tls) => read_tls(tls, &mut client.stream, &mut self.buffer),
            None => client.stream.read(&mut self.buffer),
        };
        match heard {
            Ok(0) => return self.end_client(place),
            Ok(count) => {
                if self.take(place, count).is_none() {
                    return self.end_client(place);
                }
            }
            Err(error) if is_later(&error) => {}
            Err(_) => return self.end_client(place),
        }
        if self.answers && self.clients.get(place).is_some_and(|it| it.due.is_empty()) {
            let now = self.now();
            self.say(place, now);
        } else if self.clients.get(place).is_some_and(|it| it.tls.is_some()) {
            self.flush_client(place);
        }
    }

    /// Takes so many bytes of the buffer as what came back; `None`: it is something else.
    fn take(&mut self, place: usize, count: usize) -> Option<()> {
        let now = self.now();
        let client = self.clients.get(place)?;
        let mut bytes = &self.buffer[..count];
        if !client.is_live {
            client.answer.extend_from_slice(bytes);
            let wanted = &self.answer;
            let common = client.answer.len().min(wanted.len());
            if client.answer[..common] != wanted[..common] {
                return None;
            }
            if client.answer.len() < wanted.len() {
                return Some(());
            }
            self.seen.answered.push((client.begun, now));
            if client.purpose == Purpose::Visit {
                drop(self.clients.take(place));
                return Some(());
            }
            client.is_live = true;
            // It has sent nothing yet that could come back.
            return (client.answer.len() == wanted.len()).then_some(());
        }
        while !bytes.is_empty() {
            let rest = self.message.get(client.back..)?;
            let common = rest.len().min(bytes.len());
            if rest[..common] != bytes[..common] {
                return None;
            }
            bytes = &bytes[common..];
            client.back += common;
            if client.back == self.message.len() {
                client.back = 0;
                let due = client.due.pop_front()?;
                let took = now.saturating_sub(due);
                self.trips.push(Trip { due, took });
            }
        }
        Some(())
    }
}

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = 115;

fn engine() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None);
    let socket = socket.expect("a socket can be made");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a port is free");
    socket.listen(BACKLOG).expect("a bound socket can listen");
    let address = socket.local_addr().expect("it has an address");
    (socket, address.as_socket().expect("an IP address"))
}

/// Whether there is just nothing to do now.
fn is_later(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

fn interest(sending: bool) -> EventFlags {
    if sending {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}

/// Whether all of it is sent.
fn write_on(stream: &mut TcpStream, unsent: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut sent = 0;
    let result = loop {
        if sent == unsent.len() {
            break Ok(true);
        }
        match stream.write(&unsent[sent..]) {
            Ok(count) => sent += count,
            Err(error) if is_later(&error) => break Ok(false),
            Err(error) => break Err(error),
        }
    };
    unsent.drain(..sent);
    result
}

fn read_tls(
    tls: &mut ClientConnection,
    stream: &mut TcpStream,
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    if tls.read_tls(stream)? == 0 {
        return Ok(0);
    }
    let state = tls.process_new_packets().map_err(std::io::Error::other)?;
    if state.plaintext_bytes_to_read() == 0 {
        // Part of a handshake or of a record.
        return Err(ErrorKind::WouldBlock.into());
    }
    tls.reader().read(buffer)
}

/// How long the first message is, once its end is there.
fn whole_message(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\x0110=")?;
    let whole = at + b"\x0110=000\x01".len();
    (bytes.len() >= whole).then_some(whole)
}

/// The engine that a Logon of ours is meant for.
fn number_of(logon: &[u8]) -> Option<usize> {
    let at = logon.windows(4).position(|window| window == b"\x0149=")?;
    let value = logon.get(at + 4..)?.split(|byte| *byte == 1).next()?;
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    Some(number % ENGINES)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A message of exactly so many bytes.
#[must_use]
pub fn message(bytes: usize) -> Vec<u8> {
    let of = |pad: usize| {
        let text = "x".repeat(pad);
        let fields = [
            (49, "BROKER"),
            (56, "VENUE"),
            (34, "2"),
            (52, "20260101-00:00:00"),
            (11, "1"),
            (55, "EURUSD"),
            (54, "1"),
            (38, "100"),
            (40, "1"),
            (58, &text),
        ];
        fix::message(BEGIN, "D", &fields)
    };
    let found = (1..bytes).map(of).find(|message| message.len() >= bytes);
    let found = found.expect("a message has more bytes than its text");
    assert_eq!(found.len(), bytes, "a message of this size can be made");
    found
}

/// Who an event is about.
enum Who {
    Engine(usize),
    End(usize),
    Client(usize),
}

impl Who {
    fn data(&self) -> EventData {
        let (kind, place) = match self {
            Self::Engine(place) => (0, *place),
            Self::End(place) => (1, *place),
            Self::Client(place) => (2, *place),
        };
        EventData::new_u64(kind << 56 | u64::try_from(place).expect("a place is a number"))
    }

    fn of(data: EventData) -> Self {
        let data = data.u64();
        let place = usize::try_from(data & ((1 << 56) - 1)).expect("a place is a number");
        match data >> 56 {
            0 => Self::Engine(place),
            1 => Self::End(place),
            _ => Self::Client(place),
        }
    }
}
