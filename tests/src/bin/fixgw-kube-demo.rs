//! What does the gateway do on Kubernetes? Told by a control plane of its own, the chart, real engines and counterparties.
//!
//! Prints nothing that it has not seen: what kubectl and helm are shown with is what they were run with, and what they said.
//! Ends by itself; whatever goes wrong is its last line, and its exit code is not 0 then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is written with the tests' harness and fails as a test does"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fixgw_e2e::cluster::{Cluster, RELEASE, RELEASE_NAMESPACE, Release, engines, images};
use fixgw_e2e::fixture::{NAMESPACE, SERVICE_PORT};
use fixgw_e2e::inside;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::wait_until;
use fixgw_e2e::socket::established;
use fixgw_e2e::{told, tool};
use serde_json::Value;

/// Whose engine is started late.
const LATE: &str = "algo-engine";

/// How long its counterparty waits for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    told::story("kube-demo", || {
        inside::enter();
        tell();
    })
}

/// A counterparty, and the Service whose engine it is to reach.
struct Party {
    session: Session,
    service: &'static str,
    peer: Option<Peer>,
}

fn parties() -> Vec<Party> {
    let party = |service, session: Session| Party {
        session: session.reset_on_logon(),
        service,
        peer: None,
    };
    let fix = |sender| Session::new("FIX.4.4", sender, "VENUE");
    vec![
        party("equities-engine", fix("EQ_BROKER")),
        party("hedge-engine", fix("HEDGE_ONE")),
        party(
            "private-engine",
            fix("PRIVATE_BANK")
                .with(20001, "ICEBERG")
                .with(9001, "RESTRICTED"),
        ),
        party("everybody-engine", fix("SOMEBODY")),
        party(
            LATE,
            fix("ALGO_HOUSE").with(20001, "VWAP").patient_for(PATIENCE),
        ),
    ]
}

/// Another session of the first counterparty, by another version of FIX.
fn next_session() -> Session {
    Session::new("FIX.4.2", "EQ_BROKER", "VENUE").reset_on_logon()
}

fn tell() {
    println!(
        "\nA Kubernetes of its own, in a network of its own: nobody else's cluster is touched.\n"
    );
    let started = Instant::now();
    let cluster = Cluster::start(images());
    let version = cluster.api().get("/version");
    println!(
        "  etcd, kube-apiserver and kube-controller-manager {}, after {} s; three nodes, played by the demo",
        version.body["gitVersion"].as_str().unwrap_or_default(),
        started.elapsed().as_secs()
    );
    cluster.create_namespace(NAMESPACE);

    let started = Instant::now();
    println!(
        "\n$ helm install {RELEASE} helm/fix-gateway --namespace {RELEASE_NAMESPACE} --set gateway.replicas=2"
    );
    let release = Release::install(&cluster, &["gateway.replicas=2"]);
    let mut parties = parties();
    for party in &parties {
        let replicas = u32::from(party.service != LATE);
        let sessions = parties.iter().map(|party| party.session.clone());
        let sessions: Vec<Session> = sessions.chain([next_session()]).collect();
        cluster.apply_all(&engines(
            NAMESPACE,
            party.service,
            SERVICE_PORT,
            replicas,
            &sessions,
        ));
    }
    release.wait_rolled_out();
    for component in ["operator", "gateway", "reject-engine"] {
        for pod in release.pods(component) {
            println!("  {:<45} {}", pod.name.1, pod.address);
        }
    }
    println!(
        "  ready after {} s, with the accounts, Roles and configuration that the chart gave them",
        started.elapsed().as_secs()
    );

    println!("\n$ kubectl apply --server-side -f crds/examples/");
    let examples = tool::repository().join("crds/examples");
    let said = cluster
        .kubectl(&[
            "apply",
            "--server-side",
            "-f",
            &examples.display().to_string(),
        ])
        .succeeded();
    println!("  {} objects", said.lines().count());
    println!("$ kubectl wait --for=condition=Programmed fixs --all");
    let since = Instant::now();
    let wait = ["wait", "--for=condition=Programmed", "--timeout=60s"];
    let _ = trading(&cluster, &[&wait[..], &["fixs", "--all"]].concat());
    println!(
        "  every gateway routes by them, {} s later\n",
        since.elapsed().as_secs()
    );
    show(&cluster, &["get", "fixs"]);

    connect_all(&cluster, &release, &mut parties);
    show_when(
        &cluster,
        &["get", "fixs"],
        "four sessions are told of",
        |sessions| count(sessions, "active") == 4,
    );

    start_late(
        &cluster,
        &release,
        parties.last_mut().expect("there are some"),
    );
    retarget(&cluster, &release, &parties[0]);
    refuse(&cluster);

    println!("\nEverybody logs out");
    for party in &mut parties {
        let at = party.session.at_counterparty();
        let peer = party.peer.take().expect("it is connected");
        peer.log_out(&at);
        peer.wait_logout(&at);
        peer.stop();
    }
    show_when(
        &cluster,
        &["get", "fixs"],
        "nobody is told of",
        |sessions| count(sessions, "active") == 0,
    );

    println!("\n$ helm uninstall {RELEASE} --namespace {RELEASE_NAMESPACE}");
    let _ = cluster
        .helm(&["uninstall", RELEASE, "--namespace", RELEASE_NAMESPACE])
        .succeeded();
    let left = trading(&cluster, &["get", "fixs", "-o", "name"]);
    println!(
        "  the release is gone; the {} FIXSessions, which are yours, stay",
        left.lines().count()
    );
}

