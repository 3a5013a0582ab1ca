//! Is a file read as it is meant, and what is wrong in it told with its place, its field and what to write?

use super::*;

const WHOLE: &str = "\
listeners:
- name: fix-tls
  port: 9876
  tls: { directory: /etc/fixgw/tls/fix-tls, minVersion: \"1.3\", clientCa: ca.crt }
- name: fix-plain
  port: 9877
  proxyProtocol: { headers: optional, trusted: [10.0.0.0/24] }
controlPlane: { host: fix-gateway-operator, port: 18000 }
rejectEngine: { host: 10.1.2.3, port: 18001 }
address: \"::\"
holdTimeout: 45s
maxHeldConnections: 2
maxHeldConnectionsPerPod: 600
connectTimeout: 10s
tcpTimeout: 60s
idleTimeout: 2h
adminPort: 9911
probePort: 9912
metricsPort: 9913
workers: 3
connectionsMax: 5000
runDirectory: /tmp/run
";

const LEAST: &str =
    "listeners: [{ name: fix, port: 9876 }]\ncontrolPlane: { host: operator, port: 18000 }\n";

#[test]
fn every_key_is_read() {
    let config = read("gateway.yaml", WHOLE).unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.minimum, TlsVersion::V1_3);
    assert_eq!(tls.client_ca.as_deref(), Some("ca.crt"));
    assert_eq!(tls.directory, PathBuf::from("/etc/fixgw/tls/fix-tls"));
    let proxy_protocol = config.listeners[1].proxy_protocol.as_ref().unwrap();
    assert_eq!(proxy_protocol.headers, Headers::Optional);
    assert_eq!(config.listeners[1].bind, Bind::Everywhere(9877));
    assert_eq!(config.probes.probes, Bind::Everywhere(9912));
    assert_eq!(config.probes.metrics, Bind::Everywhere(9913));
    assert_eq!(config.admin.to_string(), "127.0.0.1:9911");
    let named = Upstream::Name {
        host: "fix-gateway-operator".to_owned(),
        port: 18_000,
    };
    assert_eq!(config.control_plane, named);
    let address = Upstream::Address("10.1.2.3:18001".parse().unwrap());
    assert_eq!(config.reject_engine, Some(address));
    assert_eq!(
        (
            config.hold.timeout_ms,
            config.hold.per_route_max,
            config.hold.per_pod_max,
            config.hold.connect_timeout_ms
        ),
        (45_000, 2, 600, 10_000)
    );
    assert_eq!(config.tcp_timeout.to_string(), "1m");
    assert_eq!(config.idle_timeout_ms, Some(7_200_000));
    assert_eq!(
        (config.workers, config.connections_max),
        (Some(3), Some(5000))
    );
    assert_eq!(config.run_directory, PathBuf::from("/tmp/run"));
}

#[test]
fn what_is_left_out_is_as_for_a_gateway_on_one_machine() {
    let config = read("gateway.yaml", LEAST).unwrap();
    assert_eq!(
        config.listeners[0].bind,
        bind(Ipv4Addr::UNSPECIFIED.into(), 9876)
    );
    assert!(config.listeners[0].tls.is_none() && config.reject_engine.is_none());
    assert_eq!(
        (config.hold.timeout_ms, config.hold.per_pod_max),
        (30_000, 500)
    );
    assert_eq!(config.tcp_timeout, TcpTimeout::DEFAULT);
    assert_eq!((config.idle_timeout_ms, config.workers), (None, None));
    assert_eq!(config.admin.port(), 9901);
    let never = LEAST.to_owned() + "idleTimeout: 0s\n";
    assert_eq!(read("f", &never).unwrap().idle_timeout_ms, None);
}

