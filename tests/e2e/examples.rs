//! Does every directory of `examples/` do what its README says?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::Directory;
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::process::text;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tool;
use serde_json::Value;

/// A copy of an example without its fixed engine addresses, which another program may be using.
fn copy_of(example: &str) -> Directory {
    let copy = Directory::new();
    for file in std::fs::read_dir(tool::repository().join("examples").join(example))
        .expect("the example is there")
    {
        let path = file.expect("the example can be read").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && name != "engines"
        {
            copy.write(
                name,
                &std::fs::read_to_string(&path).expect("the example is text"),
            );
        }
    }
    copy
}

#[test]
fn the_quickstart_leads_each_logon_where_its_readme_says() {
    let (equities, fx) = (EchoEngine::start("equities"), EchoEngine::start("fx"));
    let directory = copy_of("quickstart");
    let gateway = Setup::over(&directory)
        .endpoint("equities-engine", equities.address())
        .endpoint("fx-engine", fx.address())
        .start();
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
