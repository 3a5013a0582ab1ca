//! What is lost when an engine ends, or the place where the state is kept is gone?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;

use crate::routing::engine_of;

fn route(service: &str) -> Route {
    Route::new("broker", service).value("SenderCompID49", "BROKER")
}

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

#[test]
fn an_engine_that_ends_takes_its_own_sessions_along_and_the_next_logon_finds_the_other_one() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let tap = Tap::before(first.address());
    let directory = Directory::of(&[
        route("engine"),
        Route::new("other", "second").value("SenderCompID49", "OTHER"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", tap.address())
        .endpoint("second", second.address())
        .start();
    let mut lost = RawClient::connect(gateway.address());
    lost.send(&logon());
    assert_eq!(lost.take_greeting(), "first");
    let mut spared = RawClient::connect(gateway.address());
    spared.send(&fix::logon("FIX.4.4", "OTHER", "VENUE", &[]));
    assert_eq!(spared.take_greeting(), "second");
    gateway.apply(|| directory.put(&route("second")));
    // As when the process ends: the kernel closes its sockets.
    tap.cut();
    assert_eq!(lost.take_to_end(), logon(), "the echo, and then the end");
    assert_eq!(engine_of(&gateway, &logon()), "second");
    assert!(spared.is_open());
}

#[test]
fn a_table_that_cannot_be_saved_is_told_and_takes_effect_all_the_same() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let (directory, state) = (Directory::of(&[route("light")]), Directory::new());
    let kept = state.path().join("state");
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .endpoint("other", other.address())
        .state(&kept)
        .start();
    let mark = gateway.mark();
    std::fs::remove_dir_all(&kept).unwrap();
    gateway.apply(|| directory.put(&route("other")));
    gateway.wait_said(mark, "ERROR", "cannot be written");
    assert_eq!(engine_of(&gateway, &logon()), "other");
}
