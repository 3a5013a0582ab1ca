//! Does a published table come back from a real API server as it was written, whoever writes, deletes or alters what?

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::process::EVENT_WAIT_MAX;
use fixgw_e2e::tool;
use fixgw_operator::kubernetes::lease::{self, LeaseName};
use fixgw_operator::kubernetes::table::{Fault, Lost, Pointed, PublishError, TableStore, Tended};
use fixgw_operator::pipeline::Pipeline;
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::publish::Published;
use fixgw_operator::pipeline::settle::Times;
use fixgw_operator::world::{Located, ObjectName, Places, RulesHalf, World};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{client, run, shown};

/// Where the operator is.
const NAMESPACE: &str = "default";
/// Where pointer and chunks are.
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "fix-gateway-table";

/// A table of so many routes; that of the last one is the only difference between two of one size.
fn published(routes: usize, last_port: u16, revision: u64) -> Arc<Published> {
    let sessions = (0..routes).map(|n| {
        let port = if n + 1 == routes { last_port } else { 9876 };
        let spec = json!({
            "matchFields": { "SenderCompID49": { "value": format!("BROKER_{n:06}") } },
            "target": { "service": { "name": format!("engine-{:03}", n % 500), "port": port } },
        });
        let session = Located {
            object: serde_json::from_value(spec).unwrap(),
            origin: None,
            places: Places::default(),
            identity: None,
        };
        (
            ObjectName::new("trading", &format!("broker-{n:06}")),
            Arc::new(session),
        )
    });
    let rules = RulesHalf {
        sessions: Arc::new(sessions.collect()),
        ..RulesHalf::default()
    };
    let world = World {
        rules: Arc::new(rules),
        ..World::default()
    };
    let mut pipeline = Pipeline::new(Times::default(), ConflictPolicy::default(), None);
    pipeline.observe(&world, 0);
    let saved = pipeline.advance(1_000, revision).saved.unwrap();
    Arc::new(Published {
        table: saved.table,
        sessions: saved.sessions,
    })
}

fn store(client: &Client) -> TableStore {
    TableStore::new(client.clone(), NAMESPACE, TABLE)
}

/// Every ConfigMap of the table but its pointer, by name.
fn chunks(server: &ApiServer) -> BTreeSet<String> {
    let listed = server.get(&format!("{MAPS}?labelSelector=fixgateway.io/table={TABLE}"));
    let names = listed.body["items"].as_array().unwrap().iter();
    let names = names.map(|map| map["metadata"]["name"].as_str().unwrap().to_owned());
    names.filter(|name| name != TABLE).collect()
}

fn pointer(server: &ApiServer) -> Value {
    server.get(&format!("{MAPS}/{TABLE}")).body
}

fn revision(pointed: &Pointed) -> u64 {
    pointed
        .table
        .as_ref()
        .map_or(0, |table| table.table.revision())
}

fn assert_same(one: &Published, other: &Published) {
    let (image, sessions) = (
        one.table.image() == other.table.image(),
        one.sessions == other.sessions,
    );
    assert!(image && sessions, "image {image}, sessions {sessions}");
}

/// Follows, and waits until it has seen what there is.
async fn following(store: &TableStore) -> watch::Receiver<Option<Pointed>> {
    let (mut pointed, _task) = store.follow();
    shown("a first look", &mut pointed, Option::is_some).await;
    pointed
}

async fn at_revision(pointed: &mut watch::Receiver<Option<Pointed>>, wanted: u64) -> Pointed {
    let is_so = |it: &Option<Pointed>| {
        it.as_ref()
            .is_some_and(|it| revision(it) == wanted && it.fault.is_none())
    };
    shown("a revision", pointed, is_so).await.unwrap()
}

