//! How does a cluster become what the proxies hold? `fixgw operator`: the API server's objects, the replica, the published table, the
//! Lease, the statuses and the server, wired.
//!
//! Every replica serves what is published, with the endpoints that it sees itself. The one that holds the Lease decides what is
//! published next, and writes statuses. INVARIANT: nothing of that waits for a status, and no replica serves what was not
//! published; without the API server, what is served goes on.

mod stage;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use kube::Client;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use self::stage::{Heard, Stage};
use crate::cli::OperatorArgs;
use crate::kubernetes::lease::{self, Candidate, Leadership, LeaseName};
use crate::kubernetes::peers::Watched;
use crate::kubernetes::status::{self, Inputs, Names};
use crate::kubernetes::table::{Pointed, TableStore};
use crate::kubernetes::{self, ConnectError};
use crate::message::{Message, Standing};
use crate::probes::{self, Health};
use crate::program;
use crate::receive::peers::Peers;
use crate::said::{Said, Speaker};
use crate::serving::{Plan, Serving};
use crate::source::kubernetes::{self as cluster, Namespaces, NamespacesError};
use crate::world::ObjectName;
use crate::world::held::Observed;
use crate::xds::server::ServeError;

/// How long a stop waits for the Lease to be given back. It runs out by itself.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// How often it is looked whether this replica is deaf.
const LOOK: Duration = Duration::from_secs(1);

/// Why there is no control plane.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// No way to an API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// More namespaces than one replica watches.
    #[error("{0}; see --watch-namespace")]
    Namespaces(#[from] NamespacesError),
    /// A port is in use, or the address is none of this machine's.
    #[error(
        "cannot listen on {address} ({source}); free the port, or give another one with {option}"
    )]
    Port {
        /// Where.
        address: SocketAddr,
        /// What says so.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The server failed while it ran.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The own machinery failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl OperatorError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(_) | Self::Namespaces(_) | Self::Port { .. } => 2,
            Self::Serve(_) | Self::Io(_) => 1,
        }
    }
}

/// Runs one replica until SIGINT or SIGTERM.
#[must_use]
pub fn run(args: &OperatorArgs) -> ExitCode {
    program::run(operate(args), OperatorError::exit_code)
}

