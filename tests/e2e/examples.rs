//! Does every directory of `examples/` do what its README says, and every file of `crds/examples/` what it says itself?

use std::collections::BTreeSet;
use std::process::Command;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, NAMESPACE};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::text;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tool;
use serde_json::Value;

/// A copy of an example with other ports for its engines, since another program may be using the fixed ones.
fn copy_of(example: &str, ports: &[(u16, u16)]) -> Directory {
    let copy = Directory::new();
    let directory = tool::repository().join("examples").join(example);
    for file in std::fs::read_dir(directory).expect("the example is there") {
        let path = file.expect("the example can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let mut text = std::fs::read_to_string(&path).expect("the example is text");
            for (fixed, free) in ports {
                text = text.replace(&format!("port: {fixed}"), &format!("port: {free}"));
            }
            copy.write(path.file_stem().unwrap().to_str().unwrap(), &text);
        }
    }
    copy
}

#[test]
fn the_quickstart_leads_each_logon_where_its_readme_says() {
    let (equities, fx) = (EchoEngine::start("equities"), EchoEngine::start("fx"));
    let ports = [
        (9901, equities.address().port()),
        (9902, fx.address().port()),
    ];
    let directory = copy_of("quickstart", &ports);
    let gateway = Setup::over(&directory).start();
    for (sender, more, engine, route) in [
        ("BROKER_A", &[][..], "equities", "trading/broker-a"),
        (
            "BROKER_A",
            &[(50, "FX-DESK"), (20001, "VWAP")][..],
            "fx",
            "trading/broker-a-fx-vwap",
        ),
        (
            "BROKER_A",
            &[(50, "FX-DESK")][..],
            "equities",
            "trading/broker-a",
        ),
        ("HEDGE_ONE", &[][..], "fx", "trading/hedge-funds"),
        (
            "SOMEBODY",
            &[(56, "GATEWAY")][..],
            "equities",
            "trading/everyone-else",
        ),
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.send(&fix::logon("FIX.4.4", sender, "VENUE", more));
        assert_eq!(client.take_greeting(), engine, "{sender} {more:?}");
        assert_eq!(
            text(&gateway.decision_about(client.address()), "route"),
            route
        );
    }
    assert_without_fault(&gateway);
}

#[test]
fn by_address_leads_each_network_where_its_readme_says() {
    let (equities, fx) = (EchoEngine::start("equities"), EchoEngine::start("fx"));
    let ports = [
        (9911, equities.address().port()),
        (9912, fx.address().port()),
    ];
    let directory = copy_of("by-address", &ports);
    let gateway = Setup::over(&directory).start();
    for (source, engine, route, range) in [
        ("127.0.1.1", "equities", "trading/london", "127.0.1.0/24"),
        (
            "127.0.1.7",
            "fx",
            "trading/london-algo-host",
            "127.0.1.7/32",
        ),
        ("127.0.2.200", "fx", "trading/tokyo", "127.0.2.0/24"),
        ("127.0.3.1", "fx", "trading/tokyo", "127.0.3.0/24"),
        (
            "127.0.0.1",
            "equities",
            "trading/everyone-here",
            "127.0.0.0/16",
        ),
    ] {
        let mut client = RawClient::connect_from(source.parse().unwrap(), gateway.address());
        client.send(&fix::logon("FIX.4.4", "WHOEVER", "VENUE", &[]));
        assert_eq!(client.take_greeting(), engine, "{source}");
        let record = gateway.decision_about(client.address());
        assert_eq!(text(&record, "route"), route, "{record}");
        assert_eq!(text(&record, "sourceRange"), range, "{record}");
    }
    assert_without_fault(&gateway);
    let mut stranger = RawClient::connect_from("127.9.9.9".parse().unwrap(), gateway.address());
    stranger.send(&fix::logon("FIX.4.4", "WHOEVER", "VENUE", &[]));
    let logout = stranger.take_to_end();
    let said = fix::read(&logout);
    assert_eq!(
        fix::value(&said, 58),
        Some("No matching session configuration")
    );
    let record = gateway.decision_about(stranger.address());
    assert_eq!(text(&record, "reason"), "no_match", "{record}");
}

/// One Logon to an example of `crds/examples/`: where it comes from, its `SenderCompID`, more fields.
type Logon = (&'static str, &'static str, &'static [(u32, &'static str)]);

/// Where it goes: the Service and the FIXSession, or nowhere.
type Leads = Option<(&'static str, &'static str)>;

const HERE: &str = "127.0.0.1";

