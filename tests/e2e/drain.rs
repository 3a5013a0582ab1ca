//! Does a gateway that is told to stop let its live sessions end by themselves?

use std::net::{SocketAddr, TcpStream};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::wait_until;
use fixgw_e2e::raw::RawClient;
use rustix::process::Signal;

fn gateway<const N: usize>(engine: SocketAddr, arguments: [&str; N]) -> (Directory, Gateway) {
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", engine)
        .arguments(arguments)
        .start();
    (directory, gateway)
}

fn told_to_stop(gateway: &Gateway, with: Signal) {
    let mark = gateway.mark();
    gateway.process().signal(with);
    gateway.wait_said(mark, "WARN", "waiting for 1 live connection to end");
}

/// Nobody new is let in: the port refuses, or what was in its queue is closed without an answer.
fn wait_refuses(gateway: &Gateway) {
    wait_until("the listener to take no more", || {
        TcpStream::connect(gateway.address()).is_err().then_some(())
    });
}

#[test]
fn a_session_that_is_live_at_the_stop_goes_on_until_it_logs_out_and_nobody_new_is_let_in() {
    let session = Session::new("FIX.4.4", "BROKER", "VENUE").reset_on_logon();
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let (_directory, mut gateway) = gateway(engine.address(), []);
    let broker = Peer::counterparty("broker", gateway.address(), std::slice::from_ref(&session));
    let (here, there) = (session.at_counterparty(), session.at_engine());
    broker.wait_logon(&here);
    told_to_stop(&gateway, Signal::TERM);
    wait_refuses(&gateway);
    broker.send(&here, 20);
    engine.wait_received(&there, 20);
    assert_eq!(engine.received(&there), (1..=20).collect::<Vec<u64>>());
    assert!(gateway.process_mut().is_running());
    broker.log_out(&here);
    assert!(gateway.process_mut().wait_exit().success());
}

#[test]
fn what_has_not_ended_in_time_is_cut_and_told() {
    let engine = EchoEngine::start("engine");
    let (_directory, mut gateway) = gateway(engine.address(), ["--drain-timeout", "700ms"]);
    let mut client = RawClient::connect(gateway.address());
    client.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[]));
    assert_eq!(client.take_greeting(), "engine");
    let mark = gateway.mark();
    told_to_stop(&gateway, Signal::INT);
    gateway.wait_said(mark, "WARN", "1 connection did not end in time");
    assert!(gateway.process_mut().wait_exit().success());
    client.take_to_end();
}

#[test]
fn a_second_signal_ends_it_at_once_and_without_live_connections_the_first_does() {
    let engine = EchoEngine::start("engine");
    let (_directory, mut gateway_with_a_session) = gateway(engine.address(), []);
    let mut client = RawClient::connect(gateway_with_a_session.address());
    client.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[]));
    assert_eq!(client.take_greeting(), "engine");
    told_to_stop(&gateway_with_a_session, Signal::INT);
    gateway_with_a_session.process().signal(Signal::INT);
    assert!(gateway_with_a_session.process_mut().wait_exit().success());
    let (_idle_directory, mut idle) = gateway(engine.address(), []);
    idle.process().signal(Signal::TERM);
    assert!(idle.process_mut().wait_exit().success());
}
