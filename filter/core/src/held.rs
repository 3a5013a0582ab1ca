//! How many connections are held in this Envoy, and may one more be?
//!
//! The caps count over all workers, and each worker has a VM of its own: so all VMs keep one list in Envoy's shared data,
//! changed by compare-and-swap. A VM that fails runs no close callbacks, so its share ends when it has not been seen for
//! [`limits::HELD_SHARE_MS`]; and each VM puts its own share right with every heartbeat, so no count can leak.
//!
//! Pure: bytes in, bytes out. Time is milliseconds of the machine's monotonic clock, which all workers share.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use prost::Message;

use crate::config::Settings;
use crate::decision::Reason;
use crate::limits;
use crate::rule::Hold;

/// Key of the list in shared data.
pub const KEY: &str = "fixgw.held";

/// Before the list, for an empty one would be no bytes, and no bytes are nothing that a guard could be had of.
const MARK: u8 = 1;

/// How many may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// For one route.
    pub route_max: u32,
    /// In all.
    pub pod_max: u32,
}

impl Caps {
    /// Those of a route: what it does not say, the gateway does.
    #[must_use]
    pub fn new(hold: Hold, settings: &Settings) -> Self {
        Self {
            route_max: hold
                .connections_max
                .unwrap_or(settings.max_held_connections),
            pod_max: settings.max_held_connections_per_pod,
        }
    }
}

/// A place that was taken: how many are held with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// For its route.
    pub route: u32,
    /// In all.
    pub pod: u32,
}

impl Place {
    /// For people.
    pub(crate) fn held_for_up_to(self, timeout_ms: u64, caps: Caps) -> String {
        let Self { route, pod } = self;
        let Caps { route_max, pod_max } = caps;
        format!(
            "held for up to {timeout_ms} ms, as {route} of at most {route_max} of this route and {pod} of at most {pod_max} in all"
        )
    }
}

/// The end of a hold in which no endpoint became ready.
pub(crate) fn over(waited_ms: u64) -> (Reason, String) {
    let detail = format!("held for {waited_ms} ms, and no endpoint became ready");
    (Reason::HoldTimeout, detail)
}

/// The end of a hold whose counterparty left.
pub(crate) fn left() -> (Reason, String) {
    let detail = "the counterparty closed the connection before its engine was ready";
    (Reason::LeftWhileHeld, detail.to_string())
}

/// Why no place is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The route holds as many as it may.
    Route(u32),
    /// The pod does.
    Pod(u32),
    /// The others changed the list at every try.
    Contended,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(0) => f.write_str("its target is not ready, and the route lets none wait"),
            Self::Route(held) => write!(
                f,
                "its target is not ready, and {held} of its route wait already, which is as many as may"
            ),
            Self::Pod(held) => write!(
                f,
                "its target is not ready, and {held} connections wait in this gateway, which is as many as may"
            ),
            Self::Contended => {
                f.write_str("its target is not ready, and no place was found in time")
            }
        }
    }
}

/// The connections that all VMs of one Envoy hold.
#[derive(Clone, PartialEq, Message)]
pub struct Held {
    #[prost(message, repeated, tag = "1")]
    vms: Vec<Share>,
}

/// What one VM holds.
#[derive(Clone, PartialEq, Message)]
struct Share {
    #[prost(fixed64, tag = "1")]
    vm: u64,
    /// When it was last put right.
    #[prost(uint64, tag = "2")]
    seen_ms: u64,
    #[prost(message, repeated, tag = "3")]
    routes: Vec<OfRoute>,
}

/// What a VM holds for one route.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OfRoute {
    /// `namespace/name`
    #[prost(string, tag = "1")]
    route: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

/// Counts connections by the route that each is held for, in the order of their names.
pub fn by_route<'r>(routes: impl Iterator<Item = &'r str>) -> Vec<OfRoute> {
    let mut all: Vec<OfRoute> = Vec::new();
    for route in routes {
        add(&mut all, route);
    }
    all
}