/// Every example, with Logons that it takes and others that it does not.
const ROUTES: &[(&str, &[(Logon, Leads)])] = &[
    (
        "equities-single-field",
        &[
            (
                (HERE, "EQ_BROKER", &[]),
                Some(("equities-engine", "equities-single-field")),
            ),
            (
                (HERE, "EQ_BROKER", &[(50, "DESK_7")]),
                Some(("equities-engine", "equities-single-field")),
            ),
            ((HERE, "EQ_BROKER_2", &[]), None),
        ],
    ),
    (
        "fi-multi-field",
        &[
            (
                (HERE, "FI_DEALER", &[(128, "RATES"), (50, "DESK_7")]),
                Some(("rates-engine", "fi-multi-field")),
            ),
            ((HERE, "FI_DEALER", &[(128, "RATES")]), None),
            (
                (HERE, "FI_DEALER", &[(128, "CREDIT"), (50, "DESK_7")]),
                None,
            ),
        ],
    ),
    (
        "algo-custom-tag",
        &[
            (
                (HERE, "ALGO_HOUSE", &[(20001, "VWAP")]),
                Some(("algo-engine", "algo-custom-tag")),
            ),
            ((HERE, "ALGO_HOUSE", &[(20001, "TWAP")]), None),
        ],
    ),
    (
        "redacted-tags",
        &[
            (
                (
                    HERE,
                    "PRIVATE_BANK",
                    &[(20001, "ICEBERG"), (9001, "RESTRICTED")],
                ),
                Some(("private-engine", "redacted-tags")),
            ),
            ((HERE, "PRIVATE_BANK", &[(20001, "ICEBERG")]), None),
        ],
    ),
    (
        "wildcard-default",
        &[
            (
                (HERE, "HEDGE_ONE", &[]),
                Some(("hedge-engine", "wildcard-default-hedge-funds")),
            ),
            (
                (HERE, "SOMEBODY", &[]),
                Some(("onboarding-engine", "wildcard-default")),
            ),
        ],
    ),
    (
        "multi-default-cascade",
        &[
            (
                ("127.0.2.1", "SOMEBODY", &[]),
                Some(("site-engine", "multi-default-cascade-site")),
            ),
            (
                ("127.0.2.200", "SOMEBODY", &[]),
                Some(("region-engine", "multi-default-cascade-region")),
            ),
            (
                ("127.0.3.1", "SOMEBODY", &[]),
                Some(("region-engine", "multi-default-cascade-region")),
            ),
            (
                (HERE, "SOMEBODY", &[]),
                Some(("everybody-engine", "multi-default-cascade-rest")),
            ),
        ],
    ),
];

/// The networks of the examples, which are for documentation, and such of this machine.
const NETWORKS: [(&str, &str); 2] = [("192.0.2.", "127.0.2."), ("198.51.100.", "127.0.3.")];

#[test]
fn every_example_for_kubernetes_is_without_fault_and_leads_each_logon_where_it_says() {
    let examples = tool::repository().join("crds/examples");
    let files: BTreeSet<_> = std::fs::read_dir(&examples)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    let tried: BTreeSet<_> = ROUTES
        .iter()
        .map(|(name, _)| examples.join(format!("{name}.yaml")))
        .collect();
    assert_eq!(files, tried, "left: the files, right: those tried here");
    for (name, logons) in ROUTES {
        leads_each_logon(name, logons);
    }
}

fn leads_each_logon(name: &str, logons: &[(Logon, Leads)]) {
    let file = tool::repository().join(format!("crds/examples/{name}.yaml"));
    let services: BTreeSet<&str> = logons
        .iter()
        .filter_map(|(_, leads)| leads.map(|(service, _)| service))
        .collect();
    let engines: Vec<EchoEngine> = services
        .iter()
        .map(|service| EchoEngine::start(service))
        .collect();

    let mut check = Command::new(tool::program("fixgw"));
    check.arg("check").arg(&file).arg("--deny-warnings");
    let directory = Directory::new();
    let mut yaml = std::fs::read_to_string(&file).unwrap();
    for (documented, here) in NETWORKS {
        yaml = yaml.replace(documented, here);
    }
    directory.write(name, &yaml);
    let mut setup = Setup::over(&directory);
    for (service, engine) in services.iter().zip(&engines) {
        check
            .arg("--endpoint")
            .arg(format!("{NAMESPACE}/{service}={}", engine.address()));
        setup = setup.endpoint(service, engine.address());
    }
    let found = check.output().unwrap();
    let said = String::from_utf8_lossy(&found.stdout);
    assert!(found.status.success(), "{name}: {said}");

    let gateway = setup.start();
    for ((source, sender, more), leads) in logons {
        let mut client = RawClient::connect_from(source.parse().unwrap(), gateway.address());
        client.send(&fix::logon("FIX.4.4", sender, "VENUE", more));
        let record = gateway.decision_about(client.address());
        match leads {
            Some((service, route)) => {
                assert_eq!(
                    client.take_greeting(),
                    *service,
                    "{name}: {sender} {more:?}"
                );
                assert_eq!(
                    text(&record, "route"),
                    format!("{NAMESPACE}/{route}"),
                    "{record}"
                );
            }
            None => assert_eq!(text(&record, "reason"), "no_match", "{record}"),
        }
    }
    if *name == *"redacted-tags" {
        let said = String::from_utf8_lossy(&gateway.process().output().bytes()).into_owned();
        assert!(
            said.contains("[REDACTED]") && !said.contains("ICEBERG"),
            "{said}"
        );
        let taken = said
            .lines()
            .filter(|line| line.contains("trading/redacted-tags"));
        let tells = taken.filter(|line| line.contains("9001") || line.contains("RESTRICTED"));
        assert_eq!(tells.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

fn assert_without_fault(gateway: &Gateway) {
    let events = gateway.process().events();
    let faults = events
        .iter()
        .filter(|event| matches!(text(event, "severity"), "WARN" | "ERROR" | "CRITICAL"));
    assert_eq!(
        faults.collect::<Vec<_>>(),
        Vec::<&Value>::new(),
        "the example is without fault"
    );
}