async fn told(tended: &mut mpsc::Receiver<Tended>, is_so: impl Fn(&Tended) -> bool) -> Tended {
    let found = async {
        loop {
            let told = tended.recv().await.unwrap();
            if is_so(&told) {
                return told;
            }
        }
    };
    tokio::time::timeout(EVENT_WAIT_MAX, found)
        .await
        .expect("it is told in time")
}

#[test]
fn a_table_of_ten_thousand_routes_comes_back_as_it_was_and_a_change_of_one_is_quick() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let (leader, replica) = (store(&client), store(&client));
        let empty = leader.load().await.unwrap();
        assert!(
            empty.known
                && empty.table.is_none()
                && empty.pointer.is_none()
                && empty.fault.is_none()
        );
        let mut pointed = following(&replica).await;
        let first = published(10_000, 9876, 1_000);
        let begun = Instant::now();
        let mut over = leader.publish(&first, None).await.unwrap();
        let whole = begun.elapsed();
        let seen = at_revision(&mut pointed, 1_000).await;
        assert_same(&seen.table.unwrap(), &first);
        let of_first = chunks(&server);
        let loaded = Instant::now();
        assert_same(&store(&client).load().await.unwrap().table.unwrap(), &first);
        println!(
            "published whole in {whole:?} ({} chunks), loaded in {:?}",
            of_first.len(),
            loaded.elapsed()
        );
        let mut times = Vec::new();
        for round in 1..=10_u16 {
            let next = published(10_000, 9876 + round, 1_000 + u64::from(round));
            // As in an operator: what has not changed is the same in memory.
            let kept = next.sessions.iter().map(|(name, session)| {
                let before = &first.sessions[name];
                let kept = if before == session { before } else { session };
                (name.clone(), kept.clone())
            });
            let next = Arc::new(Published {
                sessions: Arc::new(kept.collect()),
                table: next.table.clone(),
            });
            let begun = Instant::now();
            over = leader.publish(&next, Some(&over)).await.unwrap();
            let written = begun.elapsed();
            let seen = at_revision(&mut pointed, 1_000 + u64::from(round)).await;
            times.push((written, begun.elapsed()));
            assert_same(&seen.table.unwrap(), &next);
        }
        times.sort_unstable();
        println!("one of 10,000 changed, (published, seen by another replica): {times:?}");
        let new = chunks(&server).difference(&of_first).count();
        println!("{new} chunks were new in 10 changes");
        let data = pointer(&server);
        assert_eq!(data["data"]["revision"], "1010", "{data}");
    });
}

#[test]
fn of_two_writers_exactly_one_wins_and_a_revision_never_goes_back() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let (a, b) = (store(&client), store(&client));
        let (one, other) = (published(20, 1, 1_000), published(20, 2, 1_001));
        for over in [None, Some(())] {
            let before = match over {
                None => None,
                Some(()) => a.load().await.unwrap().pointer,
            };
            let (one, other) = match &before {
                None => (one.clone(), other.clone()),
                Some(_) => (published(20, 3, 2_000), published(20, 4, 2_001)),
            };
            let (of_a, of_b) = tokio::join!(
                a.publish(&one, before.as_ref()),
                b.publish(&other, before.as_ref())
            );
            let winner = match (&of_a, &of_b) {
                (Ok(pointer), Err(PublishError::Overtaken { .. }))
                | (Err(PublishError::Overtaken { .. }), Ok(pointer)) => pointer.revision(),
                both => panic!("{both:?}"),
            };
            let now = b.load().await.unwrap();
            assert_eq!(now.pointer.as_ref().unwrap().revision(), winner);
            assert_same(
                &now.table.unwrap(),
                if winner == one.table.revision() {
                    &one
                } else {
                    &other
                },
            );
        }
        // Whoever has not seen that it went on, and whoever would go back, is told.
        let now = a.load().await.unwrap().pointer.unwrap();
        let stale = a.publish(&published(20, 5, 9_000), None).await.unwrap_err();
        assert!(
            stale.to_string().contains("has changed meanwhile"),
            "{stale}"
        );
        let back = a
            .publish(&published(20, 5, 1_500), Some(&now))
            .await
            .unwrap_err();
        assert!(
            matches!(back, PublishError::Overtaken { revision, .. } if revision == now.revision())
        );
    });
}

