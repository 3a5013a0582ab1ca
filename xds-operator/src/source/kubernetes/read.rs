//! What does one object of an API server say? JSON in; out comes the form that is kept, or what is wrong with it. Pure.
//!
//! kube's `DeserializeGuard` answers the same, but with serde's text, which quotes what it found (a value of `matchFields`, maybe)
//! and names no field; and an object whose metadata it cannot read still ends the list. So an object is read as a file's is.
//!
//! INVARIANT: whatever an object holds, it is read, so that one object never ends a list or a watch.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::api::status::FIXSessionStatus;
use crate::api::{self, FIXSessionSpec};
use crate::source::node::{DEPTH_MAX, Node, Place, Value, Wrong};
use crate::source::yaml;
use crate::world::held::Lifecycle;
use crate::world::{
    EndpointSlice, Identity, Kind, Located, ObjectName, Places, SERVICE_NAME_LABEL, Service,
};

/// Of which kinds objects are read, and what is kept of them.
pub(super) trait Form: Clone + PartialEq + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// API group; the core group is empty.
    const GROUP: &'static str;
    /// Version within the group.
    const VERSION: &'static str;
    /// Name in paths and roles.
    const PLURAL: &'static str;

    /// `None`: an object that concerns nobody here.
    fn read(node: &Node) -> Result<Option<Self>, Wrong>;

    /// With all that a World has beside it.
    fn located(self, _: &Identity) -> Located<Self> {
        Located {
            object: self,
            origin: None,
            places: Places::default(),
            identity: None,
        }
    }

    /// The Service that an object is about, known even if nothing else of it is.
    fn service(node: &Node, name: &ObjectName) -> Option<ObjectName>;

    /// What a gateway said of it.
    fn status(_: &Node) -> Option<Arc<FIXSessionStatus>> {
        None
    }
}

impl Form for FIXSessionSpec {
    const KIND: Kind = Kind::FIXSession;
    const GROUP: &'static str = api::GROUP;
    const VERSION: &'static str = api::VERSION;
    const PLURAL: &'static str = api::PLURAL;

    fn read(node: &Node) -> Result<Option<Self>, Wrong> {
        yaml::session_form(node).map(Some)
    }

    fn located(self, identity: &Identity) -> Located<Self> {
        Located {
            object: self,
            origin: None,
            places: Places::default(),
            identity: Some(identity.clone()),
        }
    }

    fn service(_: &Node, _: &ObjectName) -> Option<ObjectName> {
        None
    }

    fn status(node: &Node) -> Option<Arc<FIXSessionStatus>> {
        // One that cannot be read is as good as none: it is written anew.
        let status = node.get("status").and_then(|status| status.parse().ok());
        Some(Arc::new(status.unwrap_or_default()))
    }
}

impl Form for Service {
    const KIND: Kind = Kind::Service;
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "services";

    fn read(node: &Node) -> Result<Option<Self>, Wrong> {
        yaml::service_form(node).map(Some)
    }

    fn service(_: &Node, name: &ObjectName) -> Option<ObjectName> {
        Some(name.clone())
    }
}

impl Form for EndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;
    const GROUP: &'static str = "discovery.k8s.io";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "endpointslices";

    fn read(node: &Node) -> Result<Option<Self>, Wrong> {
        // In a cluster there are some for other purposes.
        if service_label(node).is_none() {
            return Ok(None);
        }
        yaml::slice_form(node).map(Some)
    }

    fn service(node: &Node, name: &ObjectName) -> Option<ObjectName> {
        service_label(node).map(|service| ObjectName::new(&name.namespace, service))
    }
}

fn service_label(node: &Node) -> Option<&str> {
    let labels = node.get("metadata")?.get("labels")?;
    let service = labels.get(SERVICE_NAME_LABEL)?.text()?;
    (!service.is_empty()).then_some(service)
}

/// What is known of an object.
#[derive(Clone)]
pub(super) struct Seen<F> {
    /// Its name.
    pub(super) name: ObjectName,
    /// Which it is.
    pub(super) identity: Identity,
    /// Whether it stays.
    pub(super) lifecycle: Lifecycle,
    /// What a gateway said of it.
    pub(super) status: Option<Arc<FIXSessionStatus>>,
    /// The Service that it is about.
    pub(super) service: Option<ObjectName>,
    /// What it says, or what is wrong with it.
    pub(super) form: Result<Option<F>, Wrong>,
}

/// An object on its way from kube.
#[derive(Clone)]
pub(super) struct Watched<F> {
    /// The little of it that kube itself needs.
    metadata: ObjectMeta,
    /// The object.
    pub(super) seen: Seen<F>,
}

/// Its name alone: whoever logs it shows no value.
impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seen.name)
    }
}

