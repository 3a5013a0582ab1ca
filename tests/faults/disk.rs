//! Does a live session, or a change of the rules, depend on what can be written to the disk?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::Directory;

use crate::scene::{Home, assert_in_force, probe_to};

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
