//! What of the sessions when an engine's pods are replaced one after the other?

use std::time::Duration;

use fixgw_e2e::cluster::{PLAIN_PORT, RunningPod, engines};
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{kind, text, wait_until};

use super::scene::{SERVICE_PORT, Scene, attacked, route, session_path, sized, wait_programmed};

/// Each of two pods has one of these in the end, for there are more of them than a pod can miss by chance.
const PAIR: [&str; 4] = ["PAIR_A", "PAIR_B", "PAIR_C", "PAIR_D"];
const SINGLE: &str = "SINGLE";

fn session(sender: &str) -> Session {
    Session::new("FIX.4.4", sender, "VENUE")
        .reset_on_logon()
        .patient_for(Duration::from_secs(30))
}

fn restart(scene: &Scene<'_>, name: &str) {
    let object = format!("statefulset/{name}");
    let restart = ["rollout", "restart", "-n", NAMESPACE, &object];
    let _ = scene.cluster.kubectl(&restart).succeeded();
    scene.cluster.wait_rolled_out(NAMESPACE, &object);
}

fn scale(scene: &Scene<'_>, name: &str, replicas: u32) {
    let replicas = format!("--replicas={replicas}");
    let object = format!("statefulset/{name}");
    let scale = ["scale", "-n", NAMESPACE, &replicas, &object];
    let _ = scene.cluster.kubectl(&scale).succeeded();
}

fn pods(scene: &Scene<'_>, name: &str, count: usize) -> Vec<RunningPod> {
    (0..count)
        .map(|ordinal| {
            scene
                .cluster
                .wait_pod(NAMESPACE, &format!("{name}-{ordinal}"))
        })
        .collect()
}

/// Where a session is live now: the pod, by its order.
fn home(pods: &[RunningPod], session: &Session) -> Option<usize> {
    let at = session.at_engine();
    pods.iter().position(|pod| {
        let events = pod.process().events();
        let mut of = events.iter().filter(|event| text(event, "session") == at);
        let last = of.rfind(|event| matches!(kind(event), "logon" | "logout"));
        last.is_some_and(|event| kind(event) == "logon")
    })
}

/// One message each way.
fn assert_speaks(counterparty: &Peer, engine: &Peer, session: &Session) {
    let (at_counterparty, at_engine) = (session.at_counterparty(), session.at_engine());
    let sent = counterparty.send(&at_counterparty, 1);
    engine.wait_received(&at_engine, sent);
    let sent = engine.send(&at_engine, 1);
    counterparty.wait_received(&at_counterparty, sent);
}

#[test]
fn an_engine_that_is_rolled_takes_its_own_sessions_along_and_the_next_logons_wait_for_it() {
    inside(|| {
        let rolls = sized(1, 5);
        let fault = format!(
            "a StatefulSet of two engines rolled, and one of one scaled down and up, {rolls} times"
        );
        attacked(&fault, &[], |scene| {
            let pair = PAIR.map(session);
            let single = session(SINGLE);
            let one = std::slice::from_ref(&single);
            scene.apply(&engines(NAMESPACE, "pair", SERVICE_PORT, 2, &pair));
            scene.apply(&engines(NAMESPACE, "single", SERVICE_PORT, 1, one));
            for name in ["pair", "single"] {
                let object = format!("statefulset/{name}");
                scene.cluster.wait_rolled_out(NAMESPACE, &object);
            }
            let mut routes = vec![route("single", SINGLE, "single")];
            for sender in PAIR {
                let name = sender.to_lowercase().replace('_', "-");
                routes.push(route(&name, sender, "pair"));
            }
            scene.apply(&routes);
            for route in &routes {
                wait_programmed(scene.cluster, route["metadata"]["name"].as_str().unwrap());
            }
            let gateways = scene.gateways();
            let at = |number: usize| gateways[number % gateways.len()].at(PLAIN_PORT);
            let alone = Peer::counterparty(SINGLE, at(0), one);
            let many: Vec<Peer> = (0..PAIR.len())
                .map(|n| Peer::counterparty(PAIR[n], at(n), std::slice::from_ref(&pair[n])))
                .collect();
            alone.wait_logon(&single.at_counterparty());
            for (peer, session) in many.iter().zip(&pair) {
                peer.wait_logon(&session.at_counterparty());
            }
            let mut logons = 1;
            for _ in 0..rolls {
                // Nobody else can take its session meanwhile: the Logon is held, and is released to the new pod.
                let mark = alone.process().mark();
                let before = pods(scene, "single", 1);
                assert_speaks(&alone, &before[0].engine(), &single);
                scale(scene, "single", 0);
                let path = session_path("single");
                scene
                    .cluster
                    .wait_object(&path, "its next Logon to be held", |object| {
                        (object["status"]["connections"]["held"] == 1).then_some(())
                    });
                scale(scene, "single", 1);
                let after = pods(scene, "single", 1);
                assert_ne!(after[0].uid, before[0].uid);
                alone.process().wait_after(mark, "the next logon", |event| {
                    kind(event) == "logon" && text(event, "session") == single.at_counterparty()
                });
                let events = alone.process().events();
                let sent = events[mark..].iter().filter(|event| {
                    kind(event) == "admin"
                        && text(event, "direction") == "out"
                        && text(event, "type") == "logon"
                });
                assert_eq!(
                    sent.count(),
                    1,
                    "the first one was held, and none was refused"
                );
                logons += 1;
                assert_eq!(alone.logons(&single.at_counterparty()), logons);
                assert_speaks(&alone, &after[0].engine(), &single);

                // Of two, one is always there.
                let homes_before = pods(scene, "pair", 2);
                restart(scene, "pair");
                let homes = pods(scene, "pair", 2);
                for (home, was) in homes.iter().zip(&homes_before) {
                    assert_ne!(home.uid, was.uid);
                }
                for (peer, session) in many.iter().zip(&pair) {
                    let at = wait_until("a session to have a home again", || home(&homes, session));
                    assert_speaks(peer, &homes[at].engine(), session);
                }
                scene.flock.assert_sound();
            }
            for peer in many.into_iter().chain([alone]) {
                peer.stop();
            }
        });
    });
}
