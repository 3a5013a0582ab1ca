//! Does a live session outlive its cluster, and a rule that is moved to another engine and back?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::flock;
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::process::wait_until;
use fixgw_e2e::raw::RawClient;

use crate::scene::{Home, PROBE, assert_in_force, assert_leads, probe_to, sized};

#[test]
fn every_cluster_is_removed_and_brought_back_under_live_sessions() {
    let rounds = sized(1, 10);
    let home = Home::new();
    let light = EchoEngine::start("probe");
    home.directory.put(&probe_to("probe"));
    let services = [
        ("fold", home.fold()),
        ("engine", home.engine()),
        ("probe", light.address()),
    ];
    let put_services = |directory: &Directory| {
        for (name, address) in services {
            directory.put_service(name, &[address]);
        }
    };
    put_services(&home.directory);
    let gateway = Setup::over(&home.directory).admin().start();
    let count = |name: &str| gateway.statistics_of(name)[name];
    home.attacked(
        &format!("every cluster removed and brought back, {rounds} times"),
        &gateway,
        |directory, flock| {
            for _ in 0..rounds {
                let removed = count("cluster_manager.cluster_removed");
                let routes = ["flock", "quickfix", "probe"].map(|route| {
                    (
                        route,
                        std::fs::read_to_string(directory.file(route)).unwrap(),
                    )
                });
                gateway.apply(|| {
                    for (name, _) in services {
                        directory.remove(&format!("{name}-service"));
                        directory.remove(&format!("{name}-endpoints"));
                    }
                    for (route, _) in &routes {
                        directory.remove(route);
                    }
                });
                wait_until("every cluster to go", || {
                    (count("cluster_manager.cluster_removed") == removed + services.len() as u64)
                        .then_some(())
                });
                let mut refused = RawClient::connect(gateway.address());
                refused.send(&fix::logon("FIX.4.4", PROBE, "VENUE", &[]));
                let logout = fix::read(&refused.take_to_end());
                assert_eq!(fix::value(&logout, 35), Some("5"));
                drop(refused);
                flock.wait_rounds(5);
                put_services(directory);
                gateway.apply(|| {
                    for (route, yaml) in &routes {
                        directory.write(route, yaml);
                    }
                });
                assert_in_force(&gateway, "probe");
                flock.wait_rounds(5);
            }
        },
    );
}

#[test]
fn a_rule_is_moved_to_another_engine_and_back_under_live_sessions() {
    let moves = sized(4, 100);
    let home = Home::new();
    let other = EchoEngine::start("other");
    let gateway = home
        .setup()
        .endpoint("other", other.address())
        .arguments(["--settle-quiet-ms", "0"])
        .start();
    home.attacked(
        &format!("a rule moved to another engine and back, {moves} times"),
        &gateway,
        |directory, flock| {
            let pattern = format!("{}*", flock::PREFIX);
            for _ in 0..moves {
                for engine in ["other", flock::NAME] {
                    let route = Route::new("flock", engine).pattern("SenderCompID49", &pattern);
                    gateway.apply(|| directory.put(&route.priority(1)));
                    assert_leads(&gateway, flock::GUEST, engine);
                    flock.assert_sound();
                }
            }
        },
    );
}
