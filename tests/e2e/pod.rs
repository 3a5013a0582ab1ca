//! Does a gateway in a container do what it promises: `fixgw gateway`, its probes, its Secrets, its control planes, and
//! `fixgw drain` before it is stopped?

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use fixgw_e2e::control;
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{VMS, statistics};
use fixgw_e2e::peer::{Engine, Peer, Session};
use fixgw_e2e::pod::{MountedSecret, Pod, Setup};
use fixgw_e2e::process::{Process, Stream, is_alive, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::secret::assert_absent;
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tls::{Authority, Client, GATEWAY, TlsClient};
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

/// Rules, and control planes over them.
struct Rules {
    directory: Directory,
    endpoints: Vec<(String, SocketAddr)>,
    states: BTreeMap<SocketAddr, TempDir>,
}

impl Rules {
    fn of(routes: &[Route], endpoints: &[(&str, SocketAddr)]) -> Self {
        let endpoints = endpoints.iter();
        Self {
            directory: Directory::of(routes),
            endpoints: endpoints
                .map(|(name, address)| ((*name).to_owned(), *address))
                .collect(),
            states: BTreeMap::new(),
        }
    }

    /// `BROKER` to this engine.
    fn broker_to(engine: SocketAddr) -> Self {
        let route = Route::new("broker", "engine").value("SenderCompID49", "BROKER");
        Self::of(&[route], &[("engine", engine)])
    }

    fn control_plane(&mut self, address: SocketAddr) -> Process {
        let state = self.states.entry(address).or_insert_with(|| {
            TempDir::with_prefix("fixgw-e2e-").expect("a temporary directory can be made")
        });
        control::start(&self.directory, &self.endpoints, address, state.path(), VMS)
    }
}

/// A light engine, a control plane that leads there, and a gateway.
fn light(setup: impl FnOnce(Setup) -> Setup) -> (EchoEngine, Rules, Process, Pod) {
    let engine = EchoEngine::start("light");
    let mut rules = Rules::broker_to(engine.address());
    let address = unused_port();
    let control = rules.control_plane(address);
    let pod = setup(Setup::asking(address)).start_ready();
    (engine, rules, control, pod)
}

fn session(pod: &Pod) -> RawClient {
    let mut client = RawClient::connect(pod.address());
    client.send(&logon());
    assert_eq!(client.take_greeting(), "light");
    assert_eq!(client.take(logon().len()), logon());
    client
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn it_becomes_envoy_and_nothing_listens_before_there_is_a_table() {
    let session = Session::new("FIX.4.4", "BROKER", "VENUE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let mut rules = Rules::broker_to(tap.address());
    let address = unused_port();
    let mut pod = Setup::asking(address).spawn();
    let program = format!("/proc/{}/exe", pod.pid());
    wait_until("the process to become Envoy", || {
        let program = std::fs::read_link(&program).ok()?;
        (program == tool::envoy().canonicalize().unwrap()).then_some(())
    });
    wait_until("Envoy's admin interface", || {
        TcpStream::connect(pod.admin()).ok()
    });
    assert!(is_refused(pod.address()) && is_refused(pod.probes()));
    let _control = rules.control_plane(address);
    pod.wait_ready();
    let counterparty = Peer::counterparty("broker", pod.address(), std::slice::from_ref(&session));
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    live.assert_unbroken();
    let pid = pod.pid();
    pod.process().signal(Signal::TERM);
    assert!(pod.process().wait_exit().success());
    assert!(!is_alive(pid));
}

#[test]
fn probes_are_answered_and_nothing_else_of_the_admin_interface() {
    let (_engine, _rules, _control, mut pod) = light(|setup| setup);
    let (probes, metrics) = (pod.probes(), pod.metrics());
    for (port, request, wanted) in [
        (probes, "GET /ready", "LIVE"),
        (probes, "GET /live", "LIVE"),
        (metrics, "GET /stats/prometheus", "envoy_server_live{} 1"),
    ] {
        let answer = Pod::ask(port, request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{request}: {answer}");
        assert!(answer.contains(wanted), "{request}: {answer}");
    }
    let other = [
        (probes, "GET /stats/prometheus"),
        (metrics, "GET /live"),
        (metrics, "GET /ready"),
    ];
    let neither = [
        "POST /ready",
        "HEAD /ready",
        "GET /ready?x",
        "GET /ready/",
        "GET /ready/../config_dump",
        "GET /ready/%2e%2e/config_dump",
        "GET //ready",
        "GET /READY",
        "GET /",
        "GET /help",
        "GET /stats",
        "GET /stats/prometheus?usedonly",
        "GET /stats/prometheus/../../config_dump",
        "GET /config_dump",
        "GET /clusters",
        "GET /listeners",
        "POST /quitquitquit",
        "POST /drain_listeners",
        "POST /logging?level=trace",
        "GET http://127.0.0.1/quitquitquit",
        "OPTIONS *",
        "CONNECT /quitquitquit",
    ];
    let neither = neither
        .iter()
        .flat_map(|request| [(probes, *request), (metrics, *request)]);
    for (port, request) in neither.chain(other) {
        let answer = Pod::ask(port, request);
        assert!(
            ["HTTP/1.1 404", "HTTP/1.1 400"]
                .iter()
                .any(|refusal| answer.starts_with(refusal)),
            "{request}: {answer}"
        );
    }
    let _ = session(&pod);
    assert!(pod.process().is_running());
}

#[test]
fn a_gateway_that_is_full_answers_its_probes_and_probes_have_a_bound_of_their_own() {
    let (_engine, _rules, _control, pod) = light(|setup| setup.keys("connectionsMax: 2\n"));
    let _sessions = [session(&pod), session(&pod)];
    let mut third = RawClient::connect(pod.address());
    assert_eq!(third.take_to_end(), b"");
    assert!(pod.probe("GET /ready").starts_with("HTTP/1.1 200"));
    let active = "listener.fixgw-probes.downstream_cx_active";
    let silent: Vec<TcpStream> = (0..80)
        .map(|_| TcpStream::connect(pod.probes()).unwrap())
        .collect();
    let limited = "connection_limit.fixgw-probes.limited_connections";
    let counted = wait_until("the probes' bound", || {
        let found = statistics(pod.admin(), "fixgw-probes");
        (found[limited] == 32 && found[active] == 48).then_some(found)
    });
    assert!(!counted.is_empty());
    drop(silent);
    wait_until("a place for probes", || {
        pod.probe("GET /live")
            .starts_with("HTTP/1.1 200")
            .then_some(())
    });
}

/// Whoever may read statistics takes no place of the kubelet's.
#[test]
fn scrapers_that_take_every_place_leave_probes_theirs() {
    let (_engine, _rules, _control, pod) = light(|setup| setup);
    let active = "listener.fixgw-metrics.downstream_cx_active";
    let _silent: Vec<TcpStream> = (0..80)
        .map(|_| TcpStream::connect(pod.metrics()).unwrap())
        .collect();
    let limited = "connection_limit.fixgw-metrics.limited_connections";
    wait_until("the bound of scrapers", || {
        let found = statistics(pod.admin(), "fixgw-metrics");
        (found[limited] == 64 && found[active] == 16).then_some(())
    });
    for request in ["GET /live", "GET /ready"] {
        let answer = pod.probe(request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{request}: {answer}");
    }
}

/// A client of a listener with TLS, with its session.
fn secure(pod: &Pod, listener: &str, client: &Client<'_>) -> TlsClient {
    let mut client = client.connect(pod.address_of(listener));
    assert_eq!(client.greeting_after(&logon()).as_deref(), Ok("light"));
    client
}

#[test]
fn each_listener_shows_its_own_secret_and_a_renewed_one_reaches_new_connections_alone() {
    let (here, there) = (Authority::new("here"), Authority::new("there"));
    let brokers = Authority::new("brokers");
    let (old, other) = (here.issue(GATEWAY), there.issue(GATEWAY));
    let secret = MountedSecret::of(&old, &brokers.pem());
    let other_secret = MountedSecret::of(&other, "");
    let (engine, _rules, _control, pod) = light(|setup| {
        setup
            .listener("fix-mutual", &secret.keys("ca.crt"))
            .listener("fix-tls", &other_secret.keys("none"))
    });
    let desk = brokers.issue("BROKER desk 1");
    let mutual = Client::trusting(&here).showing(&desk);
    let mut live = secure(&pod, "fix-mutual", &mutual);
    assert_eq!(live.shown(), old.der());
    let mut beside = secure(&pod, "fix-tls", &Client::trusting(&there));
    assert_eq!(beside.shown(), other.der());
    let without = Client::trusting(&here).connect(pod.address_of("fix-mutual"));
    let mut without = without;
    assert!(without.greeting_after(&logon()).is_err());
    // Another certificate and another client CA, in one step.
    let (new, successors) = (here.issue(GATEWAY), Authority::new("successors"));
    secret.put(&new, &successors.pem());
    let desk_two = successors.issue("BROKER desk 2");
    let renewed = Client::trusting(&here).showing(&desk_two);
    let mut next = wait_until("the renewed Secret in use", || {
        let mut client = renewed.connect(pod.address_of("fix-mutual"));
        // To Envoy, the certificate and the client CA are two files, and it may have read one of them.
        let is_let_in = client.greeting_after(&logon()).is_ok();
        (is_let_in && client.shown() == new.der()).then_some(client)
    });
    let mut refused = mutual.connect(pod.address_of("fix-mutual"));
    assert!(refused.greeting_after(&logon()).is_err());
    // What is not fit changes nothing.
    let mut broken = here.issue(GATEWAY);
    broken.key = "no key".to_owned();
    secret.put(&broken, &successors.pem());
    wait_until("Envoy to refuse it", || {
        let found = statistics(
            pod.admin(),
            "sds.fixgw-certificate-fix-mutual.key_rotation_failed",
        );
        found.values().any(|count| *count > 0).then_some(())
    });
    let told = Pod::ask(pod.metrics(), "GET /stats/prometheus");
    let counter =
        "envoy_sds_key_rotation_failed{envoy_xds_resource_name=\"fixgw-certificate-fix-mutual\"} 1";
    assert!(told.contains(counter), "{told}");
    let after = secure(&pod, "fix-mutual", &renewed);
    assert_eq!(after.shown(), new.der());
    for session in [&mut live, &mut beside, &mut next] {
        session.assert_echoes(b"on and on");
    }
    let plain = session(&pod);
    assert!(plain.is_open());
    assert!(engine.received().len() >= 5);
    // Nothing of a key stands where it writes.
    for entry in std::fs::read_dir(pod.run_directory()).unwrap() {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        for issued in [&old, &new, &other] {
            assert_absent("the run directory", &file, &issued.secret_lines());
        }
    }
}

#[test]
fn a_control_plane_that_is_gone_is_left_for_the_next_one_of_its_name() {
    let engine = EchoEngine::start("light");
    let mut rules = Rules::broker_to(engine.address());
    let port = unused_port().port();
    // One port at two addresses of loopback.
    let addresses = [1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], port)));
    let [first, second] = addresses.map(|address| rules.control_plane(address));
    let pod = Setup::asking_all(&addresses).start_ready();
    let mut live = session(&pod);
    let mut next = |rules: &Rules, name: &str| {
        let route = Route::new(&name.to_lowercase(), "engine");
        rules.directory.put(&route.value("SenderCompID49", name));
        let logon = fix::logon("FIX.4.4", name, "VENUE", &[]);
        wait_until("the table of the other control plane", || {
            let mut client = RawClient::connect(pod.address());
            client.send(&logon);
            (!client.take_at_most(1).is_empty()).then_some(())
        });
        live.send(b"on and on");
        assert_eq!(live.take(9), b"on and on");
    };
    drop(first);
    next(&rules, "ONE");
    // Now the second is asked. It falls silent, as on a host that is gone: nothing is closed.
    let _again = rules.control_plane(addresses[0]);
    wait_until("it to listen again", || {
        TcpStream::connect(addresses[0]).ok()
    });
    second.signal(Signal::STOP);
    next(&rules, "TWO");
    // It is passed over, again and again.
    let passed_over = |hosts: u64| {
        let named = "envoy_cluster_outlier_detection_ejections_active";
        let line = format!("{named}{{envoy_cluster_name=\"fixgw-control-plane\"}} {hosts}\n");
        wait_until(&line, || {
            let said = Pod::ask(pod.metrics(), "GET /stats/prometheus");
            said.contains(&line).then_some(())
        });
    };
    passed_over(1);
}

/// QuickFIX sessions through a gateway, and one that is held.
struct Trading {
    engine: Engine,
    sessions: Vec<Session>,
    rules: Rules,
    _control: Process,
    pod: Pod,
}

impl Trading {
    fn begin() -> Self {
        let names = ["BROKER", "BANK"];
        let sessions: Vec<Session> = names
            .iter()
            .map(|name| Session::new("FIX.4.4", name, "VENUE").reset_on_logon())
            .collect();
        let engine = Peer::engine("engine", &sessions);
        let mut routes: Vec<Route> = names
            .iter()
            .map(|name| Route::new(&name.to_lowercase(), "engine").value("SenderCompID49", name))
            .collect();
        routes.push(Route::new("late", "late").value("SenderCompID49", "LATE"));
        let mut rules = Rules::of(&routes, &[("engine", engine.address())]);
        rules.directory.put_service("late", &[]);
        let address = unused_port();
        let control = rules.control_plane(address);
        let pod = Setup::asking(address).start_ready();
        Self {
            engine,
            sessions,
            rules,
            _control: control,
            pod,
        }
    }
}

#[test]
fn a_drain_refuses_new_connections_and_waits_for_live_and_held_ones() {
    let trading = Trading::begin();
    let pod = &trading.pod;
    let parties: Vec<(Peer, &Session)> = trading
        .sessions
        .iter()
        .map(|session| {
            let one = std::slice::from_ref(session);
            (
                Peer::counterparty(session.sender(), pod.address(), one),
                session,
            )
        })
        .collect();
    for (party, session) in &parties {
        party.wait_logon(&session.at_counterparty());
    }
    let mut held = RawClient::connect(pod.address());
    let late = fix::logon("FIX.4.4", "LATE", "VENUE", &[]);
    held.send(&late);
    wait_until("three live connections", || live(pod, 3));
    let drain = pod.drain("1h");
    drain.wait_line(
        "no new connections are taken; waiting for 3 live connections to end, for 3600 s at most",
    );
    wait_until("the listener to refuse", || {
        is_refused(pod.address()).then_some(())
    });
    assert!(pod.probe("GET /ready").starts_with("HTTP/1.1 200"));
    // The held one gets its engine, and everyone goes on.
    let engine = EchoEngine::start("late");
    trading
        .rules
        .directory
        .put_service("late", &[engine.address()]);
    assert_eq!(held.take_greeting(), "late");
    assert_eq!(held.take(late.len()), late);
    for (party, session) in &parties {
        party.send(&session.at_counterparty(), 20);
        trading.engine.wait_received(&session.at_engine(), 20);
        let wanted: Vec<u64> = (1..=20).collect();
        assert_eq!(trading.engine.received(&session.at_engine()), wanted);
        assert_eq!(trading.engine.logons(&session.at_engine()), 1);
        assert_eq!(party.logons(&session.at_counterparty()), 1);
    }
    assert!(is_refused(pod.address()) && drain.is_running());
    for (number, (party, session)) in parties.iter().enumerate() {
        party.log_out(&session.at_counterparty());
        wait_until("one connection fewer", || live(pod, 2 - number as u64));
        assert!(drain.is_running());
    }
    drop(held);
    assert!(drain.wait_exit().success());
    let said = drain.output().text(Stream::Out);
    assert!(said.ends_with("nobody is connected any more\n"), "{said}");
}

/// Whether so many counterparties are connected.
fn live(pod: &Pod, count: u64) -> Option<()> {
    let active = statistics(pod.admin(), "listener.fix-plain.downstream_cx_active");
    (active["listener.fix-plain.downstream_cx_active"] == count).then_some(())
}

#[test]
fn a_drain_ends_when_its_time_is_over_and_says_who_is_left() {
    let (_engine, _rules, _control, pod) = light(|setup| setup);
    let mut client = session(&pod);
    let drain = pod.drain("300ms");
    assert_eq!(drain.wait_exit().code(), Some(1));
    let said = drain.output().text(Stream::Err);
    assert_eq!(said, "fixgw drain: 1 connection did not end in time\n");
    client.send(b"on and on");
    assert_eq!(client.take(9), b"on and on");
    let nobody = fixgw(&["drain", "--admin", &unused_port().to_string()]);
    assert_eq!(nobody.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(said.contains("nothing listens at 127.0.0.1:"), "{said}");
}

fn fixgw(arguments: &[&str]) -> Output {
    Command::new(tool::program("fixgw"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A file for `fixgw gateway`, with these lines more.
fn config(directory: &Path, listener: &str, more: &str) -> String {
    let path = directory.join("gateway.yaml");
    let text = format!(
        "listeners:\n- {{ name: fix, port: 9876, {listener} }}\ncontrolPlane: {{ host: operator, port: 18000 }}\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn what_keeps_it_from_starting_is_one_sentence_and_exit_code_2() {
    let directory = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let path = directory.path();
    let issued = Authority::new("a").issue(GATEWAY);
    let stranger = Authority::new("b").issue(GATEWAY);
    let secret = MountedSecret::of(&issued, "");
    std::fs::create_dir(path.join("empty")).unwrap();
    let run = format!("runDirectory: {}\n", path.display());
    let empty = format!("tls: {{ directory: {} }}", path.join("empty").display());
    let mismatch = MountedSecret::of(
        &fixgw_e2e::tls::Issued {
            certificate: issued.certificate.clone(),
            key: stranger.key.clone(),
        },
        "",
    );
    for (listener, more, wanted) in [
        (empty.as_str(), run.as_str(), "listener `fix`: `"),
        (&empty, &run, "empty/tls.crt` cannot be read"),
        (
            &mismatch.keys("none"),
            &run,
            "is not that of the certificate",
        ),
        (
            &secret.keys("ca.crt"),
            &run,
            "ca.crt` holds no certificate in PEM",
        ),
        (
            "",
            "runDirectory: /nowhere/run\n",
            "`/nowhere/run/bootstrap.json` cannot be written",
        ),
        (
            "",
            "connectionsMax: 10000000\n",
            "`connectionsMax` is 10000000, and this process may open files for",
        ),
        (
            "",
            "workres: 2\n",
            "gateway.yaml:4:1: workres: there is no such field; did you mean `workers`?",
        ),
    ] {
        let file = config(path, listener, more);
        let ended = fixgw(&["gateway", "--config", &file]);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{more}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("fixgw gateway: ") && said.contains(wanted),
            "{said}"
        );
    }
    let file = config(path, "", &run);
    for (arguments, wanted) in [
        (
            ["--config", "/nowhere.yaml"],
            "`/nowhere.yaml` cannot be read",
        ),
        (
            ["--envoy", "/nowhere/envoy"],
            "Envoy was not found at `/nowhere/envoy`",
        ),
        (
            ["--filter", "/nowhere.wasm"],
            "no WebAssembly module at `/nowhere.wasm`",
        ),
    ] {
        let mut all = vec!["gateway"];
        all.extend(arguments);
        if arguments[0] != "--config" {
            all.extend(["--config", &file]);
        }
        let ended = fixgw(&all);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn what_is_printed_is_what_envoy_would_start_with_and_holds_no_secret() {
    let directory = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let issued = Authority::new("a").issue(GATEWAY);
    let secret = MountedSecret::of(&issued, "");
    let file = config(directory.path(), &secret.keys("none"), "");
    let printed = fixgw(&[
        "gateway",
        "--config",
        &file,
        "--node-id",
        "pod-7",
        "--print",
    ]);
    assert!(printed.status.success(), "{printed:?}");
    let bootstrap: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(text(&bootstrap["node"], "id"), "pod-7");
    assert_absent("the bootstrap", &printed.stdout, &issued.secret_lines());
    let text = bootstrap.to_string();
    assert!(text.contains("fixgw-certificate-fix") && text.contains("envoy.cluster.dns"));
    // Envoy takes it, without a warning.
    let path = directory.path().join("printed.json");
    let text = text.replace("/run/fixgw/", &format!("{}/", directory.path().display()));
    std::fs::write(&path, text).unwrap();
    let resource = format!(
        "resources: [{{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: \
         fixgw-certificate-fix, tls_certificate: {{ certificate_chain: {{ filename: {0}/tls.crt }}, private_key: {{ \
         filename: {0}/tls.key }}, watched_directory: {{ path: {0} }} }} }}]",
        secret.directory().display()
    );
    std::fs::write(
        directory.path().join("fixgw-certificate-fix.json"),
        resource,
    )
    .unwrap();
    let validation = Command::new(tool::envoy())
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&validation.stderr);
    assert!(
        validation.status.success() && !said.contains("[warning]"),
        "{said}"
    );
}

#[test]
fn a_port_that_is_in_use_ends_it_with_envoys_own_words() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port();
    let directory = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let own = format!(
        "address: 127.0.0.1\nadminPort: {}\nprobePort: {taken}\nmetricsPort: {}\nrunDirectory: {}\n",
        unused_port().port(),
        unused_port().port(),
        directory.path().display()
    );
    let file = config(directory.path(), "", &own);
    let gateway = Process::start("fixgw gateway", tool::program("fixgw"), |command| {
        command.args(["gateway", "--config", &file]);
    });
    assert_eq!(gateway.wait_exit().code(), Some(1));
    let said = gateway.output().text(Stream::Err);
    assert!(said.contains("Address already in use"), "{said}");
}
