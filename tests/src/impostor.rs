//! What if a control plane serves what no honest one would? One that speaks the protocol, with an image of the test's choice.
//!
//! It is the real server, so that the order and the protocol are right; what it is given to serve is not.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use fixgw_operator::xds::Snapshot;
use fixgw_operator::xds::resources::{ProxySettings, WasmVm};
use fixgw_operator::xds::server::Server;
use tokio::sync::{oneshot, watch};

use crate::process::EVENT_WAIT_MAX;

/// A control plane that lies. It goes when this is dropped.
pub struct Impostor {
    told: Receiver<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Serves this image as the table of this revision, on an address that nobody has any more.
    #[must_use]
    pub fn serve(address: SocketAddr, filter: &Path, revision: u64, image: &[u8]) -> Self {
        let listener = TcpListener::bind(address).expect("the control plane before has ended");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let snapshot = Snapshot {
            table_image: Arc::from(image),
            revision,
            endpoints: BTreeMap::new(),
            proxy_protocol: BTreeMap::new(),
            tcp_timeouts: BTreeMap::new(),
        };
        let settings = ProxySettings::from(WasmVm::from_file(filter));
        let (tell, told) = channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                let listener =
                    tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
                let (snapshots, served) = watch::channel(Arc::new(snapshot));
                let (server, mut outputs) = Server::new(settings, served, None);
                tokio::spawn(async move {
                    while let Some(event) = outputs.events.recv().await {
                        // The test may have seen enough.
                        let _ = tell.send(event.to_string());
                    }
                });
                let stop = async {
                    let _ = stopped.await;
                };
                let served = server.serve(listener, stop).await;
                served.expect("the port can be served");
                drop(snapshots);
            });
        });
        Self {
            told,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Waits until it has heard this of the proxy.
    pub fn wait_told(&self, part: &str) {
        let end = Instant::now() + EVENT_WAIT_MAX;
        let mut heard = Vec::new();
        while let Ok(told) = self
            .told
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if told.contains(part) {
                return;
            }
            heard.push(told);
        }
        panic!("waited in vain for `{part}`: {heard:#?}");
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What it failed by is told by its own panic.
            let _ = thread.join();
        }
    }
}