/// A replica that follows.
struct Replica {
    store: TableStore,
    pointed: watch::Receiver<Option<Pointed>>,
}

impl Replica {
    async fn start(client: &Client, keep: Duration) -> Self {
        let store = TableStore::keeping(client.clone(), NAMESPACE, TABLE, keep);
        let pointed = following(&store).await;
        Self { store, pointed }
    }

    /// Leads, and tends, for as long as the candidate is there.
    async fn lead(&self, client: &Client) -> (lease::Candidate, mpsc::Receiver<Tended>) {
        let name = LeaseName {
            namespace: NAMESPACE.to_owned(),
            name: "operator".to_owned(),
            identity: "a".to_owned(),
        };
        let mut candidate = lease::apply(client.clone(), name);
        let (tended, _task) = self
            .store
            .tend(candidate.leadership.clone(), self.pointed.clone());
        let leads = |it: &lease::Leadership| it.may_write(Instant::now());
        shown("a leader", &mut candidate.leadership, leads).await;
        (candidate, tended)
    }
}

#[test]
fn what_is_deleted_or_altered_by_hand_is_refused_said_and_put_back() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let mut first = Replica::start(&client, Duration::from_mins(1)).await;
        let mut second = Replica::start(&client, Duration::from_mins(1)).await;
        let (candidate, mut tended) = first.lead(&client).await;
        let table = published(600, 1, 1_000);
        first.store.publish(&table, None).await.unwrap();
        at_revision(&mut first.pointed, 1_000).await;
        at_revision(&mut second.pointed, 1_000).await;
        let repaired = |name: &str, was| {
            let object = format!("{NAMESPACE}/{name}");
            move |told: &Tended| {
                *told
                    == Tended::Repaired {
                        object: object.clone(),
                        was,
                    }
            }
        };

        // A chunk is deleted.
        let all = chunks(&server);
        let chunk = all.first().unwrap();
        let path = format!("{MAPS}/{chunk}");
        assert_eq!(server.delete(&path).code, 200);
        told(&mut tended, repaired(chunk, Lost::Deleted)).await;
        assert_same(&store(&client).load().await.unwrap().table.unwrap(), &table);

        // It cannot be altered; while nobody leads it is made anew, with something else in it.
        let mut object = server.get(&path).body;
        object["binaryData"]["chunk"] = json!("bm9uc2Vuc2U=");
        let refused = server.replace(&path, &object);
        assert_eq!(refused.code, 422, "immutable: {}", refused.message());
        candidate.release.send(()).unwrap();
        tokio::time::timeout(EVENT_WAIT_MAX, candidate.task)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(server.delete(&path).code, 200);
        object["metadata"] = json!({ "name": chunk, "labels": object["metadata"]["labels"] });
        assert_eq!(server.create(MAPS, Sent::Json(&object)).code, 201);
        let cold = store(&client).load().await.unwrap();
        let said = cold.fault.unwrap().to_string();
        assert!(cold.table.is_none() && said.contains(chunk), "{said}");
        assert!(said.contains("is not as it was published"), "{said}");
        // The next leader has never written a chunk, and looks into what is new.
        let (_candidate, mut tended) = second.lead(&client).await;
        told(&mut tended, repaired(chunk, Lost::Altered)).await;
        assert_same(&store(&client).load().await.unwrap().table.unwrap(), &table);

        // The pointer is edited, and goes back to where it was; what people add stays.
        let mut edited = pointer(&server);
        edited["metadata"]["annotations"] = json!({ "note": "of people" });
        edited["data"]["revision"] = json!("999");
        let path = format!("{MAPS}/{TABLE}");
        assert_eq!(server.replace(&path, &edited).code, 200);
        told(&mut tended, repaired(TABLE, Lost::Altered)).await;
        let mended = pointer(&server);
        assert_eq!(mended["data"]["revision"], "1000");
        assert_eq!(mended["metadata"]["annotations"]["note"], "of people");

        // The pointer is deleted; meanwhile nobody drops what he has.
        assert_eq!(server.delete(&path).code, 200);
        told(&mut tended, repaired(TABLE, Lost::Deleted)).await;
        let seen = at_revision(&mut first.pointed, 1_000).await;
        assert_same(&seen.table.unwrap(), &table);
        assert_same(&store(&client).load().await.unwrap().table.unwrap(), &table);
    });
}

