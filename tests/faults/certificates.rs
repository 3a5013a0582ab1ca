//! Does a session by TLS notice that the gateway's certificate is replaced again and again?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::gateway::TLS_LISTENER;
use fixgw_e2e::tls::{Authority, Client, Files, GATEWAY};

use crate::scene::{Home, PROBE, SESSIONS, probe_to, sized};

#[test]
fn certificates_are_replaced_again_and_again_under_sessions_by_tls() {
    let replacements = sized(2, 10);
    let home = Home::new();
    let light = EchoEngine::start("probe");
    home.directory.put(&probe_to("probe"));
    let authority = Authority::new("the gateway's CA");
    let files = Files::of(&authority.issue(GATEWAY));
    let gateway = home
        .setup()
        .endpoint("probe", light.address())
        .tls(&files)
        .start();
    let client = Client::trusting(&authority);
    let address = gateway.address_of(TLS_LISTENER);
    let logon = fix::logon("FIX.4.4", PROBE, "VENUE", &[]);
    let fault = format!("certificate replaced {replacements} times under sessions by TLS");
    home.attacked_by(
        &fault,
        &gateway,
        |_, fold| fold.gather_tls(address, SESSIONS, &client),
        |_, flock| {
            for _ in 0..replacements {
                let issued = authority.issue(GATEWAY);
                let mark = gateway.mark();
                files.put_identity(&issued);
                gateway.wait_said(mark, "INFO", "tls.crt");
                let mut later = client.connect(address);
                assert_eq!(later.greeting_after(&logon).as_deref(), Ok("probe"));
                assert_eq!(later.shown(), issued.der());
                flock.assert_sound();
            }
        },
    );
}
