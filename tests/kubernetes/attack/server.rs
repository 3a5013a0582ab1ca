//! What if the API server is away, or ends whatever is asked of it?

use std::time::{Duration, Instant};

use fixgw_e2e::cluster::Part;
use fixgw_e2e::inside::{find_packets, inside, lose_packets};
use fixgw_e2e::process::{is_alive, wait_until};
use serde_json::Value;

use super::scene::{PROBE, RELAY_PORT, STANDS_ASIDE, attacked, said, sized};
use crate::sessions;

/// The kernel probes for 25 s, and ten seconds of it are told to nobody. Less than the shortest time after which a watch is asked for
/// anyway.
const NOTICED_MAX: Duration = Duration::from_mins(1);

#[test]
fn without_api_server_and_store_sessions_go_on_and_logons_are_routed_and_what_is_written_afterwards_counts()
 {
    inside(|| {
        // Longer than it takes a replica to stand aside for one that is better off. There is none.
        let away = Duration::from_secs(sized(40, 75));
        let fault = format!("API server and etcd away for {} s", away.as_secs());
        attacked(&fault, &[], |scene| {
            let parts = scene.operators();
            for part in [Part::ApiServer, Part::Etcd] {
                scene.cluster.end(part);
            }
            let since = Instant::now();
            scene.assert_leads(PROBE, "before");
            scene.pass_time(away);
            scene.assert_leads(PROBE, "before");
            // Longer than anybody may lead without being able to say so.
            scene.wait_said(&parts, "this replica leads no more");
            for part in [Part::Etcd, Part::ApiServer] {
                scene.cluster.begin(part);
            }
            assert!(since.elapsed() >= away);
            scene.change_to("after");
            // Nobody was started again for it, or has sent a gateway away.
            for (pod, process) in &parts {
                assert!(is_alive(process.pid()), "{} was ended", pod.name.1);
                assert!(!said(process, STANDS_ASIDE), "{}", pod.name.1);
            }
        });
    });
}

#[test]
fn a_network_that_swallows_every_packet_is_noticed_by_watches_that_have_nothing_to_say() {
    inside(|| {
        attacked(
            "no packet of the API server reaches the leader any more",
            &[],
            |scene| {
                let before = scene.holder().unwrap();
                let [leader, _] = &scene.operators()[..] else {
                    panic!("two replicas");
                };
                let address = leader.0.address.into();
                lose_packets(RELAY_PORT, address);
                let leader = [leader.clone()];
                scene.wait_said_within(NOTICED_MAX, &leader, "cannot be reached since");
                let _ = scene.wait_other_leader(&before, NOTICED_MAX);
                scene.change_to("after");
                find_packets(RELAY_PORT, address);
                scene.wait_said(&leader, "resolved: cannot be reached since");
                scene.lead_probe("before");
                scene.wait_leads(PROBE, "before");
            },
        );
    });
}

#[test]
fn watches_that_are_cut_every_second_and_a_history_that_is_gone_miss_nothing() {
    inside(|| {
        let cuts = sized(8, 60);
        let fault = format!("watches cut {cuts} times, once in a second, and 410 Gone");
        attacked(&fault, &[], |scene| {
            let mut engines = ["after", "before"].iter().cycle();
            for _ in 0..cuts {
                scene.relay.cut();
                let engine = engines.next().unwrap();
                scene.lead_probe(engine);
                let begun = Instant::now();
                scene.wait_leads(PROBE, engine);
                scene.pass_time(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
            // While nobody hears of it, the history goes: an API server that was started anew has none from before. Whoever asks
            // to go on where he was is told that this is gone.
            let replicas = scene.operators();
            for (pod, _) in &replicas {
                scene.relay.freeze(pod.address.into());
            }
            let there = scene.get(&sessions())["metadata"]["resourceVersion"].clone();
            for engine in ["before", "after"] {
                scene.lead_probe(engine);
            }
            scene.cluster.end(Part::ApiServer);
            scene.cluster.begin(Part::ApiServer);
            wait_until("the history to be gone", || {
                let mut code = Value::Null;
                let api = scene.cluster.api();
                let _ = api.watch(&sessions(), there.as_str().unwrap(), |change| {
                    code = change["object"]["code"].clone();
                    false
                });
                (code == 410).then_some(())
            });
            scene.relay.cut();
            for (pod, _) in &replicas {
                scene.relay.thaw(pod.address.into());
            }
            scene.wait_leads(PROBE, "after");
            scene.change_to("before");
        });
    });
}