impl<F: Form> Resource for Watched<F> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        F::KIND.label().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        F::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        F::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        F::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<F: Form> Watched<F> {
    fn of(node: &Node) -> Self {
        let metadata = node.get("metadata");
        let field = |key: &str| metadata.and_then(|metadata| metadata.get(key));
        let text = |key: &str| field(key).and_then(Node::text).unwrap_or_default();
        let generation = match field("generation").map(|node| &node.value) {
            Some(Value::Int(number)) => i64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        let deleting =
            field("deletionTimestamp").is_some_and(|node| !matches!(node.value, Value::Null));
        let name = ObjectName::new(text("namespace"), text("name"));
        Self {
            metadata: ObjectMeta {
                name: Some(name.name.to_string()),
                namespace: Some(name.namespace.to_string()),
                resource_version: Some(text("resourceVersion").to_owned()),
                ..ObjectMeta::default()
            },
            seen: Seen {
                identity: Identity {
                    uid: text("uid").into(),
                    generation,
                },
                lifecycle: if deleting {
                    Lifecycle::Deleting
                } else {
                    Lifecycle::Live
                },
                status: F::status(node),
                service: F::service(node, &name),
                form: F::read(node),
                name,
            },
        }
    }
}

impl<'de, F: Form> Deserialize<'de> for Watched<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Level::Object.deserialize(deserializer)?;
        Ok(Self::of(&node))
    }
}

/// Where in an object a piece of JSON stands.
#[derive(Clone, Copy)]
enum Level {
    Object,
    Metadata,
    /// So many levels down.
    Below(usize),
}

impl Level {
    fn of_field(self, key: &str) -> Self {
        match self {
            Self::Object if key == "metadata" => Self::Metadata,
            Self::Object => Self::Below(1),
            Self::Metadata => Self::Below(2),
            Self::Below(depth) => Self::Below(depth + 1),
        }
    }
}

