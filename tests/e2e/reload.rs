//! Does a worker whose Wasm VM fails come back by itself, with its table?
//!
//! A panic is contained (`containment`); a trap is not: nothing inside a VM can catch the end of its stack or memory.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::process::{EVENT_WAIT_MAX, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tool;

use crate::routing::engine_of;

/// Sessions on each of the two workers, which `exact_balance` sees to.
const OF_EACH: usize = 4;

/// One attempt at a session with the light engine: in the moment before the VM is back, Envoy resets new connections.
fn session(address: SocketAddr) -> Option<TcpStream> {
    let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
    let mut client = TcpStream::connect(address).ok()?;
    client.set_read_timeout(Some(EVENT_WAIT_MAX)).ok()?;
    client.write_all(&logon).ok()?;
    let mut answer = vec![0; b"[light]".len() + logon.len()];
    client.read_exact(&mut answer).ok()?;
    assert!(answer.starts_with(b"[light]"), "another engine answered");
    Some(client)
}

/// Whether a session still reaches its engine.
fn is_alive(session: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    session.write_all(b"ping").is_ok() && session.read_exact(&mut answer).is_ok()
}

#[test]
fn a_vm_that_traps_comes_back_with_its_table_and_the_other_worker_notices_nothing() {
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[Route::new("light", "light").value("SenderCompID49", "LIGHT")]);
    let gateway = Setup::over(&directory)
        .filter(&tool::filter_that_panics())
        .endpoint("light", light.address())
        .admin()
        .start();
    let reloads = || gateway.statistics()["wasm.fixgw.vm_reload_success"];
    assert_eq!(reloads(), 0);
    let mut live: Vec<TcpStream> = (0..2 * OF_EACH)
        .map(|_| session(gateway.address()).unwrap())
        .collect();

    let mut victim = RawClient::connect(gateway.address());
    victim.send_unless_closed(&fix::logon("FIX.4.4", "TRAP", "VENUE", &[]));
    assert_eq!(victim.take_to_end(), b"");

    // Sessions that stay open, so many that both workers must have taken some.
    let mut back = Vec::new();
    wait_until("sessions on both workers", || {
        back.extend(session(gateway.address()));
        (back.len() == 2 * OF_EACH).then_some(())
    });
    assert_eq!(
        reloads(),
        1,
        "without a new VM, this test would prove nothing"
    );

    assert!(back.iter_mut().all(is_alive));
    let survivors = live.iter_mut().map(is_alive).filter(|alive| *alive).count();
    assert_eq!(survivors, OF_EACH, "the sessions of the other worker");
}

#[test]
fn a_module_that_is_rebuilt_under_a_running_gateway_keeps_no_table_back() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = Directory::of(&[Route::new("light", "light").value("SenderCompID49", "LIGHT")]);
    let build = Directory::new();
    let module = build.path().join("filter.wasm");
    std::fs::copy(tool::filter(), &module).unwrap();
    let gateway = Setup::over(&directory)
        .filter(&module)
        .endpoint("light", light.address())
        .endpoint("other", other.address())
        .start();
    let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
    assert_eq!(engine_of(&gateway, &logon), "light");
    std::fs::copy(tool::filter_that_panics(), &module).unwrap();
    gateway.apply(|| directory.put(&Route::new("light", "other").value("SenderCompID49", "LIGHT")));
    assert_eq!(engine_of(&gateway, &logon), "other");
}