#[test]
fn without_a_leader_a_replica_keeps_what_it_has_and_says_what_is_wrong() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let (writer, replica) = (store(&client), store(&client));
        let mut pointed = following(&replica).await;
        let table = published(600, 1, 1_000);
        let first = writer.publish(&table, None).await.unwrap();
        at_revision(&mut pointed, 1_000).await;
        let path = format!("{MAPS}/{TABLE}");
        // A newer table, of which a chunk is gone: the table before stays, and whoever starts now has none.
        let next = published(600, 2, 2_000);
        let saved = pointer(&server);
        let second = writer.publish(&next, Some(&first)).await.unwrap();
        let seen = at_revision(&mut pointed, 2_000).await;
        assert_same(&seen.table.unwrap(), &next);
        for chunk in chunks(&server) {
            assert_eq!(server.delete(&format!("{MAPS}/{chunk}")).code, 200);
        }
        let cold = store(&client).load().await.unwrap();
        assert!(cold.table.is_none() && cold.pointer.as_ref() == Some(&second));
        let said = cold.fault.unwrap().to_string();
        assert!(
            said.contains(&format!("{NAMESPACE}/{TABLE}-")) && said.contains("is gone"),
            "{said}"
        );
        // Who has no table publishes what the source says, over the pointer that is there.
        let again = published(600, 1, 3_000);
        let fresh = store(&client);
        let third = fresh.publish(&again, Some(&second)).await.unwrap();
        assert_same(
            &at_revision(&mut pointed, 3_000).await.table.unwrap(),
            &again,
        );

        // An old pointer is put back by hand.
        let mut old = pointer(&server);
        old["data"] = saved["data"].clone();
        assert_eq!(server.replace(&path, &old).code, 200);
        let is_so = |it: &Option<Pointed>| it.as_ref().is_some_and(|it| it.fault.is_some());
        let seen = shown("a fault", &mut pointed, is_so).await.unwrap();
        assert_eq!(revision(&seen), 3_000);
        let said = seen.fault.unwrap().to_string();
        assert!(
            said.contains("went back from revision 3000 to 1000"),
            "{said}"
        );
        assert_eq!(third.revision(), 3_000);

        // One of another release is left alone.
        let mut newer = pointer(&server);
        newer["data"]["format"] = json!("2");
        assert_eq!(server.replace(&path, &newer).code, 200);
        let is_so = |it: &Option<Pointed>| {
            matches!(
                it,
                Some(Pointed {
                    fault: Some(Fault::Format { .. }),
                    ..
                })
            )
        };
        let seen = shown("a fault", &mut pointed, is_so).await.unwrap();
        assert_eq!(revision(&seen), 3_000);
        let said = seen.fault.unwrap().to_string();
        assert!(
            said.contains("format 2") && said.contains("delete the ConfigMap"),
            "{said}"
        );
    });
}