fn add(all: &mut Vec<OfRoute>, route: &str) {
    match all.binary_search_by(|known| known.route.as_str().cmp(route)) {
        Ok(place) => {
            if let Some(known) = all.get_mut(place) {
                known.count = known.count.saturating_add(1);
            }
        }
        Err(place) => all.insert(
            place,
            OfRoute {
                route: route.to_string(),
                count: 1,
            },
        ),
    }
}

/// The same of counts by name.
pub(crate) fn of_counts(counts: &BTreeMap<String, u32>) -> Vec<OfRoute> {
    let counts = counts.iter().map(|(route, &count)| OfRoute {
        route: route.clone(),
        count,
    });
    counts.collect()
}

/// For how long a VM has run without a break.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awake {
    since_ms: u64,
    ticked_ms: u64,
}

impl Awake {
    /// Milliseconds without a tick after which there was a break.
    const BREAK_MS: u64 = 1_000;

    /// Time has passed.
    pub const fn ticks(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.ticked_ms) >= Self::BREAK_MS {
            self.since_ms = now_ms;
        }
        self.ticked_ms = now_ms;
    }

    /// Whether it has run for so long that every other VM, had it run too, would have been seen meanwhile.
    pub const fn judges_others(&mut self, now_ms: u64) -> bool {
        self.ticks(now_ms);
        now_ms.saturating_sub(self.since_ms) >= limits::HELD_SHARE_MS
    }
}

