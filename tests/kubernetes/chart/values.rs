//! Are values that are wrong refused by name? Is every value described?

use std::collections::BTreeSet;

use serde_json::Value;

use super::{chart, template};

/// What is given, and what is said to it. Typing errors first, then bounds, then what takes two values to know.
const WRONG: &[(&str, &str)] = &[
    (
        "gateway: { replcas: 3 }",
        "at '/gateway': additional properties 'replcas' not allowed",
    ),
    (
        "gatway: { replicas: 3 }",
        "additional properties 'gatway' not allowed",
    ),
    (
        "gateway: { antiAffinity: { typ: required } }",
        "at '/gateway/antiAffinity': additional properties 'typ' not allowed",
    ),
    (
        "gateway: { listeners: [{ tls: { secretname: a } }] }",
        "at '/gateway/listeners/0/tls': additional properties 'secretname' not allowed",
    ),
    (
        "gateway: { listeners: [{ name: z, port: 1025 }, { Port: 1 }] }",
        "at '/gateway/listeners/1': additional properties 'Port' not allowed",
    ),
    (
        "defaultRejectEngine: { rejectreason: a }",
        "additional properties 'rejectreason' not allowed",
    ),
    (
        "operator: { leasenamespace: a }",
        "additional properties 'leasenamespace' not allowed",
    ),
    (
        "operator: { image: { repo: a } }",
        "at '/operator/image': additional properties 'repo' not allowed",
    ),
    (
        "gateway: { resources: { request: { cpu: 1 } } }",
        "at '/gateway/resources': additional properties 'request' not allowed",
    ),
    (
        "gateway: { tolerations: [{ keys: a }] }",
        "at '/gateway/tolerations/0': additional properties 'keys' not allowed",
    ),
    (
        "networkPolicy: { engines: [{ ipblock: { cidr: a } }] }",
        "at '/networkPolicy/engines/0': additional properties 'ipblock' not allowed",
    ),
    (
        "certManager: { issuerRef: { nme: a } }",
        "additional properties 'nme' not allowed",
    ),
    (
        "gateway: { mode: statefulset }",
        "at '/gateway/mode': value must be one of 'deployment', 'daemonset'",
    ),
    (
        "gateway: { replicas: three }",
        "at '/gateway/replicas': got string, want integer",
    ),
    (
        "gateway: { maxHeldConnections: 501 }",
        "at '/gateway/maxHeldConnections': maximum: got 501, want 500",
    ),
    (
        "gateway: { maxHeldConnectionsPerPod: 10001 }",
        "at '/gateway/maxHeldConnectionsPerPod'",
    ),
    (
        "gateway: { listeners: [{ port: 443 }] }",
        "at '/gateway/listeners/0/port': minimum: got 443, want 1,024",
    ),
    (
        "gateway: { listeners: [{ name: a-name-of-sixteen }] }",
        "at '/gateway/listeners/0/name': maxLength",
    ),
    (
        "gateway: { listeners: [{ name: Main }] }",
        "at '/gateway/listeners/0/name'",
    ),
    (
        "gateway: { listeners: [{ name: fixgw-a }] }",
        "at '/gateway/listeners/0/name'",
    ),
    (
        "gateway: { listeners: [{ tls: { minVersion: '1.1' } }] }",
        "at '/gateway/listeners/0/tls/minVersion'",
    ),
    (
        "gateway: { listeners: [{ tls: { cipherSuites: [RC4-MD5] } }] }",
        "at '/gateway/listeners/0/tls/cipherSuites/0'",
    ),
    (
        "gateway: { holdTimeout: '30' }",
        "at '/gateway/holdTimeout'",
    ),
    (
        "gateway: { podDisruptionBudget: { maxUnavailable: -1 } }",
        "at '/gateway/podDisruptionBudget/maxUnavailable'",
    ),
    (
        "gateway: { image: { digest: sha256:abc } }",
        "at '/gateway/image/digest'",
    ),
    (
        "podSecurityContext: { runAsUser: 0 }",
        "at '/podSecurityContext/runAsUser'",
    ),
    (
        "podSecurityContext: { runAsNonRoot: false }",
        "at '/podSecurityContext/runAsNonRoot'",
    ),
    (
        "securityContext: { allowPrivilegeEscalation: true }",
        "at '/securityContext/allowPrivilegeEscalation'",
    ),
    (
        "defaultRejectEngine: { rejectReason: Geschäft }",
        "at '/defaultRejectEngine/rejectReason'",
    ),
    (
        "operator: { watchNamespaces: [Trading] }",
        "at '/operator/watchNamespaces/0'",
    ),
    (
        "operator: { conflictPolicy: HoldAll }",
        "at '/operator/conflictPolicy'",
    ),
    (
        "certManager: { privateKey: { size: 2048 } }",
        "at '/certManager/privateKey'",
    ),
    (
        "networkPolicy: { nodes: [10.0.0.1] }",
        "at '/networkPolicy/nodes/0'",
    ),
    (
        "gateway: { holdTimeout: 61m }",
        "gateway.holdTimeout: 61m is out of bounds: write a duration from 1ms to 1h",
    ),
    (
        "gateway: { connectTimeout: 6m }",
        "gateway.connectTimeout: 6m is out of bounds",
    ),
    (
        "gateway: { tcpTimeout: 4s }",
        "gateway.tcpTimeout: 4s is out of bounds: write a duration from 5s to 15m",
    ),
    (
        "gateway: { idleTimeout: 169h }",
        "gateway.idleTimeout: 169h is out of bounds",
    ),
    (
        "gateway: { drain: { timeout: 0s } }",
        "gateway.drain.timeout: 0s is out of bounds",
    ),
    (
        "gateway: { listeners: [{ name: fix-tls, port: 9876 }, { name: fix-tls, port: 9877 }] }",
        "gateway.listeners[1].name: there are two listeners `fix-tls`",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876 }, { name: b, port: 9876 }] }",
        "gateway.listeners[1].port: 9876 belongs to gateway.listeners[0] already",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876 }, { name: b, port: 9901 }] }",
        "gateway.listeners[1].port: 9901 belongs to gateway.adminPort already",
    ),
    (
        "gateway: { probePort: 9901 }",
        "gateway.probePort: 9901 is gateway.adminPort already",
    ),
    (
        "gateway: { metricsPort: 9902 }",
        "gateway.metricsPort: 9902 is gateway.probePort already",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876 }, { name: b, port: 9877, servicePort: 9876 }] }",
        "gateway.listeners[1].servicePort: the Service has 9876 for gateway.listeners[0] already",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876, tls: { enabled: true } }] }",
        "gateway.listeners[0].tls.secretName: a listener with TLS needs a Secret",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876 }, { name: b, port: 9877, tls: { enabled: false, secretName: a } }] }",
        "gateway.listeners[1].tls.secretName: the listener has no TLS",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876, tls: { enabled: true, secretName: a, minVersion: '1.3', cipherSuites: [ECDHE-RSA-AES256-SHA] } }] }",
        "gateway.listeners[0].tls.cipherSuites: these are of TLS 1.2",
    ),
    (
        "gateway: { listeners: [{ name: admin, port: 9876 }] }",
        "at '/gateway/listeners/0/name'",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876, tls: { enabled: true, secretName: a, clientCaSecretName: b } }] }",
        "gateway.listeners[0].tls.clientCaSecretName: no client is asked",
    ),
    (
        "gateway: { listeners: [{ name: a, port: 9876, tls: { enabled: true, secretName: a, dnsNames: [a] } }] }",
        "gateway.listeners[0].tls.dnsNames: nobody makes a certificate of them",
    ),
    (
        "gateway: { service: { type: ClusterIP }, listeners: [{ name: a, port: 9876, nodePort: 30000 }] }",
        "gateway.listeners[0].nodePort: a Service of type ClusterIP has none",
    ),
    (
        "gateway: { service: { type: ClusterIP, externalTrafficPolicy: Local } }",
        "gateway.service.externalTrafficPolicy",
    ),
    (
        "gateway: { service: { type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8] } }",
        "gateway.service.loadBalancerSourceRanges",
    ),
    (
        "gateway: { mode: daemonset, autoscaling: { enabled: true } }",
        "gateway.autoscaling.enabled: a DaemonSet has one pod for each node",
    ),
    (
        "gateway: { autoscaling: { enabled: true, maxReplicas: 2 } }",
        "gateway.autoscaling.maxReplicas: is below minReplicas",
    ),
    (
        "gateway: { updateStrategy: { type: OnDelete } }",
        "gateway.updateStrategy.type: OnDelete is for a DaemonSet",
    ),
    (
        "certManager: { enabled: true }",
        "gateway.listeners[0].tls.dnsNames: cert-manager makes no certificate without a name",
    ),
    (
        "certManager: { enabled: true, dnsNames: [a] }",
        "certManager.issuerRef.name: name the Issuer",
    ),
    (
        "{ gateway: { hostNetwork: true }, networkPolicy: { enabled: true } }",
        "networkPolicy.nodes: with gateway.hostNetwork",
    ),
    (
        "operator: { settle: { quietMs: 6000 } }",
        "operator.settle.quietMs: is above maxMs",
    ),
];

