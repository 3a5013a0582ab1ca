//! Do the container images hold what they need and no more, and do their programs run in them: without root, without rights, in a
//! file system that cannot be written?

use std::net::{SocketAddr, TcpStream};

use fixgw_e2e::fixture::Route;
use fixgw_e2e::gateway::statistics;
use fixgw_e2e::image::{Image, USER};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{Process, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;
use rustix::process::Signal;

const LICENSE: (&str, u32) = ("/usr/local/share/licenses/fix-gateway/LICENSE", 0o644);

/// Where gateways find the filter.
const MODULE: &str = "/usr/local/lib/fixgw/fixgw_filter.wasm";

/// Each image, with its files and their modes.
const IMAGES: [(&str, &[(&str, u32)]); 3] = [
    ("operator", &[("/usr/local/bin/fixgw", 0o755), LICENSE]),
    (
        "gateway",
        &[
            ("/usr/local/bin/envoy", 0o755),
            ("/usr/local/bin/fixgw", 0o755),
            (MODULE, 0o644),
            LICENSE,
        ],
    ),
    (
        "reject-engine",
        &[("/usr/local/bin/fixgw-reject-engine", 0o755), LICENSE],
    ),
];

fn recipe(name: &str) -> String {
    let path = tool::repository().join(format!("images/{name}/Containerfile"));
    std::fs::read_to_string(path).unwrap()
}

/// The first program of `ENTRYPOINT`.
fn entrypoint(recipe: &str) -> String {
    let line = recipe
        .lines()
        .find_map(|line| line.strip_prefix("ENTRYPOINT "));
    let words: Vec<String> = serde_json::from_str(line.unwrap()).unwrap();
    words.into_iter().next().unwrap()
}

#[test]
fn each_image_holds_its_programs_and_nothing_else() {
    for (name, wanted) in IMAGES {
        let image = Image::lay_out(name);
        let files = image.files();
        let found: Vec<(&str, u32)> = files
            .iter()
            .map(|(path, mode)| (path.as_str(), *mode))
            .collect();
        assert_eq!(found, wanted, "{name}");
        let image = image.with_base(&[]);
        let program = entrypoint(&recipe(name));
        let version = image.run(&[&program, "--version"]);
        let said = String::from_utf8_lossy(&version.stdout).into_owned();
        assert!(version.status.success(), "{name}: {version:?}");
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{name}: {said}");
        assert!(
            !image.run(&["/bin/sh", "-c", ":"]).status.success(),
            "{name} has a shell"
        );
    }
}

#[test]
fn each_recipe_pins_its_base_and_leaves_root() {
    for (name, files) in IMAGES {
        let recipe = recipe(name);
        let lines: Vec<&str> = recipe
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        for wanted in [
            "ARG BASE",
            "FROM ${BASE}",
            &format!("USER {USER}:{USER}"),
            "STOPSIGNAL SIGTERM",
            "COPY --chown=0:0 usr/ /usr/",
            &format!("ARG VERSION={}", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(lines.contains(&wanted), "{name}: `{wanted}`");
        }
        // Nothing is run, and nothing fetched, while an image is made.
        for never in ["RUN", "ADD"] {
            assert!(
                !lines.iter().any(|line| line.starts_with(never)),
                "{name}: {never}"
            );
        }
        let program = entrypoint(&recipe);
        assert!(
            files.iter().any(|(path, _)| *path == program),
            "{name}: {program}"
        );
    }
}

/// It is no root and can do nothing that root can.
fn assert_has_no_rights(process: &Process) {
    let of =
        |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.pid())).unwrap();
    let user = of("uid_map");
    let user: Vec<&str> = user.split_whitespace().collect();
    assert_eq!((user[0], user[2]), (USER.to_string().as_str(), "1"));
    let status = of("status");
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let line = format!("{set}:\t0000000000000000");
        assert!(status.contains(&line), "{status}");
    }
}

#[test]
fn the_three_images_together_are_a_gateway() {
    let session = Session::new("FIX.4.4", "BROKER", "VENUE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());

    let reject = Image::lay_out("reject-engine").with_base(&[]);
    let reject = reject.start(
        "reject engine",
        &[
            "/usr/local/bin/fixgw-reject-engine",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    let line = reject.wait_line("127.0.0.1:");
    let reject_address: SocketAddr = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert_has_no_rights(&reject);

    let route = Route::new("broker", "engine").value("SenderCompID49", "BROKER");
    let operator = Image::lay_out("operator").with_base(&[
        ("/etc/fixgw/rules/broker.yaml", &route.yaml()),
        // `fixgw control` wants to see the module that it names; `fixgw operator`, which needs a cluster, does not.
        (MODULE, ""),
    ]);
    let xds = unused_port();
    let control = operator.start(
        "operator",
        &[
            "/usr/local/bin/fixgw",
            "control",
            "/etc/fixgw/rules",
            "--xds",
            &xds.to_string(),
            "--filter",
            MODULE,
            "--state-dir",
            "/run/fixgw/state",
            "--endpoint",
            &format!("trading/engine={}", tap.address()),
        ],
    );
    control.wait_line("is published");
    assert_has_no_rights(&control);

    let [listener, admin, probes, metrics] = [(); 4].map(|()| unused_port());
    let file = format!(
        "listeners: [{{ name: fix, port: {} }}]\naddress: 127.0.0.1\ncontrolPlane: {{ host: 127.0.0.1, port: {} }}\n\
         rejectEngine: {{ host: 127.0.0.1, port: {} }}\nadminPort: {}\nprobePort: {}\nmetricsPort: {}\nworkers: 2\n",
        listener.port(),
        xds.port(),
        reject_address.port(),
        admin.port(),
        probes.port(),
        metrics.port()
    );
    let image = Image::lay_out("gateway").with_base(&[("/etc/fixgw/gateway.yaml", &file)]);
    // Only the emptyDir can be written.
    let elsewhere = file.clone() + "runDirectory: /etc/fixgw\n";
    image.put("/etc/fixgw/elsewhere.yaml", &elsewhere);
    let gateway = "/usr/local/bin/fixgw";
    let refused = image.run(&[gateway, "gateway", "--config", "/etc/fixgw/elsewhere.yaml"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");

    let pod = image.start(
        "gateway",
        &[gateway, "gateway", "--config", "/etc/fixgw/gateway.yaml"],
    );
    wait_until("the gateway to be ready", || {
        TcpStream::connect(probes).ok()
    });
    assert_has_no_rights(&pod);
    let counterparty = Peer::counterparty("broker", listener, std::slice::from_ref(&session));
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    // A Logon that no route takes is told why.
    let mut stranger = RawClient::connect(listener);
    stranger.send(&fixgw_e2e::fix::logon("FIX.4.4", "STRANGER", "VENUE", &[]));
    let logout = String::from_utf8_lossy(&stranger.take_to_end()).into_owned();
    assert!(
        logout.contains("No matching session configuration"),
        "{logout}"
    );
    live.assert_unbroken();
    drop(stranger);
    let active = "listener.fix.downstream_cx_active";
    wait_until("the stranger to be gone", || {
        (statistics(admin, active)[active] == 1).then_some(())
    });
    // The hook before a stop.
    let admin = admin.to_string();
    let drain = image.start(
        "drain",
        &[gateway, "drain", "--admin", &admin, "--timeout", "1h"],
    );
    drain.wait_line("waiting for 1 live connection to end");
    counterparty.log_out(&session.at_counterparty());
    assert!(drain.wait_exit().success());
    pod.signal(Signal::TERM);
    assert!(pod.wait_exit().success());
}
