//! Does the gateway start, restart and stop as promised, and say in one sentence what keeps it from starting?

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::{Stream, is_alive, signal_pid, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tool;
use rustix::process::Signal;

use crate::routing::engine_of;

fn broker() -> Directory {
    Directory::of(&[Route::new("broker", "light").value("SenderCompID49", "BROKER")])
}

/// It ends by itself, with a failure and one sentence that names `culprit`; no part of it is left.
fn ends_with_a_sentence(mut gateway: Gateway, culprit: &str) {
    let status = gateway.process_mut().wait_exit();
    assert!(!status.success(), "it ended with {status}");
    let said = gateway.process().output().text(Stream::Err);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(lines[0].contains(culprit), "it names `{culprit}`: {said}");
    for pid in gateway.children() {
        wait_until("the end of a child", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_missing_envoy_is_one_sentence() {
    let directory = broker();
    ends_with_a_sentence(
        Setup::over(&directory)
            .envoy(Path::new("/nowhere/envoy"))
            .spawn(),
        "/nowhere/envoy",
    );
}

#[test]
fn a_taken_port_is_one_sentence() {
    let directory = broker();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    ends_with_a_sentence(
        Setup::over(&directory).listener("second", address).spawn(),
        &address.to_string(),
    );
}

#[test]
fn two_listeners_of_one_address_are_one_sentence() {
    let directory = broker();
    let address = unused_port();
    ends_with_a_sentence(
        Setup::over(&directory)
            .listener("second", address)
            .listener("third", address)
            .spawn(),
        &address.to_string(),
    );
}

#[test]
fn a_port_is_kept_for_envoy_before_it_listens_and_nobody_is_accepted_there() {
    let directory = broker();
    // In the place of Envoy a program that never listens.
    let idle = directory.path().join("idle");
    std::fs::write(&idle, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&idle, std::fs::Permissions::from_mode(0o755)).unwrap();
    let address = unused_port();
    let gateway = Setup::over(&directory)
        .listener("second", address)
        .envoy(&idle)
        .spawn();
    assert!(is_alive(gateway.child("envoy")));
    let stranger = TcpListener::bind(address).map_err(|error| error.kind());
    assert_eq!(stranger.err(), Some(ErrorKind::AddrInUse));
    let client = TcpStream::connect(address).map_err(|error| error.kind());
    assert_eq!(client.err(), Some(ErrorKind::ConnectionRefused));
    ends_with_a_sentence(
        Setup::over(&directory).listener("second", address).spawn(),
        &address.to_string(),
    );
}

#[test]
fn a_missing_directory_is_one_sentence() {
    ends_with_a_sentence(
        Setup::over_path(Path::new("/nowhere/rules")).spawn(),
        "/nowhere/rules",
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_is_one_sentence() {
    let directory = broker();
    // A file where the directory should be stops root as well, whom permissions do not.
    let file = directory.path().join("state");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    ends_with_a_sentence(
        Setup::over(&directory).state(&file).spawn(),
        &file.display().to_string(),
    );
}

#[test]
fn a_state_directory_that_another_gateway_uses_is_one_sentence() {
    let (directory, state) = (broker(), Directory::new());
    let _first = Setup::over(&directory).state(state.path()).start();
    ends_with_a_sentence(
        Setup::over(&directory).state(state.path()).spawn(),
        &state.path().display().to_string(),
    );
}

#[test]
fn the_end_of_envoy_is_one_sentence_and_leaves_nothing_behind() {
    let directory = broker();
    let gateway = Setup::over(&directory).start();
    gateway.kill_child("envoy");
    ends_with_a_sentence(gateway, "Envoy");
}

#[test]
fn it_stops_at_interrupt_with_no_process_left_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let directory = broker();
        let mut gateway = Setup::over(&directory).start();
        let children = gateway.children();
        assert!(
            children.len() >= 3,
            "envoy, control plane, reject engine: {children:?}"
        );
        let session = RawClient::connect(gateway.address());
        gateway.process().signal(signal);
        let status = gateway.process_mut().wait_exit();
        assert!(status.success(), "{signal:?}: {status}");
        for pid in children {
            wait_until("the end of a child", || (!is_alive(pid)).then_some(()));
        }
        drop(session);
    }
}

#[test]
fn it_hears_a_signal_though_nobody_reads_what_it_says() {
    let directory = broker();
    let state = Directory::new();
    let address = unused_port();
    let mut gateway = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(tool::program("fixgw"))
        .args(["up", "--json", "--workers", "2"])
        .arg(directory.path())
        .arg("--state-dir")
        .arg(state.path())
        .arg("--listen")
        .arg(format!("main={address}"))
        .arg("--envoy")
        .arg(tool::envoy())
        .arg("--filter")
        .arg(tool::filter())
        .arg("--reject-engine")
        .arg(tool::program("fixgw-reject-engine"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the gateway to listen", || {
        std::net::TcpStream::connect(address).ok()
    });
    // More lines than a pipe holds.
    for _ in 0..400 {
        let mut client = RawClient::connect(address);
        client.send(b"GET / HTTP/1.1");
        client.take_to_end();
    }
    signal_pid(gateway.id(), Signal::TERM);
    let status = wait_until("its end", || gateway.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn its_children_do_not_outlive_a_killed_supervisor() {
    let directory = broker();
    let mut gateway = Setup::over(&directory).start();
    let children = gateway.children();
    signal_pid(gateway.process().pid(), Signal::KILL);
    let _ = gateway.process_mut().wait_exit();
    for pid in children {
        wait_until("the end of a child", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn every_listener_says_its_address_and_stands_in_its_decisions() {
    let light = EchoEngine::start("light");
    let directory = broker();
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .listener("second", "127.0.0.1:0".parse().unwrap())
        .start();
    for listener in ["main", "second"] {
        let mut client = RawClient::connect(gateway.address_of(listener));
        client.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[]));
        assert_eq!(client.take_greeting(), "light");
        assert_eq!(
            text(&gateway.decision_about(client.address()), "listener"),
            listener
        );
    }
}

#[test]
fn started_again_over_a_broken_directory_it_serves_the_last_accepted_table_and_says_so() {
    let light = EchoEngine::start("light");
    let directory = broker();
    let state = Directory::new();
    let setup = || {
        Setup::over(&directory)
            .endpoint("light", light.address())
            .state(state.path())
    };
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let mut before = setup().start();
    assert_eq!(engine_of(&before, &logon), "light");
    before.stop();
    drop(before);
    directory.write("broker", "this: [is no FIXSession\n");
    let mut after = setup().start();
    assert_eq!(engine_of(&after, &logon), "light");
    after.wait_object(0, "what is wrong with the file", |event| {
        text(event, "file").ends_with("broker.yaml")
    });
    let said = String::from_utf8_lossy(&after.process().output().bytes()).to_lowercase();
    assert!(said.contains("last accepted"), "{said}");
    after.stop();
}

#[test]
fn a_rival_that_came_while_it_was_down_leaves_the_last_accepted_table_in_force() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = broker();
    let state = Directory::new();
    let setup = || {
        Setup::over(&directory)
            .endpoint("light", light.address())
            .endpoint("other", other.address())
            .state(state.path())
    };
    let mut before = setup().start();
    before.stop();
    directory.put(&Route::new("rival", "other").value("SenderCompID49", "BROKER"));
    let after = setup().start();
    assert_eq!(
        engine_of(&after, &fix::logon("FIX.4.4", "BROKER", "VENUE", &[])),
        "light"
    );
}
