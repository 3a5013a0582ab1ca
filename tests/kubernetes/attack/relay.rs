//! What stands between the operator's replicas and the API server, where a test asks for it: it cuts all connections at once, or
//! keeps what the API server tells one replica to itself.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A relay, as long as the process lives.
pub(super) struct Relay {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    thawed: Condvar,
    accepted: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Both ends of each connection.
    streams: Vec<TcpStream>,
    /// Who is told nothing.
    frozen: BTreeSet<IpAddr>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relay(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let who = client.peer_addr().map(|address| address.ip());
        let Ok(who) = who else { return };
        let copies = [&client, &server].map(|stream| stream.try_clone().unwrap());
        self.lock().streams.extend(copies);
        let ways = [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server, client),
        ];
        for (from, to) in ways {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass(who, from, to));
        }
    }

    fn pass(&self, who: IpAddr, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1_024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut state = self.lock();
            while state.frozen.contains(&who) {
                state = self
                    .thawed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        for stream in [&from, &to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// Listens, and passes on to the server, whenever that is there.
    pub(super) fn start(address: SocketAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the port is free in here");
        let shared = Arc::new(Shared::default());
        let relay = Self {
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                shared.accepted.fetch_add(1, Ordering::AcqRel);
                if let Ok(server) = TcpStream::connect(server) {
                    shared.relay(client, server);
                }
            }
        });
        relay
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Ends every connection.
    pub(super) fn cut(&self) {
        for stream in std::mem::take(&mut self.shared.lock().streams) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on this pod and the API server hear nothing of each other, and neither sees why.
    pub(super) fn freeze(&self, pod: IpAddr) {
        self.shared.lock().frozen.insert(pod);
    }

    /// What was kept from this pod is told.
    pub(super) fn thaw(&self, pod: IpAddr) {
        self.shared.lock().frozen.remove(&pod);
        self.shared.thawed.notify_all();
    }
}
