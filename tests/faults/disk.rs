//! Does a live session, or a change of the rules, depend on what can be written to the disk?

use std::os::unix::fs::symlink;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::Directory;

use crate::scene::{Home, assert_in_force, probe_to, sized};

/// What the control plane writes before it is in the place of the last accepted table.
const DRAFT: &str = "accepted.state.new";

#[test]
fn a_full_disk_breaks_no_session_and_keeps_no_change_from_taking_effect() {
    let rounds = sized(2, 10);
    let home = Home::new();
    let (even, odd) = (EchoEngine::start("even"), EchoEngine::start("odd"));
    home.directory.put(&probe_to("even"));
    let state = Directory::new();
    let gateway = home
        .setup()
        .state(state.path())
        .endpoint("even", even.address())
        .endpoint("odd", odd.address())
        .start();
    home.attacked(
        &format!("full disk under the state, {rounds} times, and the control plane killed"),
        &gateway,
        |directory, flock| {
            for _ in 0..rounds {
                // Where every write says that no space is left on the device.
                symlink("/dev/full", state.path().join(DRAFT)).unwrap();
                let mark = gateway.mark();
                gateway.apply(|| directory.put(&probe_to("odd")));
                gateway.wait_said(mark, "ERROR", "cannot be written");
                assert_in_force(&gateway, "odd");
                gateway.apply(|| directory.put(&probe_to("even")));
                assert_in_force(&gateway, "even");
                // What it finds is what the directory says, and older than what is in force.
                let mark = gateway.mark();
                gateway.kill_child("control");
                gateway.wait_applied(mark);
                assert_in_force(&gateway, "even");
                gateway.apply(|| directory.put(&probe_to("odd")));
                assert_in_force(&gateway, "odd");
                gateway.apply(|| directory.put(&probe_to("even")));
                flock.assert_sound();
            }
            // Nor does anybody have to do anything when there is space again.
            symlink("/dev/full", state.path().join(DRAFT)).unwrap();
            let mark = gateway.mark();
            gateway.apply(|| directory.put(&probe_to("odd")));
            gateway.wait_said(mark, "ERROR", "cannot be written");
            std::fs::remove_file(state.path().join(DRAFT)).unwrap();
            gateway.wait_said(mark, "INFO", "is saved again");
            directory.write("probe", "this: [is no FIXSession");
            let mark = gateway.mark();
            gateway.kill_child("control");
            gateway.wait_applied(mark);
            assert_in_force(&gateway, "odd");
        },
    );
}

#[test]
fn an_unwritable_state_directory_breaks_no_session_and_counts_again_once_it_is_mended() {
    let home = Home::new();
    let (even, odd) = (EchoEngine::start("even"), EchoEngine::start("odd"));
    home.directory.put(&probe_to("even"));
    let place = Directory::new();
    let (state, aside) = (place.path().join("state"), place.path().join("aside"));
    let gateway = home
        .setup()
        .state(&state)
        .endpoint("even", even.address())
        .endpoint("odd", odd.address())
        .start();
    home.attacked(
        "unwritable state directory, and the control plane killed",
        &gateway,
        |directory, flock| {
            // A file in the place of the directory stops root as well, whom permissions do not.
            std::fs::rename(&state, &aside).unwrap();
            std::fs::write(&state, "").unwrap();
            let mark = gateway.mark();
            gateway.apply(|| directory.put(&probe_to("odd")));
            gateway.wait_said(mark, "ERROR", "cannot be written");
            assert_in_force(&gateway, "odd");
            gateway.kill_child("control");
            gateway.process().wait_line("state directory");
            flock.wait_rounds(5);
            assert_in_force(&gateway, "odd");
            let mark = gateway.mark();
            std::fs::remove_file(&state).unwrap();
            std::fs::rename(&aside, &state).unwrap();
            gateway.wait_applied(mark);
            assert_in_force(&gateway, "odd");
            gateway.apply(|| directory.put(&probe_to("even")));
            assert_in_force(&gateway, "even");
            flock.assert_sound();
        },
    );
}