fn connect(release: &Release<'_>, party: &Party) -> Peer {
    let sessions = std::slice::from_ref(&party.session);
    Peer::counterparty(party.session.sender(), release.gateway(), sessions)
}

/// All but the one whose engine is not there yet.
fn connect_all(cluster: &Cluster, release: &Release<'_>, parties: &mut [Party]) {
    println!("\nQuickFIX counterparties connect to a pod of the gateway");
    for party in parties.iter_mut().filter(|party| party.service != LATE) {
        let peer = connect(release, party);
        peer.wait_logon(&party.session.at_counterparty());
        let name = format!("{}-0", party.service);
        let engine = cluster.wait_pod(NAMESPACE, &name).engine();
        engine.wait_logon(&party.session.at_engine());
        println!("  {:<14} → {name}", party.session.sender());
        party.peer = Some(peer);
    }
    println!();
}

/// A Logon comes before its engine.
fn start_late(cluster: &Cluster, release: &Release<'_>, party: &mut Party) {
    let sender = party.session.sender();
    println!("\n{sender} connects; its engine has no pod");
    let peer = connect(release, party);
    show_when(
        cluster,
        &["get", "fixs", "algo-custom-tag", "-o", "wide"],
        "it is told of as held",
        |sessions| count(sessions, "held") == 1,
    );
    println!("\n$ kubectl scale statefulset {LATE} --replicas=1");
    let since = Instant::now();
    let _ = trading(cluster, &["scale", "statefulset", LATE, "--replicas=1"]);
    peer.wait_logon(&party.session.at_counterparty());
    assert_eq!(peer.logons(&party.session.at_counterparty()), 1);
    println!(
        "  {sender:<14} → {LATE}-0, {} ms later, on the connection that it had",
        since.elapsed().as_millis()
    );
    party.peer = Some(peer);
}

/// The session that is live stays where it is; the next one goes to the new engine.
fn retarget(cluster: &Cluster, release: &Release<'_>, party: &Party) {
    let peer = party.peer.as_ref().expect("it is connected");
    let before = established(peer.process().pid());
    let path = format!(
        "/apis/fixgateway.io/v1alpha1/namespaces/{NAMESPACE}/fixsessions/equities-single-field"
    );
    let patch = r#"{"spec":{"target":{"service":{"name":"hedge-engine"}}}}"#;
    println!("\n$ kubectl patch fixs equities-single-field --type=merge -p '{patch}'");
    let arguments = [
        "patch",
        "fixs",
        "equities-single-field",
        "--type=merge",
        "-p",
        patch,
    ];
    let _ = trading(cluster, &arguments);
    cluster.wait_object(&path, "the new target to be in force", |object| {
        let generation = &object["metadata"]["generation"];
        let conditions = object["status"]["conditions"].as_array()?;
        let programmed = conditions
            .iter()
            .find(|condition| condition["type"] == "Programmed" && condition["status"] == "True")?;
        (programmed["observedGeneration"] == *generation).then_some(())
    });
    let next = next_session();
    let newcomer = Peer::counterparty("newcomer", release.gateway(), std::slice::from_ref(&next));
    newcomer.wait_logon(&next.at_counterparty());
    let engine = cluster.wait_pod(NAMESPACE, "hedge-engine-0").engine();
    engine.wait_logon(&next.at_engine());
    println!("  {:<14} → hedge-engine-0: its next session", next.sender());
    newcomer.log_out(&next.at_counterparty());
    newcomer.wait_logout(&next.at_counterparty());
    newcomer.stop();
    let sent = peer.send(&party.session.at_counterparty(), 1);
    let engine = cluster.wait_pod(NAMESPACE, "equities-engine-0").engine();
    engine.wait_received(&party.session.at_engine(), sent);
    assert_eq!(established(peer.process().pid()), before);
    println!(
        "  {:<14} goes on with equities-engine-0, on the connection that it had",
        party.session.sender()
    );
}

/// What the API server itself says to a wrong object.
fn refuse(cluster: &Cluster) {
    let wrong = format!(
        "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ name: wrong, namespace: {NAMESPACE} }}\n\
         spec:\n  matchFields: {{ SenderCompID49: {{ pattern: \"EQ_*\" }} }}\n  \
         target: {{ service: {{ name: equities-engine, port: {SERVICE_PORT} }} }}\n"
    );
    println!("\nA FIXSession whose pattern has no priority is applied");
    let said = cluster.apply(&wrong);
    assert!(!said.success, "it was taken: {}", said.out);
    for line in said.err.lines() {
        println!("  {line}");
    }
}

fn trading(cluster: &Cluster, arguments: &[&str]) -> String {
    cluster
        .kubectl(&[&["--namespace", NAMESPACE], arguments].concat())
        .succeeded()
}

fn show(cluster: &Cluster, arguments: &[&str]) {
    println!("$ kubectl {}", arguments.join(" "));
    for line in trading(cluster, arguments).lines() {
        println!("  {line}");
    }
}

/// Shows it as soon as it shows what it is to show.
fn show_when(cluster: &Cluster, arguments: &[&str], what: &str, shown: impl Fn(&[Value]) -> bool) {
    let path = format!("/apis/fixgateway.io/v1alpha1/namespaces/{NAMESPACE}/fixsessions");
    wait_until(what, || {
        let answer = cluster.api().get(&path);
        let items = answer.body["items"].as_array()?;
        shown(items).then_some(())
    });
    show(cluster, arguments);
}

fn count(sessions: &[Value], which: &str) -> u64 {
    let counts = sessions
        .iter()
        .map(|session| session["status"]["connections"][which].as_u64());
    counts.flatten().sum()
}
