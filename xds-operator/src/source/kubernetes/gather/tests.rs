//! What is made of the changes that watches tell, and when does it count?
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};

use super::*;
use crate::world::{SERVICE_NAME_LABEL, World};

const T: &str = "trading";

fn watched<F: Form>(object: Value) -> Watched<F> {
    serde_json::from_value(object).unwrap()
}

fn metadata(namespace: &str, name: &str, generation: i64) -> Value {
    json!({ "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "generation": generation, "resourceVersion": "1" })
}

fn session(name: &str, service: &str, generation: i64) -> Value {
    json!({
        "apiVersion": "fixgateway.io/v1alpha1", "kind": "FIXSession",
        "metadata": metadata(T, name, generation),
        "spec": {
            "matchFields": { "SenderCompID49": { "value": name } },
            "target": { "service": { "name": service, "port": 9876 } },
        },
    })
}

fn broken(name: &str) -> Value {
    let mut object = session(name, "engine", 2);
    object["spec"]["priority"] = json!("high");
    object
}

fn service(namespace: &str, name: &str) -> Value {
    json!({ "metadata": metadata(namespace, name, 0), "spec": { "ports": [{ "port": 9876 }] } })
}

fn slice(service: &str, number: u8, ready: &[u8]) -> Value {
    let mut metadata = metadata(T, &format!("{service}-{number}"), 1);
    metadata["labels"] = json!({ SERVICE_NAME_LABEL: service });
    let addresses: Vec<Value> = ready
        .iter()
        .map(|host| json!({ "addresses": [format!("10.0.{number}.{host}")] }))
        .collect();
    json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": addresses, "ports": [{ "port": 9876 }] })
}

/// A source with a clock.
struct Source {
    gathered: Gathered,
    now_ms: u64,
}

fn watch<F: Form>(namespace: Option<&str>) -> Watch {
    Watch {
        kind: F::KIND,
        namespace: namespace.map(Into::into),
    }
}

impl Source {
    fn of(namespaces: &[Option<&str>]) -> Self {
        let watches = namespaces.iter().flat_map(|namespace| {
            [
                watch::<FIXSessionSpec>(*namespace),
                watch::<Service>(*namespace),
                watch::<EndpointSlice>(*namespace),
            ]
        });
        Self {
            gathered: Gathered::new(watches, 0),
            now_ms: 0,
        }
    }

    /// With these listed, and given.
    fn listed(sessions: Vec<Value>, services: Vec<Value>, slices: Vec<Value>) -> Self {
        let mut source = Self::of(&[None]);
        source.list::<FIXSessionSpec>(None, sessions);
        source.list::<Service>(None, services);
        source.list::<EndpointSlice>(None, slices);
        source.given();
        source
    }

    fn list<F: Gathers>(&mut self, namespace: Option<&str>, objects: Vec<Value>) {
        let mut listing = Listing::<F>::new();
        assert!(listing.event(Event::Init).is_none());
        for object in objects {
            assert!(listing.event(Event::InitApply(watched(object))).is_none());
        }
        let step = listing.event(Event::InitDone).unwrap();
        self.gathered
            .take(&watch::<F>(namespace), step, self.now_ms);
    }

    fn is<F: Gathers>(&mut self, object: Value) {
        let step = Listing::new().event(Event::Apply(watched::<F>(object)));
        self.gathered
            .take(&watch::<F>(None), step.unwrap(), self.now_ms);
    }

    fn gone<F: Gathers>(&mut self, object: Value) {
        let step = Listing::new().event(Event::Delete(watched::<F>(object)));
        self.gathered
            .take(&watch::<F>(None), step.unwrap(), self.now_ms);
    }

    /// What is given once everything is due.
    fn next(&mut self) -> Option<Observed> {
        self.now_ms += 1_000;
        self.gathered.give(self.now_ms)
    }

    fn given(&mut self) -> Observed {
        self.next().unwrap()
    }
}

fn sessions(observed: &Observed) -> Vec<&str> {
    let sessions = observed.world.rules.sessions.keys();
    sessions.map(|name| &*name.name).collect()
}

fn services(observed: &Observed) -> Vec<String> {
    let services = observed.world.endpoints.services.keys();
    services.map(ToString::to_string).collect()
}

fn slices(observed: &Observed) -> Vec<&str> {
    let slices = observed.world.endpoints.slices.keys();
    slices.map(|name| &*name.name).collect()
}

#[test]
fn nothing_is_given_before_everything_was_listed() {
    let mut source = Source::of(&[None]);
    source.list::<FIXSessionSpec>(None, vec![session("a", "engine", 1)]);
    source.is::<FIXSessionSpec>(session("b", "engine", 1));
    source.list::<EndpointSlice>(None, vec![slice("engine", 1, &[1])]);
    assert!(source.next().is_none());
    assert_eq!(source.gathered.due_ms(), None);
    source.list::<Service>(None, Vec::new());
    assert_eq!(source.gathered.due_ms(), Some(source.now_ms));
    // At once: somebody waits for it.
    let first = source.gathered.give(source.now_ms).unwrap();
    assert_eq!(sessions(&first), ["a", "b"]);
    assert_eq!(slices(&first), ["engine-1"]);
    let identity = first.world.rules.sessions.values().next().unwrap();
    assert_eq!(&*identity.identity.as_ref().unwrap().uid, "uid-a");
}

#[test]
fn of_nothing_at_all_there_is_a_world_too() {
    let mut source = Source::listed(Vec::new(), Vec::new(), Vec::new());
    assert!(source.next().is_none());
    let given = source.gathered.given.clone().unwrap();
    assert_eq!(given.world.rules, World::default().rules);
    let endpoints = &given.world.endpoints;
    assert_eq!((endpoints.services.len(), endpoints.slices.len()), (0, 0));
}

#[test]
fn a_new_list_is_one_change_with_all_that_came_and_went() {
    let mut source = Source::listed(
        vec![
            session("a", "one", 1),
            session("b", "one", 1),
            session("c", "one", 1),
        ],
        Vec::new(),
        Vec::new(),
    );
    let mut listing = Listing::<FIXSessionSpec>::new();
    listing.event(Event::Init);
    listing.event(Event::InitApply(watched(session("lost", "one", 1))));
    // Broken off, and begun anew.
    listing.event(Event::Init);
    for object in [
        session("b", "two", 2),
        session("c", "one", 1),
        session("d", "one", 1),
    ] {
        listing.event(Event::InitApply(watched(object)));
        assert!(source.next().is_none());
    }
    let step = listing.event(Event::InitDone).unwrap();
    let all = watch::<FIXSessionSpec>(None);
    source.gathered.take(&all, step, source.now_ms);
    let before = source.gathered.given.clone().unwrap();
    let next = source.given();
    assert_eq!(sessions(&next), ["b", "c", "d"]);
    let at = |observed: &Observed, name: &str| {
        observed.world.rules.sessions[&ObjectName::new(T, name)].clone()
    };
    assert_eq!(at(&next, "b").object.target.service.name, "two");
    assert!(Arc::ptr_eq(&at(&before, "c"), &at(&next, "c")));
    assert_eq!(next.held.len(), 3);
    assert!(Arc::ptr_eq(&before.world.endpoints, &next.world.endpoints));
}

#[test]
fn a_list_of_one_namespace_says_nothing_about_another() {
    let mut source = Source::of(&[Some("trading"), Some("fx")]);
    for namespace in ["trading", "fx"] {
        source.list::<FIXSessionSpec>(Some(namespace), Vec::new());
        source.list::<EndpointSlice>(Some(namespace), Vec::new());
        source.list::<Service>(Some(namespace), vec![service(namespace, "engine")]);
    }
    assert_eq!(services(&source.given()), ["fx/engine", "trading/engine"]);
    source.list::<Service>(Some("fx"), Vec::new());
    assert_eq!(services(&source.given()), ["trading/engine"]);
}

#[test]
fn a_status_alone_changes_no_world() {
    let mut source = Source::listed(vec![session("a", "one", 1)], Vec::new(), Vec::new());
    let before = source.gathered.given.clone().unwrap();
    let mut object = session("a", "one", 1);
    object["status"] = json!({ "revision": 7 });
    object["metadata"]["labels"] = json!({ "of": "the user" });
    source.is::<FIXSessionSpec>(object.clone());
    let next = source.given();
    assert!(Arc::ptr_eq(&before.world.rules, &next.world.rules));
    assert!(Arc::ptr_eq(&before.world.endpoints, &next.world.endpoints));
    assert_eq!(next.held[&ObjectName::new(T, "a")].status.revision, Some(7));
    source.is::<FIXSessionSpec>(object);
    assert!(source.next().is_none());
}

#[test]
fn what_is_being_deleted_routes_no_more_and_is_still_held() {
    let mut source = Source::listed(vec![session("a", "one", 1)], Vec::new(), Vec::new());
    let mut object = session("a", "one", 2);
    object["metadata"]["deletionTimestamp"] = json!("2026-11-27T06:31:02Z");
    source.is::<FIXSessionSpec>(object.clone());
    let next = source.given();
    assert_eq!(sessions(&next), Vec::<&str>::new());
    assert!(next.world.rules.faults.list.is_empty());
    assert_eq!(
        next.held[&ObjectName::new(T, "a")].lifecycle,
        Lifecycle::Deleting
    );
    source.gone::<FIXSessionSpec>(object);
    assert!(source.given().held.is_empty());
}

#[test]
fn what_cannot_be_read_is_a_fault_beside_the_others_until_it_is_mended_or_gone() {
    let mut source = Source::listed(
        vec![session("a", "one", 1), session("b", "one", 1)],
        Vec::new(),
        Vec::new(),
    );
    source.is::<FIXSessionSpec>(broken("a"));
    let next = source.given();
    assert_eq!(sessions(&next), ["b"]);
    let faults = &next.world.rules.faults;
    let name = ObjectName::new(T, "a");
    assert!(faults.cover(Kind::FIXSession, &name, None));
    assert_eq!(faults.list.len(), 1);
    assert_eq!(
        faults.list[0].object,
        Some((Kind::FIXSession, name.clone()))
    );
    assert_eq!(faults.list[0].field.as_deref(), Some("spec.priority"));
    assert!(faults.list[0].what.starts_with("wants a whole number"));
    assert_eq!(next.held[&name].identity.generation, 2);
    // The same again, in a new list, is nothing new.
    source.list::<FIXSessionSpec>(None, vec![broken("a"), session("b", "one", 1)]);
    assert!(source.next().is_none());
    source.is::<FIXSessionSpec>(session("a", "one", 3));
    let next = source.given();
    assert_eq!(sessions(&next), ["a", "b"]);
    assert_eq!(next.world.rules.faults, Faults::default());
    source.is::<FIXSessionSpec>(broken("a"));
    source.given();
    source.list::<FIXSessionSpec>(None, vec![session("b", "one", 1)]);
    let next = source.given();
    assert_eq!(next.world.rules.faults, Faults::default());
    assert_eq!(next.held.len(), 1);
}

#[test]
fn a_fault_of_an_endpoint_is_told_to_those_whom_it_concerns_and_covers_the_object_in_any_case() {
    let mut bad = service(T, "engine");
    bad["metadata"]["annotations"] = json!({ "fixgateway.io/tcp-timeout": "soon" });
    let mut odd = slice("engine", 1, &[]);
    odd["addressType"] = json!("FQDN");
    let mut source = Source::listed(Vec::new(), vec![bad], vec![odd]);
    let covered = |observed: &Observed| {
        let faults = &observed.world.endpoints.faults;
        faults.cover(Kind::Service, &ObjectName::new(T, "engine"), None)
            && faults.cover(Kind::EndpointSlice, &ObjectName::new(T, "engine-1"), None)
    };
    let first = source.gathered.given.clone().unwrap();
    assert!(covered(&first));
    assert_eq!(first.world.endpoints.faults.list, []);
    source.is::<FIXSessionSpec>(session("a", "engine", 1));
    let next = source.given();
    assert!(covered(&next));
    let fields: Vec<_> = next
        .world
        .endpoints
        .faults
        .list
        .iter()
        .map(|fault| fault.field.as_deref())
        .collect();
    assert_eq!(
        fields,
        [
            Some("metadata.annotations.fixgateway.io/tcp-timeout"),
            Some("addressType")
        ]
    );
}

#[test]
fn changes_of_a_moment_are_one_and_endpoints_do_not_wait_for_rules() {
    let mut source = Source::listed(
        vec![session("a", "engine", 1)],
        vec![service(T, "engine")],
        vec![slice("engine", 1, &[1])],
    );
    let before = source.gathered.given.clone().unwrap();
    let start = source.now_ms;
    source.is::<FIXSessionSpec>(session("a", "engine", 2));
    source.now_ms += 2;
    source.is::<EndpointSlice>(slice("engine", 1, &[1, 2]));
    source.now_ms += ENDPOINTS_MS - 1;
    source.is::<EndpointSlice>(slice("engine", 2, &[1]));
    assert!(source.gathered.give(source.now_ms).is_none());
    assert_eq!(source.gathered.due_ms(), Some(start + 2 + ENDPOINTS_MS));
    let next = source.gathered.give(start + 2 + ENDPOINTS_MS).unwrap();
    assert_eq!(slices(&next), ["engine-1", "engine-2"]);
    assert!(Arc::ptr_eq(&before.world.rules, &next.world.rules));
    // Changes without end are given all the same.
    let mut given = Vec::new();
    for (generation, now) in (3..).zip(start + 8..start + 130) {
        source.now_ms = now;
        source.is::<FIXSessionSpec>(session("a", "engine", generation));
        given.extend(source.gathered.give(now).map(|_| now - start));
    }
    assert_eq!(given, [RULES_MS, 2 * RULES_MS]);
}

#[test]
fn a_change_of_a_route_after_a_quiet_time_is_given_at_once_and_the_next_ones_together() {
    let mut source = Source::listed(
        vec![session("a", "engine", 1)],
        vec![service(T, "engine")],
        vec![slice("engine", 1, &[1])],
    );
    source.now_ms += 10 * RULES_MS;
    let start = source.now_ms;
    let mut given = Vec::new();
    for (generation, after) in [(2, 0), (3, 1), (4, RULES_MS), (5, RULES_MS + 1)] {
        source.now_ms = start + after;
        source.is::<FIXSessionSpec>(session("a", "engine", generation));
        given.extend(source.gathered.give(source.now_ms).map(|_| after));
    }
    assert_eq!(given, [0, RULES_MS]);
    assert_eq!(source.gathered.due_ms(), Some(start + 2 * RULES_MS));
}

#[test]
fn what_is_changed_back_is_no_change() {
    let mut source = Source::listed(
        vec![session("a", "engine", 1)],
        vec![service(T, "engine")],
        vec![slice("engine", 1, &[1])],
    );
    source.is::<EndpointSlice>(slice("engine", 1, &[]));
    source.is::<EndpointSlice>(slice("engine", 1, &[1]));
    source.gone::<Service>(service(T, "engine"));
    source.is::<Service>(service(T, "engine"));
    assert!(source.next().is_none());
}

#[test]
fn once_it_is_said_what_is_in_force_all_other_services_may_change_as_they_like() {
    let mut source = Source::listed(
        vec![session("a", "named", 1)],
        vec![service(T, "named"), service(T, "used"), service(T, "other")],
        vec![
            slice("named", 1, &[1]),
            slice("used", 2, &[1]),
            slice("other", 3, &[1]),
        ],
    );
    let first = source.gathered.given.clone().unwrap();
    assert_eq!(slices(&first), ["named-1", "other-3", "used-2"]);
    let targets = |names: &[&str]| {
        let names = names.iter().map(|name| ObjectName::new(T, name));
        Some(Arc::new(names.collect::<BTreeSet<_>>()))
    };
    source.gathered.in_force(targets(&["used"]), source.now_ms);
    let next = source.given();
    assert_eq!(services(&next), ["trading/named", "trading/used"]);
    assert_eq!(slices(&next), ["named-1", "used-2"]);
    source.is::<EndpointSlice>(slice("other", 3, &[]));
    source.is::<Service>(service(T, "another"));
    assert_eq!(source.gathered.due_ms(), None);
    // A route to it comes, and it is there as it is by now.
    source.is::<FIXSessionSpec>(session("b", "other", 1));
    let next = source.given();
    assert_eq!(slices(&next), ["named-1", "other-3", "used-2"]);
    let other = &next.world.endpoints.slices[&ObjectName::new(T, "other-3")];
    assert!(other.object.ready.is_empty());
    // And goes, while the table still leads there, and then no more.
    source.gathered.in_force(targets(&["other"]), source.now_ms);
    source.gone::<FIXSessionSpec>(session("b", "other", 1));
    assert_eq!(slices(&source.given()), ["named-1", "other-3"]);
    source.gathered.in_force(targets(&[]), source.now_ms);
    assert_eq!(slices(&source.given()), ["named-1"]);
    // One that is changed to lead elsewhere.
    source.is::<FIXSessionSpec>(session("a", "used", 2));
    assert_eq!(slices(&source.given()), ["used-2"]);
}