#[test]
fn wrong_values_are_refused_by_name() {
    let mut wrong = Vec::new();
    let file = tempfile::NamedTempFile::with_prefix("fixgw-e2e-").unwrap();
    for (values, words) in WRONG {
        std::fs::write(&file, values).unwrap();
        let output = template(Some(file.path()), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !said.contains(words) {
            wrong.push(format!("{values}: wanted {words}\n    {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn parsed(file: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(chart().join(file)).unwrap()).unwrap()
}

/// As a chart within another one, which has Helm hand over what is global.
#[test]
fn what_belongs_to_a_chart_around_it_is_let_by() {
    let output = template(None, &["--set", "global.imageRegistry=a"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_schema_is_closed_and_knows_the_same_values_as_the_file() {
    let schema = parsed("values.schema.json");
    let mut wrong = Vec::new();
    walk("", &schema, &mut |path, schema| {
        let open = schema["type"] == "object"
            && schema["properties"].is_object()
            && schema["additionalProperties"] != false;
        if open {
            wrong.push(format!("{path}: takes every key"));
        }
    });
    compare("", &schema, &schema, &parsed("values.yaml"), &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn walk(path: &str, schema: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    match schema {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, below)| walk(&format!("{path}/{key}"), below, see)),
        Value::Array(all) => all
            .iter()
            .enumerate()
            .for_each(|(at, below)| walk(&format!("{path}/{at}"), below, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Where the file of values says what the parts are, the schema must have the same ones. (Lists and free maps are empty in it.)
fn compare(path: &str, root: &Value, schema: &Value, values: &Value, wrong: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => root.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let (Some(known), Some(values)) = (schema["properties"].as_object(), values.as_object()) else {
        return;
    };
    // What Kubernetes' own objects may hold besides is Kubernetes' affair.
    if ![
        "securityContext",
        "podSecurityContext",
        "resources",
        "affinity",
    ]
    .iter()
    .any(|part| path.contains(part))
    {
        for key in known
            .keys()
            .filter(|key| !path.is_empty() || *key != "global")
        {
            if !values.contains_key(key) {
                wrong.push(format!("{path}.{key}: is in the schema alone"));
            }
        }
    }
    for (key, value) in values {
        match known.get(key) {
            None => wrong.push(format!("{path}.{key}: is not in the schema")),
            Some(below) => compare(&format!("{path}.{key}"), root, below, value, wrong),
        }
    }
}

/// A key says what it is in a comment above it, or is one that says so elsewhere (each component has an image), or only holds others.
#[test]
fn every_value_is_described() {
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let mut described = BTreeSet::new();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2) {
        if pair[0].trim().starts_with('#')
            && let Some((key, _)) = pair[1].trim().split_once(':')
        {
            described.insert(key.to_owned());
        }
    }
    let mut missing = Vec::new();
    undescribed("", &parsed("values.yaml"), &described, &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
}

fn undescribed(
    path: &str,
    values: &Value,
    described: &BTreeSet<String>,
    missing: &mut Vec<String>,
) {
    for (key, value) in values.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let holds = value.as_object().is_some_and(|map| !map.is_empty());
        if !holds && !described.contains(key) {
            missing.push(path.clone());
        }
        // What follows is Kubernetes' own.
        if !["securityContext", "podSecurityContext", "resources"].contains(&key.as_str()) {
            undescribed(&path, value, described, missing);
        }
    }
}
