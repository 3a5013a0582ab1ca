//! What does an engine do?
//!
//! It answers a Logon with a Logon, and sends back every byte that follows.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::event::epoll::{self, EventFlags};
use socket2::{Domain, Socket, Type};

use super::Load;
use super::socket::{Who, interest, is_later, write_on};
use super::text::{number_of, whole_message};

/// Connections that wait to be accepted: more than a storm has.
const BACKLOG: i32 = 16_384;
/// A Logon has fewer bytes.
const LOGON_MAX: usize = 4 * 1_024;

/// An engine's end of a connection.
pub(super) struct End {
    stream: TcpStream,
    engine: usize,
    /// The Logon, until it is whole.
    logon: Option<Vec<u8>>,
    unsent: Vec<u8>,
    waits_to_send: bool,
}

/// One that listens, and where.
pub(super) fn listening() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None);
    let socket = socket.expect("a socket can be made");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a port is free");
    socket.listen(BACKLOG).expect("a bound socket can listen");
    let address = socket.local_addr().expect("it has an address");
    (socket, address.as_socket().expect("an IP address"))
}

impl Load {
    /// Takes every connection that waits.
    pub(super) fn accept(&mut self, engine: usize) {
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
    pub(super) fn serve(&mut self, place: usize) {
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

    /// Hands to an engine's socket what it takes.
    pub(super) fn flush_end(&mut self, place: usize) {
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
}