/// What is said where `from` is written `to`.
fn said(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    let error = read("gateway.yaml", &WHOLE.replacen(from, to, 1));
    error
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// What is written in place of what, and what is said then.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "probePort",
        "probesPort",
        "gateway.yaml:18:1: probesPort: there is no such field; did you mean `probePort`?",
    ),
    (
        "minVersion: \"1.3\"",
        "minVersion: 1.3",
        "gateway.yaml:4:57: listeners[0].tls.minVersion: wants text, and it is a number: put it in quotes",
    ),
    (
        "minVersion: \"1.3\"",
        "minVersion: \"1.1\"",
        "listeners[0].tls.minVersion: is `\"1.2\"` or `\"1.3\"`, in quotes",
    ),
    (
        "clientCa: ca.crt",
        "clientCa: /etc/ca.crt",
        "listeners[0].tls.clientCa: is `none`, or the name of a file in the directory",
    ),
    (
        "clientCa: ca.crt",
        "cipherSuites: [RC4-SHA]",
        "listeners[0].tls.cipherSuites[0]: is a cipher suite of TLS 1.2, one of ECDHE-",
    ),
    (
        "clientCa: ca.crt",
        "cipherSuites: [ECDHE-RSA-AES128-SHA]",
        "listeners[0].tls.cipherSuites: is about TLS 1.2, which `minVersion: \"1.3\"` does not take",
    ),
    (
        "directory: /etc/fixgw/tls/fix-tls, ",
        "",
        "gateway.yaml:4:8: listeners[0].tls.directory: is missing; write it",
    ),
    (
        "headers: optional",
        "headers: accepted",
        "listeners[1].proxyProtocol.headers: is `required`, or `optional`",
    ),
    (
        "trusted: [10.0.0.0/24]",
        "trusted: []",
        "gateway.yaml:7:48: listeners[1].proxyProtocol.trusted: names nobody",
    ),
    (
        "10.0.0.0/24",
        "10.0.0.1/24",
        "listeners[1].proxyProtocol.trusted[0]: is a range of addresses without host bits",
    ),
    (
        "port: 9876",
        "port: 0",
        "listeners[0].port: is a port that others can be told",
    ),
    (
        "port: 9876",
        "port: 70000",
        "listeners[0].port: wants a whole number from 0 to 65535, and it is 70000",
    ),
    (
        "port: 9877",
        "port: 9876",
        "gateway.yaml:6:9: listeners[1].port: is 9876, and so is listeners[0].port",
    ),
    (
        "probePort: 9912",
        "probePort: 9911",
        "probePort: is 9911, and so is adminPort",
    ),
    (
        "metricsPort: 9913",
        "metricsPort: 9912",
        "metricsPort: is 9912, and so is probePort",
    ),
    (
        "name: fix-plain",
        "name: fix-tls",
        "listeners[1].name: is the name of listeners[0], too",
    ),
    (
        "name: fix-plain",
        "name: fixgw-probes",
        "listeners[1].name: has lower-case letters, digits and `-` only",
    ),
    ("name: fix-plain", "name: admin", "is not `admin`"),
    (
        "host: fix-gateway-operator",
        "host: \"operator:18000\"",
        "controlPlane.host: is a host name or an address, without a port",
    ),
    (
        "controlPlane: { host: fix-gateway-operator, port: 18000 }\n",
        "",
        "controlPlane: is missing; write it",
    ),
    (
        "address: \"::\"",
        "address: everywhere",
        "address: is an address of this machine",
    ),
    (
        "holdTimeout: 45s",
        "holdTimeout: 45",
        "holdTimeout: wants text",
    ),
    (
        "holdTimeout: 45s",
        "holdTimeout: 2h",
        "holdTimeout: a hold lasts from 1ms to 1h",
    ),
    (
        "connectTimeout: 10s",
        "connectTimeout: 6m",
        "connectTimeout: at most 5m",
    ),
    (
        "tcpTimeout: 60s",
        "tcpTimeout: 1s",
        "tcpTimeout: a TCP timeout lasts from 5s to 15m",
    ),
    (
        "idleTimeout: 2h",
        "idleTimeout: 1ms",
        "idleTimeout: an idle timeout lasts from 1s to 168h",
    ),
    (
        "maxHeldConnections: 2",
        "maxHeldConnections: 501",
        "maxHeldConnections: is from 0 to 500",
    ),
    ("workers: 3", "workers: 0", "workers: is from 1 to 1024"),
    (
        "connectionsMax: 5000",
        "connectionsMax: 0",
        "connectionsMax: is at least 1",
    ),
    (
        "workers: 3",
        "workers: 3\nworkers: 4",
        "workers: is written twice, first at line 20",
    ),
    ("listeners:", "listeners: [", "is not valid YAML here"),
];

#[test]
fn what_is_wrong_is_told_with_its_place_its_field_and_what_to_write() {
    for (from, to, wanted) in WRONG {
        let found = said(from, to);
        assert!(found.contains(wanted), "{to}: {found}");
        assert!(found.starts_with("gateway.yaml:"), "{found}");
    }
    for text in ["", "---\n---\n", "listeners: []\n---\nlisteners: []\n"] {
        let error = read("gateway.yaml", text).unwrap_err().to_string();
        assert!(error.contains("holds one YAML document"), "{error}");
    }
    let none = read("f", "listeners: []\ncontrolPlane: { host: a, port: 1 }\n").unwrap_err();
    assert!(
        none.to_string()
            .contains("listeners: has 1 to 64, and here are 0"),
        "{none}"
    );
}

#[test]
fn a_host_is_a_name_or_an_address_of_either_family() {
    let host = |text: &str| {
        read(
            "f",
            &LEAST.replace("host: operator", &format!("host: {text:?}")),
        )
        .map(|config| config.control_plane)
    };
    let at = |text: &str| Upstream::Address(text.parse().unwrap());
    assert_eq!(host("10.0.0.7").unwrap(), at("10.0.0.7:18000"));
    assert_eq!(host("fd00::7").unwrap(), at("[fd00::7]:18000"));
    for name in ["localhost", "Operator.fix.svc.cluster.local."] {
        let named = Upstream::Name {
            host: name.to_owned(),
            port: 18_000,
        };
        assert_eq!(host(name).unwrap(), named);
    }
    for wrong in ["", "a b", "-a", "a/b", "."] {
        assert!(host(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn every_file_that_the_chart_renders_is_read() {
    let rendered = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/kubernetes/chart/rendered"
    );
    let mut count = 0;
    for entry in std::fs::read_dir(rendered).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for object in node::documents(&text).unwrap() {
            let file = object.get("data").and_then(|data| data.get("gateway.yaml"));
            if let Some(file) = file.and_then(Node::text) {
                read(&path.display().to_string(), file).unwrap();
                count += 1;
            }
        }
    }
    assert!(count > 0, "the chart renders a file for the gateway");
}