async fn operate(args: &OperatorArgs) -> Result<(), OperatorError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let namespaces = Namespaces::try_from(args.watch_namespaces.clone())?;
    let client = kubernetes::connect(args.context.as_deref()).await?;
    let speaker = Speaker::start(args.output);
    let probes = listen(args.probes, "--probes").await?;
    let health = Arc::new(Health::default());
    tokio::spawn(probes::serve(probes, health.clone()));
    let parts = Parts::start(args, namespaces, &client, &health, &speaker);
    let mut stage = parts.stage;
    // The port answers only when there is something to serve: until then proxies are refused, and ask the other replicas.
    let first = tokio::select! {
        first = stage.first() => Some(first),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let Some(first) = first else {
        // It may lead all the same.
        health.stopping();
        give_back(parts.release, parts.leadership).await;
        speaker.finish().await;
        return Ok(());
    };
    let listener = listen(args.xds, "--xds").await?;
    let plan = Plan {
        settings: args.proxies.settings(args.filter.clone()),
        vms: 1,
        status_dir: args.status_dir.clone(),
        peers: parts.peers,
    };
    let mut serving = Serving::start(listener, plan, first, &speaker);
    let told = stage.told();
    let inputs = Inputs {
        leadership: parts.leadership.clone(),
        observed: parts.observed,
        decided: told.decided,
        publication: told.publication,
        served: told.served,
        fleet: serving.fleet.clone(),
        sessions: serving.sessions.clone(),
        rejections: serving.rejections.clone(),
        serves_since: Instant::now(),
    };
    let names = Names {
        namespace: args.namespace.clone(),
        table: args.table.clone(),
        instance: parts.identity,
    };
    let writing = status::write(client, inputs, names);
    health.watch("the writer of statuses", writing.task);
    tell_standing(writing.troubles, Clone::clone, &speaker);
    health.ready();
    let inlet = serving.inlet.clone();
    tokio::select! {
        ended = serving.ended() => return Ok(ended?),
        () = stage.run(&inlet) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    health.stopping();
    give_back(parts.release, parts.leadership).await;
    serving.stop().await?;
    drop(stage);
    speaker.finish().await;
    Ok(())
}

/// What speaks with the API server, at work.
struct Parts {
    stage: Stage,
    observed: watch::Receiver<Option<Observed>>,
    leadership: watch::Receiver<Leadership>,
    release: oneshot::Sender<()>,
    peers: Option<Arc<Peers>>,
    identity: String,
}

impl Parts {
    fn start(
        args: &OperatorArgs,
        namespaces: Namespaces,
        client: &Client,
        health: &Arc<Health>,
        speaker: &Speaker,
    ) -> Self {
        let following = cluster::follow(client.clone(), namespaces);
        let store = TableStore::new(client.clone(), &args.namespace, &args.table);
        let (pointed, table_task) = store.follow();
        let identity = args.identity.clone().unwrap_or_else(kubernetes::host_name);
        let lease_namespace = args.lease_namespace.as_ref().unwrap_or(&args.namespace);
        let lease = LeaseName {
            namespace: lease_namespace.clone(),
            name: args.lease.clone(),
            identity: identity.clone(),
        };
        let Candidate {
            leadership,
            heard,
            complaints,
            task: lease_task,
            release,
        } = lease::apply(client.clone(), lease);
        let (tended, tend_task) = store.tend(leadership.clone(), pointed.clone());
        let peers = args.peers.as_ref().map(|service| {
            let peers = Arc::new(Peers::default());
            let watched = Watched {
                namespace: args.namespace.clone(),
                service: service.clone(),
                us: args.pod_ip,
                port: args.xds.port(),
            };
            let others = kubernetes::peers::follow(client.clone(), watched, peers.clone());
            health.watch("the watch of the other replicas", others.task);
            tokio::spawn(hear(heard, peers.clone()));
            tokio::spawn(stand_aside(
                peers.stands_aside(),
                health.clone(),
                speaker.clone(),
            ));
            tell_standing(others.troubles, Clone::clone, speaker);
            peers
        });
        health.watch("the watch of the API server", following.task);
        health.watch("the watch of the published table", table_task);
        health.watch("the care of the published table", tend_task);
        health.watch("the Lease", lease_task);
        say_each(complaints, speaker);
        say_each(tended, speaker);
        tell_standing(following.troubles, Clone::clone, speaker);
        tokio::spawn(tell_in_force(pointed.clone(), following.in_force));
        tell_standing(pointed.clone(), faults, speaker);
        let heard = Heard {
            observed: following.observed.clone(),
            pointed,
            leadership: leadership.clone(),
        };
        let table = format!("ConfigMap {}/{}", args.namespace, args.table);
        Self {
            stage: Stage::new(args.decide, heard, store, table, speaker.clone()),
            observed: following.observed,
            leadership,
            release,
            peers,
            identity,
        }
    }
}

/// Gives the Lease back: another replica leads at once, instead of when it has run out.
async fn give_back(release: oneshot::Sender<()>, mut leadership: watch::Receiver<Leadership>) {
    let _ = release.send(());
    // That we do not lead is said before it is written. The task has the only sender, and ends when it has written.
    let written = async { while leadership.changed().await.is_ok() {} };
    let _ = tokio::time::timeout(RELEASE_MAX, written).await;
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, OperatorError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| OperatorError::Port {
            address,
            option,
            source,
        })
}

/// Tells each thing that comes.
fn say_each<T>(mut things: mpsc::Receiver<T>, speaker: &Speaker)
where
    T: ToString + Send + 'static,
{
    let speaker = speaker.clone();
    tokio::spawn(async move {
        while let Some(thing) = things.recv().await {
            speaker.say(&Said::gateway(Severity::Warn, thing.to_string()));
        }
    });
}

