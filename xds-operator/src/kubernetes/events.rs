//! How do Events get to the API server? One after the other, so many a second, and as well as it goes: what there is no room for is
//! dropped, for a status says the same and stays. What is told of the table does not wait for what is told of its routes.
//!
//! kube's recorder tells the same of the same object once more as a count on the Event that is there.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::FIELD_MANAGER;
use crate::api::{API_VERSION, KIND};
use crate::status::transitions::{Note, Weight};
use crate::world::ObjectName;

/// Events that wait. A change of a whole table makes more; its first ones are told.
const WAITING_MAX: usize = 1_000;
/// Events of the table that wait; there are few.
const OF_TABLE_WAITING_MAX: usize = 16;
/// Between two Events: ten a second.
const APART: Duration = Duration::from_millis(100);
/// How long one may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// What the operator did, in one word, as an Event has it.
const ACTION: &str = "Reconcile";

/// Of which object something is told.
#[derive(Clone, Debug)]
pub enum Regarding {
    /// A FIXSession, and its uid.
    Session(ObjectName, String),
    /// The `ConfigMap` that points to the table.
    Table(ObjectName),
}

/// Takes Events that wait.
#[derive(Clone, Debug)]
pub struct Teller {
    of_sessions: mpsc::Sender<Waiting>,
    of_table: mpsc::Sender<Waiting>,
}

/// What is to be told, and of what.
type Waiting = (Regarding, Note);

impl Teller {
    /// Begins to tell; in the name of this replica. The task ends with its last teller.
    #[must_use]
    pub fn start(client: Client, instance: &str) -> (Self, JoinHandle<()>) {
        let (of_sessions, told_of_sessions) = mpsc::channel(WAITING_MAX);
        let (of_table, told_of_table) = mpsc::channel(OF_TABLE_WAITING_MAX);
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        let recorder = Recorder::new(client.clone(), reporter);
        let task = tokio::spawn(tell(client, recorder, told_of_table, told_of_sessions));
        let teller = Self {
            of_sessions,
            of_table,
        };
        (teller, task)
    }

    /// Tells it, if there is room.
    pub fn tell(&self, regarding: Regarding, note: Note) {
        let waiting = match &regarding {
            Regarding::Session(..) => &self.of_sessions,
            Regarding::Table(_) => &self.of_table,
        };
        let _ = waiting.try_send((regarding, note));
    }
}

async fn tell(
    client: Client,
    recorder: Recorder,
    mut of_table: mpsc::Receiver<Waiting>,
    mut of_sessions: mpsc::Receiver<Waiting>,
) {
    let mut apart = interval(APART);
    apart.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        apart.tick().await;
        let (regarding, note) = tokio::select! {
            biased;
            Some(waiting) = of_table.recv() => waiting,
            Some(waiting) = of_sessions.recv() => waiting,
            else => return,
        };
        let event = Event {
            type_: match note.weight {
                Weight::Normal => EventType::Normal,
                Weight::Warning => EventType::Warning,
            },
            reason: note.reason.to_owned(),
            note: Some(note.text),
            action: ACTION.to_owned(),
            secondary: None,
        };
        // Best effort: a status says the same.
        let _ = timeout(WRITE_TIMEOUT, async {
            let reference = reference(&client, regarding).await?;
            recorder.publish(&event, &reference).await
        })
        .await;
    }
}

async fn reference(client: &Client, regarding: Regarding) -> Result<ObjectReference, kube::Error> {
    let (api_version, kind, name, uid) = match regarding {
        Regarding::Session(name, uid) => (API_VERSION, KIND, name, Some(uid)),
        Regarding::Table(name) => {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &name.namespace);
            // `kubectl describe` finds Events by the uid.
            let uid = maps.get_metadata(&name.name).await?.metadata.uid;
            ("v1", "ConfigMap", name, uid)
        }
    };
    Ok(ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        name: Some(name.name.to_string()),
        namespace: Some(name.namespace.to_string()),
        uid,
        ..ObjectReference::default()
    })
}
