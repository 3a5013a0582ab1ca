//! How does one thread watch thousands of sockets, and hand them what they take?

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;

use rustix::event::epoll::{EventData, EventFlags};

/// Who an event is about.
pub(super) enum Who {
    Engine(usize),
    End(usize),
    Client(usize),
}

impl Who {
    pub(super) fn data(&self) -> EventData {
        let (kind, place) = match self {
            Self::Engine(place) => (0, *place),
            Self::End(place) => (1, *place),
            Self::Client(place) => (2, *place),
        };
        EventData::new_u64(kind << 56 | u64::try_from(place).expect("a place is a number"))
    }

    pub(super) fn of(data: EventData) -> Self {
        let data = data.u64();
        let place = usize::try_from(data & ((1 << 56) - 1)).expect("a place is a number");
        match data >> 56 {
            0 => Self::Engine(place),
            1 => Self::End(place),
            _ => Self::Client(place),
        }
    }
}

/// What is waited for at a socket: what comes, and, where something could not be sent, that it takes more.
pub(super) fn interest(sending: bool) -> EventFlags {
    if sending {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}

/// Whether there is just nothing to do now.
pub(super) fn is_later(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}

/// Hands to a socket what it takes, and says whether that is all.
pub(super) fn write_on(stream: &mut TcpStream, unsent: &mut Vec<u8>) -> std::io::Result<bool> {
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