/// Tells what stands in the way when it begins, and when it is over.
fn tell_standing<T>(mut of: watch::Receiver<T>, stands: fn(&T) -> Vec<Message>, speaker: &Speaker)
where
    T: Send + Sync + 'static,
{
    let speaker = speaker.clone();
    tokio::spawn(async move {
        let mut standing = Standing::default();
        loop {
            let now = stands(&of.borrow_and_update());
            for message in standing.change(now) {
                speaker.say(&message.into());
            }
            if of.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Tells the account of who hears the API server when it has answered, and that time goes by.
async fn hear(mut heard: watch::Receiver<Instant>, peers: Arc<Peers>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        peers.api_server_heard(*heard.borrow_and_update());
        peers.look();
        tokio::select! {
            Ok(()) = heard.changed() => {}
            _ = look.tick() => {}
        }
    }
}

/// Says whether this replica stands aside, to people and to the kubelet.
async fn stand_aside(mut aside: watch::Receiver<bool>, health: Arc<Health>, speaker: Speaker) {
    while aside.changed().await.is_ok() {
        let now = *aside.borrow_and_update();
        health.stands_aside(now);
        let (severity, what) = if now {
            (
                Severity::Error,
                "this replica does not hear the API server, and another one does; its gateways are sent there, and it is not ready; \
                 look at the network between its node and the API server",
            )
        } else {
            (Severity::Info, "this replica serves gateways again")
        };
        speaker.say(&Said::gateway(severity, what.to_owned()));
    }
}

/// Tells the source which Services the routes in force lead to, so that all others may change as they like. Those of the table before
/// are among them: it may be served for a moment longer.
async fn tell_in_force(
    mut pointed: watch::Receiver<Option<Pointed>>,
    in_force: watch::Sender<Option<Arc<BTreeSet<ObjectName>>>>,
) {
    let mut before = BTreeSet::new();
    let mut told = None;
    loop {
        let table = pointed
            .borrow_and_update()
            .as_ref()
            .and_then(|it| it.table.clone());
        if let Some(table) = table.filter(|table| told != Some(table.table.revision())) {
            let now = cluster::services_of(&table.sessions);
            in_force.send_replace(Some(Arc::new(&before | &now)));
            (before, told) = (now, Some(table.table.revision()));
        }
        if pointed.changed().await.is_err() {
            return;
        }
    }
}

/// What is wrong with the published table.
#[allow(clippy::ref_option, reason = "it is what the watch holds")]
fn faults(pointed: &Option<Pointed>) -> Vec<Message> {
    let fault = pointed.iter().filter_map(|pointed| pointed.fault.as_ref());
    fault
        .map(|fault| Message::course(Severity::Error, fault.to_string()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;
    use crate::pipeline::hold::ConflictPolicy;
    use crate::pipeline::publish::Published;
    use crate::pipeline::settle::Times;
    use crate::source::yaml::{self, Object};
    use crate::world::World;

    /// A table of one route to each of these.
    fn table(services: &[&str], revision: u64) -> Pointed {
        let text: Vec<String> = services
            .iter()
            .map(|service| {
                format!(
                    "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ name: to-{service}, namespace: t }}\n\
                     spec: {{ matchFields: {{ A1: {{ value: {service} }} }}, target: {{ service: {{ name: {service}, port: 1 }} }} }}\n---\n"
                )
            })
            .collect();
        let objects = yaml::read(&"f".into(), &text.concat()).objects.into_iter();
        let sessions = objects.filter_map(|(name, object)| match object {
            Object::FIXSession(session) => Some((name, session)),
            Object::Service(_) | Object::EndpointSlice(_) => None,
        });
        let mut pipeline = Pipeline::new(Times::default(), ConflictPolicy::default(), None);
        pipeline.observe(&World::default(), 0);
        let saved = pipeline.advance(1_000, revision).saved.unwrap();
        Pointed {
            table: Some(Arc::new(Published {
                table: saved.table,
                sessions: Arc::new(sessions.collect()),
            })),
            ..Pointed::default()
        }
    }

    #[tokio::test]
    async fn the_services_of_a_table_count_until_the_one_after_the_next() {
        let (point, pointed) = watch::channel(None);
        let (in_force, mut told) = watch::channel(None);
        let task = tokio::spawn(tell_in_force(pointed, in_force));
        for (now, wanted) in [
            (table(&["a", "b"], 1), "a b"),
            (table(&["b", "c"], 2), "a b c"),
            (table(&["d"], 3), "b c d"),
        ] {
            point.send_replace(Some(now));
            told.changed().await.unwrap();
            let services = told.borrow_and_update().clone().unwrap();
            let names: Vec<&str> = services.iter().map(|it| &*it.name).collect();
            assert_eq!(names.join(" "), wanted);
        }
        // What cannot be read is no table, and what it was stays.
        point.send_replace(Some(Pointed::default()));
        drop(point);
        task.await.unwrap();
        assert!(told.borrow().as_ref().is_some_and(|it| it.len() == 3));
    }
}
