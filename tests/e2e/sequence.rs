//! What does the reject engine's Logout cost a counterparty that keeps its sequence numbers?
//!
//! The facts asserted here are those that the documentation tells. QuickFIX counts an incoming Logout even when it
//! was never logged on, and answers it with one of its own: afterwards it expects the engine's number to be one more
//! than the engine knows, and its own next Logon is two ahead.

use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Counterparty, Engine, Peer, Session};
use fixgw_e2e::raw::RawClient;

/// The engine and the counterparty keep their numbers in files; the gateway has no route yet.
struct Scene {
    session: Session,
    stores: [Directory; 2],
    engine: Engine,
    directory: Directory,
    gateway: Gateway,
}

impl Scene {
    fn set(session: Session) -> Self {
        let stores = [Directory::new(), Directory::new()];
        let engine = Peer::engine_with_store(
            "engine",
            std::slice::from_ref(&session),
            Some(stores[0].path()),
        );
        let directory = Directory::new();
        let gateway = Setup::over(&directory)
            .endpoint("engine", engine.address())
            .start();
        Self {
            session,
            stores,
            engine,
            directory,
            gateway,
        }
    }

    fn counterparty(&self) -> Counterparty {
        Counterparty::new(
            "counterparty",
            self.gateway.address(),
            std::slice::from_ref(&self.session),
        )
        .store(self.stores[1].path())
    }

    /// Connects once, is rejected, and stops; returns its next numbers: (its own, the engine's).
    fn reject(&self) -> (u64, u64) {
        let at_counterparty = self.session.at_counterparty();
        let counterparty = self.counterparty().once().start();
        assert_eq!(
            counterparty.wait_logout_text(&at_counterparty),
            "No matching session configuration"
        );
        counterparty.wait_logout(&at_counterparty);
        let numbers = counterparty.numbers(&at_counterparty);
        counterparty.stop();
        numbers
    }

    fn add_route(&self) {
        self.gateway.apply(|| {
            self.directory
                .put(&Route::new("broker", "engine").value("SenderCompID49", "BROKER"));
        });
    }
}

#[test]
fn a_rejected_counterparty_with_stored_numbers_fails_once_and_then_heals_by_itself() {
    let scene = Scene::set(Session::new("FIX.4.4", "BROKER", "ENGINE"));
    let (at_counterparty, at_engine) = (scene.session.at_counterparty(), scene.session.at_engine());
    assert_eq!(
        scene.reject(),
        (3, 2),
        "the rejection cost two numbers of its own and one of the engine's"
    );
    assert_eq!(
        scene.engine.numbers(&at_engine),
        (1, 1),
        "the engine knows nothing of it"
    );
    scene.add_route();
    let counterparty = scene.counterparty().start();
    // The engine's first Logon has number 1 where the counterparty expects 2.
    let complaint = scene.engine.wait_logout_text(&at_engine);
    assert_eq!(complaint, "MsgSeqNum too low, expecting 2 but received 1");
    // The failed attempt moved the engine's numbers on: at the next one they are high enough, and the gap is filled.
    counterparty.wait_logon(&at_counterparty);
    counterparty.send(&at_counterparty, 3);
    scene.engine.wait_received(&at_engine, 3);
    scene.engine.send(&at_engine, 3);
    counterparty.wait_received(&at_counterparty, 3);
    assert_eq!(scene.engine.received(&at_engine), [1, 2, 3]);
    assert_eq!(counterparty.received(&at_counterparty), [1, 2, 3]);
}

#[test]
fn one_failed_attempt_makes_up_for_three_rejections() {
    let scene = Scene::set(Session::new("FIX.4.4", "BROKER", "ENGINE"));
    let (at_counterparty, at_engine) = (scene.session.at_counterparty(), scene.session.at_engine());
    let numbers = [scene.reject(), scene.reject(), scene.reject()];
    assert_eq!(numbers, [(3, 2), (5, 3), (7, 4)]);
    scene.add_route();
    let counterparty = scene.counterparty().start();
    counterparty.wait_logon(&at_counterparty);
    // The failed attempt took the engine's numbers 1 to 3: its Logon, its ResendRequest and its Logout.
    let complaint = scene.engine.wait_logout_text(&at_engine);
    assert_eq!(complaint, "MsgSeqNum too low, expecting 4 but received 1");
    assert_eq!(counterparty.send(&at_counterparty, 1), 1);
    scene.engine.wait_received(&at_engine, 1);
    // After the message, for the engine's word on its Logon may come later than the counterparty's.
    assert_eq!(scene.engine.logons(&at_engine), 2);
}

#[test]
fn a_message_that_waits_at_the_engine_while_its_counterparty_is_rejected_is_lost() {
    let scene = Scene::set(Session::new("FIX.4.4", "BROKER", "ENGINE"));
    let (at_counterparty, at_engine) = (scene.session.at_counterparty(), scene.session.at_engine());
    // QuickFIX gives it number 1 and keeps it for a ResendRequest, which begins at 2 because of the rejection.
    assert_eq!(scene.engine.send(&at_engine, 1), 1);
    scene.reject();
    scene.add_route();
    let counterparty = scene.counterparty().start();
    counterparty.wait_logon(&at_counterparty);
    assert_eq!(scene.engine.send(&at_engine, 1), 2);
    counterparty.wait_received(&at_counterparty, 2);
    assert_eq!(
        counterparty.received(&at_counterparty),
        [2],
        "the first message never arrives, and nobody says so"
    );
}

#[test]
fn a_counterparty_that_resets_its_numbers_on_logon_pays_nothing_for_a_rejection() {
    let scene = Scene::set(Session::new("FIX.4.4", "BROKER", "ENGINE").reset_on_logon());
    let (at_counterparty, at_engine) = (scene.session.at_counterparty(), scene.session.at_engine());
    scene.reject();
    scene.add_route();
    let counterparty = scene.counterparty().once().start();
    counterparty.wait_logon(&at_counterparty);
    scene.engine.wait_logon(&at_engine);
    scene.engine.send(&at_engine, 1);
    counterparty.wait_received(&at_counterparty, 1);
}

#[test]
fn a_route_without_endpoints_closes_without_a_logout_and_so_costs_no_number_of_the_engines() {
    let scene = Scene::set(Session::new("FIX.4.4", "BROKER", "ENGINE"));
    scene.gateway.apply(|| {
        scene
            .directory
            .put(&Route::new("broker", "nowhere").value("SenderCompID49", "BROKER"));
    });
    let mut client = RawClient::connect(scene.gateway.address());
    client.send(&fix::logon("FIX.4.4", "BROKER", "ENGINE", &[]));
    assert_eq!(client.take_to_end(), b"");
}