#[test]
fn chunks_that_no_table_needs_any_more_go_and_those_that_are_needed_again_stay() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let leader = Replica::start(&client, Duration::from_secs(1)).await;
        let mut other = Replica::start(&client, Duration::from_mins(1)).await;
        let (_candidate, mut tended) = leader.lead(&client).await;
        let first = published(600, 1, 1_000);
        let over = leader.store.publish(&first, None).await.unwrap();
        let of_first = chunks(&server);
        let second = published(600, 2, 2_000);
        let over = leader.store.publish(&second, Some(&over)).await.unwrap();
        // One chunk of the image and one of FIXSessions are others.
        let collected = told(&mut tended, |it| matches!(it, Tended::Collected(_))).await;
        assert_eq!(collected, Tended::Collected(2));
        let left: BTreeSet<_> = chunks(&server).intersection(&of_first).cloned().collect();
        assert_eq!(left.len(), of_first.len() - 2);
        // Back again: the chunk of FIXSessions that went is made anew.
        let third = published(600, 1, 3_000);
        leader.store.publish(&third, Some(&over)).await.unwrap();
        told(&mut tended, |it| matches!(it, Tended::Collected(_))).await;
        assert_same(&store(&client).load().await.unwrap().table.unwrap(), &third);
        assert_eq!(chunks(&server).len(), of_first.len());
        assert_same(
            &at_revision(&mut other.pointed, 3_000).await.table.unwrap(),
            &third,
        );
    });
}

/// What `fixgw` says.
fn fixgw(server: &ApiServer, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool::program("fixgw"));
    command
        .env("KUBECONFIG", server.kubeconfig())
        .args(arguments);
    command.output().expect("it can be run")
}

#[test]
fn publication_is_paused_and_resumed_by_a_command_and_publishing_leaves_the_annotation_alone() {
    let server = ApiServer::start();
    let out = |arguments: &[&str]| {
        let output = fixgw(&server, arguments);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code().unwrap(),
            String::from_utf8(said).unwrap(),
        )
    };
    run(async {
        let client = client(&server).await;
        let writer = store(&client);
        let mut pointed = following(&store(&client)).await;
        let (code, said) = out(&["resume", "-n", NAMESPACE]);
        assert!(code == 0 && said.contains("is not paused"), "{said}");
        // Before anything was published.
        let (code, said) = out(&["pause", "-n", NAMESPACE, "--reason", "release 7"]);
        assert!(
            code == 0 && said.contains("default/fix-gateway-table"),
            "{said}"
        );
        let is_paused = |it: &Option<Pointed>| it.as_ref().is_some_and(|it| it.paused.is_some());
        let seen = shown("a pause", &mut pointed, is_paused).await.unwrap();
        assert_eq!(seen.paused.unwrap().reason, "release 7");
        assert!(seen.fault.is_none() && seen.table.is_none());
        let over = writer
            .publish(&published(20, 1, 1_000), seen.pointer.as_ref())
            .await
            .unwrap();
        let seen = at_revision(&mut pointed, 1_000).await;
        assert_eq!(seen.paused.unwrap().reason, "release 7");
        // Whoever decided before it was paused is overtaken.
        let (code, _) = out(&["pause", "--context", "test", "-n", NAMESPACE]);
        assert_eq!(code, 0);
        let late = writer.publish(&published(20, 2, 2_000), Some(&over)).await;
        assert!(
            matches!(
                late,
                Err(PublishError::Overtaken {
                    revision: 1_000,
                    ..
                })
            ),
            "{late:?}"
        );
        let (code, said) = out(&["resume", "-n", NAMESPACE]);
        assert!(
            code == 0 && said.contains("had paused it: fixgw pause"),
            "{said}"
        );
        let goes_on = |it: &Option<Pointed>| it.as_ref().is_some_and(|it| it.paused.is_none());
        shown("going on", &mut pointed, goes_on).await;
        let (code, said) = out(&["pause", "-n", "nowhere"]);
        assert!(
            code == 1 && said.contains("nowhere") && said.contains("with -n"),
            "{code} {said}"
        );
        let (code, said) = out(&["pause", "--context", "nobody"]);
        assert!(code == 2 && said.contains("--context"), "{code} {said}");
    });
}
