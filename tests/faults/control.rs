//! Does a live session notice that the control plane is killed, stopped or away, and does the gateway follow it again afterwards?

use std::time::Duration;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::Directory;
use fixgw_e2e::gateway::Gateway;
use fixgw_e2e::process::{kind, signal_pid, text, wait_until};
use fixgw_e2e::raw::RawClient;
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Home, PROBE, assert_in_force, pass_time, probe_to, sized};

fn started(event: &Value) -> bool {
    kind(event) == "child" && text(event, "name") == "control"
}

/// A probe's connection, with its Logon sent.
fn probe(gateway: &Gateway) -> RawClient {
    let mut probe = RawClient::connect(gateway.address());
    probe.send(&fix::logon("FIX.4.4", PROBE, "VENUE", &[]));
    probe
}

#[test]
fn a_control_plane_that_is_killed_again_and_again_breaks_no_session() {
    let kills = sized(4, 20);
    let home = Home::new();
    let (before, after) = (EchoEngine::start("before"), EchoEngine::start("after"));
    home.directory.put(&probe_to("before"));
    let gateway = home
        .setup()
        .endpoint("before", before.address())
        .endpoint("after", after.address())
        .start();
    home.attacked(
        &format!("control plane killed {kills} times"),
        &gateway,
        |directory, flock| {
            for _ in 0..kills {
                let mark = gateway.mark();
                gateway.kill_child("control");
                assert_in_force(&gateway, "before");
                gateway.wait_applied(mark);
                flock.assert_sound();
            }
            gateway.apply(|| directory.put(&probe_to("after")));
            assert_in_force(&gateway, "after");
        },
    );
}

#[test]
fn engines_come_and_go_while_the_control_plane_is_away_and_no_session_notices() {
    let away = sized(Duration::from_secs(3), Duration::from_mins(1));
    let home = Home::new();
    let stays = EchoEngine::start("stays");
    let goes = EchoEngine::start("goes");
    home.directory
        .put_service("probe", &[stays.address(), goes.address()]);
    home.directory.put(&probe_to("probe"));
    let gateway = home.setup().start();
    home.attacked(
        &format!(
            "control plane away for {} s while engines come and go",
            away.as_secs()
        ),
        &gateway,
        |directory, flock| {
            let elsewhere = directory.path().with_extension("away");
            let mark = gateway.mark();
            std::fs::rename(directory.path(), &elsewhere).unwrap();
            gateway.kill_child("control");
            // Started again in vain.
            gateway
                .process()
                .wait_after(mark, "the control plane's start", started);
            drop(goes);
            // One of the two refuses by now: Envoy goes on to the other.
            for _ in 0..4 {
                assert_eq!(probe(&gateway).take_greeting(), "stays");
            }
            pass_time(flock, away);
            // Nobody is left; whoever comes now is tried again until somebody is there.
            drop(stays);
            let mut patient = probe(&gateway);
            let came = EchoEngine::start("came");
            let mark = gateway.mark();
            std::fs::rename(&elsewhere, directory.path()).unwrap();
            directory.put_service("probe", &[came.address()]);
            assert_eq!(patient.take_greeting(), "came");
            drop(patient);
            gateway.wait_applied(mark);
            assert_in_force(&gateway, "came");
        },
    );
}

#[test]
fn a_control_plane_that_is_stopped_like_a_stone_breaks_no_session_and_goes_on_where_it_was() {
    let stopped = sized(Duration::from_secs(3), Duration::from_secs(30));
    let home = Home::new();
    let (before, after) = (EchoEngine::start("before"), EchoEngine::start("after"));
    home.directory.put(&probe_to("before"));
    let gateway = home
        .setup()
        .endpoint("before", before.address())
        .endpoint("after", after.address())
        .start();
    home.attacked(
        &format!(
            "kill -STOP of the control plane for {} s",
            stopped.as_secs()
        ),
        &gateway,
        |directory, flock| {
            let pid = gateway.child("control");
            signal_pid(pid, Signal::STOP);
            directory.put(&probe_to("after"));
            pass_time(flock, stopped / 2);
            assert_in_force(&gateway, "before");
            pass_time(flock, stopped / 2);
            signal_pid(pid, Signal::CONT);
            wait_until("the edit to count", || {
                (probe(&gateway).take_greeting() == "after").then_some(())
            });
            assert_in_force(&gateway, "after");
            assert_eq!(gateway.child("control"), pid, "it was not started again");
        },
    );
}

/// Ends the control plane without a chance to see what is done meanwhile, and waits until the next one serves.
fn restart_over(gateway: &Gateway, meanwhile: impl FnOnce()) {
    signal_pid(gateway.child("control"), Signal::STOP);
    meanwhile();
    let mark = gateway.mark();
    gateway.kill_child("control");
    gateway.wait_said(mark, "WARN", "is served from before this start");
}

#[test]
fn a_control_plane_that_finds_nothing_after_a_restart_is_not_believed() {
    let home = Home::new();
    let (before, after) = (EchoEngine::start("before"), EchoEngine::start("after"));
    home.directory.put(&probe_to("before"));
    home.directory.put_service("before", &[before.address()]);
    let gateway = home.setup().endpoint("after", after.address()).start();
    home.attacked(
        "control plane restarted over an empty directory",
        &gateway,
        |directory, flock| {
            let aside = directory.path().with_extension("aside");
            restart_over(&gateway, || {
                std::fs::rename(directory.path(), &aside).unwrap();
                std::fs::create_dir(directory.path()).unwrap();
            });
            gateway.wait_object(0, "what is wrong with the directory", |event| {
                text(event, "severity") == "ERROR"
                    && text(event, "message").contains("holds no YAML file")
            });
            flock.wait_rounds(10);
            assert_in_force(&gateway, "before");
            std::fs::remove_dir(directory.path()).unwrap();
            std::fs::rename(&aside, directory.path()).unwrap();
            gateway.apply(|| directory.put(&probe_to("after")));
            assert_in_force(&gateway, "after");
        },
    );
}

#[test]
fn a_control_plane_that_comes_back_with_an_older_revision_is_not_believed() {
    const STATE: &str = "accepted.state";
    let home = Home::new();
    let (older, newer) = (EchoEngine::start("older"), EchoEngine::start("newer"));
    home.directory.put(&probe_to("older"));
    let state = Directory::new();
    let gateway = home
        .setup()
        .state(state.path())
        .endpoint("older", older.address())
        .endpoint("newer", newer.address())
        .start();
    home.attacked(
        "control plane restarted with an older revision",
        &gateway,
        |directory, flock| {
            let kept = std::fs::read(state.path().join(STATE)).unwrap();
            gateway.apply(|| directory.put(&probe_to("newer")));
            assert_in_force(&gateway, "newer");
            let mark = gateway.mark();
            restart_over(&gateway, || {
                // Nor can the newer one be read.
                std::fs::write(state.path().join(STATE), &kept).unwrap();
                directory.write("probe", "this: [is no FIXSession");
            });
            gateway.wait_said(mark, "WARN", "newer than ours");
            flock.wait_rounds(10);
            assert_in_force(&gateway, "newer");
            gateway.apply(|| directory.put(&probe_to("older")));
            assert_in_force(&gateway, "older");
        },
    );
}