const fn node(value: Value) -> Node {
    Node {
        place: Place { line: 0, column: 0 },
        value,
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if let Self::Below(DEPTH_MAX..) = self {
            // The reader of JSON refuses the whole text when it is nested much deeper; skipping has no such bound, and no
            // field of ours is so deep.
            return IgnoredAny::deserialize(deserializer).map(|_| node(Value::Null));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(node(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(node(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(node(Value::Int(value.into())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(node(Value::Int(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(node(Value::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(node(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.of_field(""))? {
            list.push(item);
        }
        Ok(node(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            // Who wrote which field: as large as the object, and of no use here.
            if matches!(self, Self::Metadata) && key == "managedFields" {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = entries.next_value_seed(self.of_field(&key))?;
            map.push((node(Value::Text(key)), value));
        }
        Ok(node(Value::Map(map)))
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen<F: Form>(object: &serde_json::Value) -> Seen<F> {
        let text = object.to_string();
        serde_json::from_str::<Watched<F>>(&text).unwrap().seen
    }

    fn wrong<F: Form>(object: &serde_json::Value) -> (String, String) {
        let wrong = seen::<F>(object).form.err().unwrap();
        (wrong.path, wrong.what)
    }

    fn session(spec: &serde_json::Value) -> serde_json::Value {
        json!({
            "apiVersion": "fixgateway.io/v1alpha1", "kind": "FIXSession",
            "metadata": {
                "name": "algo", "namespace": "trading", "uid": "u-1", "generation": 7, "resourceVersion": "12",
                "creationTimestamp": "2026-11-27T06:31:02Z",
                "managedFields": [{ "manager": "kubectl", "fieldsV1": { "f:spec": {} } }],
            },
            "spec": spec,
        })
    }

    #[test]
    fn an_object_is_read_with_what_it_is_and_without_who_wrote_it() {
        let spec = json!({
            "matchFields": { "managedFields49": { "value": "A" }, "SenderCompID49": { "value": "B" } },
            "target": { "service": { "name": "engine", "port": 9876 } },
        });
        let mut object = session(&spec);
        let node = Level::Object
            .deserialize(&mut serde_json::Deserializer::from_str(&object.to_string()))
            .unwrap();
        assert!(node.get("metadata").unwrap().get("managedFields").is_none());
        let read = seen::<FIXSessionSpec>(&object);
        assert_eq!(read.name, ObjectName::new("trading", "algo"));
        assert_eq!((&*read.identity.uid, read.identity.generation), ("u-1", 7));
        assert_eq!(read.lifecycle, Lifecycle::Live);
        assert_eq!(*read.status.unwrap(), FIXSessionStatus::default());
        assert_eq!(read.form.ok().unwrap().unwrap().match_fields.len(), 2);
        object["metadata"]["deletionTimestamp"] = json!("2026-11-27T06:31:03Z");
        object["status"] = json!({ "observedGeneration": 6, "revision": 3, "newer": {} });
        let read = seen::<FIXSessionSpec>(&object);
        assert_eq!(read.lifecycle, Lifecycle::Deleting);
        let status = read.status.unwrap();
        assert_eq!(
            (status.observed_generation, status.revision),
            (Some(6), Some(3))
        );
        object["status"] = json!({ "conditions": "none" });
        let read = seen::<FIXSessionSpec>(&object);
        assert!(
            read.form.is_ok(),
            "a status that is none is no fault of the route"
        );
    }

    #[test]
    fn what_is_wrong_names_the_field_and_no_value() {
        let target = json!({ "service": { "name": "engine", "port": 1 } });
        for (spec, path, what) in [
            (
                json!({ "matchFields": { "SenderCompID49": "hunter2" }, "target": target }),
                "spec.matchFields.SenderCompID49",
                "as in `SenderCompID49: { value: BROKER_A }`",
            ),
            (
                json!({ "matchFields": { "SenderCompID49": { "value": 31_337_042 } }, "target": target }),
                "spec.matchFields.SenderCompID49.value",
                "wants text, and it is a number",
            ),
            (
                json!({ "matchFields": { "SenderCompID49": { "value": ["hunter2"] } }, "target": target }),
                "spec.matchFields.SenderCompID49.value",
                "wants text, and it is a list",
            ),
            (
                json!({ "matchFields": { "SenderCompID49": { "value": "hunter2", "redact": "hunter2" } }, "target": target }),
                "spec.matchFields.SenderCompID49.redact",
                "wants `true` or `false`, and it is text",
            ),
            (
                json!({ "matchFields": { "SenderCompID49": { "value": "hunter2", "regex": "hunter2" } }, "target": target }),
                "spec.matchFields.SenderCompID49.regex",
                "there is no such field; known here are `value`",
            ),
            (
                json!({ "matchFields": ["hunter2"], "target": target }),
                "spec.matchFields",
                "wants a map",
            ),
            (json!("hunter2"), "spec", "wants a map"),
            (json!({}), "spec.target", "is missing"),
            (
                json!({ "target": { "service": { "name": "engine", "port": 70_000 } } }),
                "spec.target.service.port",
                "wants a whole number from 0 to 65535, and it is 70000",
            ),
        ] {
            let (found, said) = wrong::<FIXSessionSpec>(&session(&spec));
            assert_eq!(found, path, "{spec}: {said}");
            assert!(said.contains(what), "{spec}: {said}");
            assert!(
                !said.contains("hunter2") && !said.contains("31337042"),
                "{said}"
            );
        }
    }

    #[test]
    fn no_object_ends_the_list_that_it_stands_in() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        let good = session(
            &json!({ "default": true, "priority": 1, "target": { "service": { "name": "e", "port": 1 } } }),
        );
        let list = format!(
            r#"{{"apiVersion":"v1","kind":"FIXSessionList","metadata":{{"resourceVersion":"9"}},"items":[
               {{"metadata":{{"name":["x"],"labels":7}},"spec":{deep}}}, {{"spec":{{"x":{deep}}}}}, null, 7, "text", [], {good}]}}"#
        );
        let list: kube::core::ObjectList<Watched<FIXSessionSpec>> =
            serde_json::from_str(&list).unwrap();
        let read: Vec<bool> = list
            .items
            .iter()
            .map(|item| item.seen.form.is_ok())
            .collect();
        assert_eq!(read, [false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_change_of_a_watch_is_read_as_an_object_of_a_list_is() {
        let object = session(&json!("hunter2"));
        let line = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
        let event: kube::core::WatchEvent<Watched<FIXSessionSpec>> =
            serde_json::from_str(&line).unwrap();
        let kube::core::WatchEvent::Modified(watched) = event else {
            unreachable!("it says MODIFIED");
        };
        assert!(watched.seen.form.is_err());
        assert_eq!(watched.metadata.resource_version.as_deref(), Some("12"));
        assert_eq!(format!("{watched:?}"), "trading/algo");
    }

    #[test]
    fn services_and_slices_are_faulted_as_those_of_a_file_are() {
        let service = json!({
            "metadata": { "name": "engine", "namespace": "t", "annotations": { "fixgateway.io/proxy-protocol": "v3" } },
            "spec": { "ports": [{ "port": 1 }] },
        });
        let (path, what) = wrong::<Service>(&service);
        assert_eq!(path, "metadata.annotations.fixgateway.io/proxy-protocol");
        assert!(what.contains("`v1` or `v2`"), "{what}");
        let mut slice = json!({
            "metadata": { "name": "engine-1", "namespace": "t", "labels": { SERVICE_NAME_LABEL: "engine" } },
            "addressType": "FQDN", "endpoints": [], "ports": [],
        });
        assert_eq!(wrong::<EndpointSlice>(&slice).0, "addressType");
        assert_eq!(
            seen::<EndpointSlice>(&slice).service,
            Some(ObjectName::new("t", "engine"))
        );
        slice["metadata"]["labels"] = json!({});
        assert!(matches!(seen::<EndpointSlice>(&slice).form, Ok(None)));
    }
}