impl Held {
    /// What is in shared data. Bytes that are none of ours are an empty list: then each VM puts its share in again.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let list = bytes.strip_prefix(&[MARK]);
        list.and_then(|list| Self::decode(list).ok())
            .unwrap_or_default()
    }

    /// What to put into shared data.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![MARK];
        bytes.extend(self.encode_to_vec());
        bytes
    }

    /// Takes a place for a connection of a route.
    ///
    /// # Errors
    /// When there is none.
    pub fn enter(&mut self, vm: u64, route: &str, now_ms: u64, caps: Caps) -> Result<Place, Full> {
        let of_route = self.of_route(route);
        if of_route >= caps.route_max {
            return Err(Full::Route(of_route));
        }
        let in_all = self.in_all();
        if in_all >= caps.pod_max {
            return Err(Full::Pod(in_all));
        }
        self.change(vm, now_ms, |routes| add(routes, route));
        Ok(Place {
            route: of_route.saturating_add(1),
            pod: in_all.saturating_add(1),
        })
    }

    /// Puts a VM's share right: what it holds really. Also says that it lives.
    pub fn settle(&mut self, vm: u64, now_ms: u64, held: &[OfRoute]) {
        if held.is_empty() {
            self.vms.retain(|share| share.vm != vm);
            return;
        }
        self.change(vm, now_ms, |routes| {
            routes.clear();
            routes.extend_from_slice(held);
        });
    }

    /// Whether a VM's share says what it holds, and was put right not long ago.
    #[must_use]
    pub fn is_settled(&self, vm: u64, now_ms: u64, held: &[OfRoute]) -> bool {
        let share = self.vms.iter().find(|share| share.vm == vm);
        match share {
            None => held.is_empty(),
            Some(share) => {
                share.routes == held
                    && now_ms.saturating_sub(share.seen_ms) < limits::HELD_SHARE_MS / 3
            }
        }
    }

    /// Connections that are held for a route.
    #[must_use]
    pub fn of_route(&self, route: &str) -> u32 {
        let all = self.vms.iter().flat_map(|share| &share.routes);
        let own = all.filter(|known| known.route == route);
        own.fold(0, |sum, own| sum.saturating_add(own.count))
    }

    /// Connections that are held in all.
    #[must_use]
    pub fn in_all(&self) -> u32 {
        let all = self.vms.iter().flat_map(|share| &share.routes);
        all.fold(0, |sum, of_route| sum.saturating_add(of_route.count))
    }

    fn change(&mut self, vm: u64, now_ms: u64, change: impl FnOnce(&mut Vec<OfRoute>)) {
        let own = self.vms.iter().position(|share| share.vm == vm);
        let mut share = own.map_or_else(Share::default, |place| self.vms.swap_remove(place));
        share.vm = vm;
        share.seen_ms = now_ms;
        change(&mut share.routes);
        self.vms.push(share);
    }

    /// Drops the shares of VMs that have not been seen for long. For a VM that [`Awake::judges_others`].
    pub fn forget_the_dead(&mut self, own: u64, now_ms: u64) {
        let lives = |share: &Share| now_ms.saturating_sub(share.seen_ms) < limits::HELD_SHARE_MS;
        self.vms.retain(|share| share.vm == own || lives(share));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const CAPS: Caps = Caps {
        route_max: 2,
        pod_max: 3,
    };

    fn enter(held: &mut Held, vm: u64, route: &str) -> Result<(u32, u32), Full> {
        held.enter(vm, route, 1_000, CAPS)
            .map(|counts| (counts.route, counts.pod))
    }

    fn holding(routes: &[&str]) -> Vec<OfRoute> {
        by_route(routes.iter().copied())
    }

    #[test]
    fn the_caps_count_over_all_vms() {
        let mut held = Held::default();
        assert_eq!(enter(&mut held, 1, "a"), Ok((1, 1)));
        assert_eq!(enter(&mut held, 2, "a"), Ok((2, 2)));
        assert_eq!(enter(&mut held, 1, "a"), Err(Full::Route(2)));
        assert_eq!(enter(&mut held, 1, "b"), Ok((1, 3)));
        assert_eq!(enter(&mut held, 2, "c"), Err(Full::Pod(3)));
        assert_eq!(Held::read(&held.write()), held);
    }

    #[test]
    fn a_place_is_free_again_when_its_vm_says_so() {
        let mut held = Held::default();
        enter(&mut held, 1, "a").unwrap();
        enter(&mut held, 1, "b").unwrap();
        held.settle(1, 1_100, &holding(&["b"]));
        assert_eq!((held.of_route("a"), held.in_all()), (0, 1));
        held.settle(1, 1_200, &holding(&[]));
        assert_eq!(held, Held::default());
    }

    #[test]
    fn a_vm_that_is_not_seen_any_more_holds_nothing() {
        let mut held = Held::default();
        enter(&mut held, 1, "a").unwrap();
        let early = 1_000 + limits::HELD_SHARE_MS - 1;
        held.forget_the_dead(2, early);
        held.enter(2, "a", early, CAPS).unwrap();
        assert_eq!(held.of_route("a"), 2);
        held.forget_the_dead(2, 1_000 + limits::HELD_SHARE_MS);
        let counts = held.enter(2, "a", 1_000 + limits::HELD_SHARE_MS, CAPS);
        assert_eq!(counts, Ok(Place { route: 2, pod: 2 }));
    }

    #[test]
    fn who_has_just_woken_calls_nobody_dead() {
        let mut awake = Awake::default();
        for now_ms in (10_000..16_000).step_by(100) {
            assert!(!awake.judges_others(now_ms), "{now_ms}");
        }
        assert!(awake.judges_others(16_000));
        // Envoy stood still for seven seconds.
        assert!(!awake.judges_others(23_000));
        for now_ms in (23_100..29_000).step_by(100) {
            awake.ticks(now_ms);
        }
        assert!(awake.judges_others(29_000));
    }

    #[test]
    fn a_share_is_put_right_before_it_counts_as_dead() {
        let mut held = Held::default();
        let own = holding(&["a"]);
        assert!(held.is_settled(1, 1_000, &holding(&[])));
        assert!(!held.is_settled(1, 1_000, &own));
        held.settle(1, 1_000, &own);
        assert!(held.is_settled(1, 1_001, &own));
        assert!(!held.is_settled(1, 1_001, &holding(&["a", "a"])));
        assert!(!held.is_settled(1, 1_000 + limits::HELD_SHARE_MS / 3, &own));
    }

    #[test]
    fn foreign_bytes_are_an_empty_list() {
        assert_eq!(Held::read(b"\xff\xff\xff"), Held::default());
    }
}
