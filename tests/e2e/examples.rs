//! Does every directory of `examples/` do what its README says?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::Directory;
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
