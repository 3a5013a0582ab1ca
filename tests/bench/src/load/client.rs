//! What does a counterparty do?
//!
//! It connects, logs on, and sends messages when it is told to. Each byte that comes back is held against what was sent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustix::event::epoll::{self, EventFlags};
use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use super::seen::Trip;
use super::socket::{Who, interest, is_later, write_on};
use super::{Load, Target};

/// Bytes that one connection may have waiting for its socket: beyond that a subject does not keep up, and the figure would be one of queues.
const UNSENT_MAX: usize = 4 * 1_024 * 1_024;
/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = 115;

/// What a connection is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// It stays.
    Session,
    /// It ends when its Logon was answered.
    Visit,
}

/// A counterparty.
pub(super) struct Client {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pub(super) purpose: Purpose,
    /// When the connection was due.
    begun: u64,
    pub(super) is_live: bool,
    /// What came before the answer to the Logon was whole.
    answer: Vec<u8>,
    /// When each message that is under way was due.
    pub(super) due: VecDeque<u64>,
    /// Bytes of the first of them that are back.
    back: usize,
    unsent: Vec<u8>,
    waits_to_send: bool,
}

impl Load {
    /// Begins a connection that was due then; `None`: it is refused at once.
    pub(super) fn connect(
        &mut self,
        target: &Target,
        logon: &[u8],
        purpose: Purpose,
        due: u64,
    ) -> Option<usize> {
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
            connection.set_buffer_limit(Some(UNSENT_MAX));
            let written = connection.writer().write_all(logon);
            written.expect("a Logon fits");
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
                begun: due,
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
    pub(super) fn say(&mut self, place: usize, due: u64) {
        let Some(client) = self.clients.get(place).filter(|client| client.is_live) else {
            return;
        };
        client.due.push_back(due);
        if let Some(tls) = &mut client.tls {
            let written = tls.writer().write_all(&self.message);
            written.expect("the subject keeps up with the pace");
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
    pub(super) fn flush_client(&mut self, place: usize) {
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

    /// What a counterparty does with what has come.
    pub(super) fn hear(&mut self, place: usize) {
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
            let due = client.begun;
            let took = now.saturating_sub(due);
            self.seen.answered.push(Trip { due, took });
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
