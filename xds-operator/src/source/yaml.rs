//! Which objects does one file hold? Text in, objects with their places out; pure.
//!
//! INVARIANT: every document of the file ends as an object, a fault, or a remark; none is dropped without a word.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;

use super::node::{self, Node, Place, Value, Wrong};
use crate::api::{self, FIXSession, FIXSessionSpec};
use crate::message::Origin;
use crate::world::{EndpointSlice, Fault, Kind, Located, ObjectName, Places, Scope, Service};

/// Namespace of an object that names none, as `kubectl` has it.
pub const NAMESPACE_DEFAULT: &str = "default";

/// Fields of `metadata`. The Kubernetes types let an unknown one pass.
const METADATA_FIELDS: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// An object of a file.
#[derive(Clone, Debug)]
pub enum Object {
    /// A route.
    FIXSession(Arc<Located<FIXSessionSpec>>),
    /// A Service.
    Service(Arc<Located<Service>>),
    /// Endpoints of a Service.
    EndpointSlice(Arc<Located<EndpointSlice>>),
}

impl Object {
    /// Where it begins.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::FIXSession(it) => it.origin.as_ref(),
            Self::Service(it) => it.origin.as_ref(),
            Self::EndpointSlice(it) => it.origin.as_ref(),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::FIXSession(_) => Kind::FIXSession,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
        }
    }
}

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub struct FileContent {
    /// Its objects, in order.
    pub objects: Vec<(ObjectName, Object)>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// Reads one file's text.
#[must_use]
pub fn read(file: &Arc<str>, text: &str) -> FileContent {
    let mut reading = Reading {
        file,
        content: FileContent::default(),
    };
    match node::documents(text) {
        Ok(documents) => {
            for document in &documents {
                reading.document(document);
            }
        }
        Err(wrong) => {
            let what = format!("is not valid YAML here: {}", wrong.what);
            reading.fault(None, Wrong { what, ..wrong }, Scope::File);
        }
    }
    reading.content
}

struct Reading<'f> {
    file: &'f Arc<str>,
    content: FileContent,
}

impl Reading<'_> {
    fn origin(&self, place: Place) -> Origin {
        Origin {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
        }
    }

    fn fault(&mut self, object: Option<(Kind, ObjectName)>, wrong: Wrong, scope: Scope) {
        self.content.faults.push(Fault {
            origin: Some(self.origin(wrong.place)),
            object,
            field: Some(wrong.path).filter(|path| !path.is_empty()),
            what: wrong.what,
            scope,
        });
    }

    fn document(&mut self, document: &Node) {
        // As `kubectl get -o yaml` prints several.
        if let Some("List") = document.get("kind").and_then(Node::text)
            && let Some(Value::List(items)) = document.get("items").map(|items| &items.value)
        {
            for item in items {
                self.object(item);
            }
            return;
        }
        match document.value {
            Value::Null => {}
            _ => self.object(document),
        }
    }

    fn object(&mut self, node: &Node) {
        let Value::Map(_) = node.value else {
            let what = "is no object; it begins with `apiVersion:` and `kind:`".to_owned();
            return self.fault(None, whole(node, what), Scope::Unnamed);
        };
        let api_version = node.get("apiVersion").and_then(Node::text);
        let kind = node.get("kind").and_then(Node::text);
        match (api_version, kind) {
            (Some(api::API_VERSION), Some(api::KIND)) => {
                self.typed(node, Kind::FIXSession, session);
            }
            (Some("v1"), Some("Service")) => self.typed(node, Kind::Service, service),
            (Some("discovery.k8s.io/v1"), Some("EndpointSlice")) => {
                self.typed(node, Kind::EndpointSlice, slice);
            }
            (Some(version), Some(kind)) => self.unknown(node, version, kind),
            (None, _) => self.lacks(node, "apiVersion"),
            (_, None) => self.lacks(node, "kind"),
        }
    }

    fn lacks(&mut self, node: &Node, field: &str) {
        let place = node.get(field).map_or(node.place, |node| node.place);
        let what = format!(
            "every object needs it as text: `{}` and `kind: {}` for a route",
            api::API_VERSION,
            api::KIND
        );
        let wrong = Wrong {
            place,
            path: field.to_owned(),
            what,
        };
        self.fault(None, wrong, Scope::Unnamed);
    }

    /// An object of another kind is not ours to judge, unless it looks like a slip of one that is.
    fn unknown(&mut self, node: &Node, version: &str, kind: &str) {
        let group = version.split('/').next().unwrap_or_default();
        let ours = group == api::GROUP;
        let known = [api::KIND, "Service", "EndpointSlice"];
        let near = node::nearest(kind, &known);
        let (field, what) = match (known.contains(&kind), near) {
            (true, _) if kind == api::KIND => (
                "apiVersion",
                format!("this release reads `{}`", api::API_VERSION),
            ),
            (true, _) if kind == "Service" => ("apiVersion", "a Service has `v1` here".to_owned()),
            (true, _) => (
                "apiVersion",
                "an EndpointSlice has `discovery.k8s.io/v1` here".to_owned(),
            ),
            (false, Some(near)) => (
                "kind",
                format!("there is no such kind; did you mean `{near}`?"),
            ),
            (false, None) if ours => (
                "kind",
                format!("there is no such kind; `{}` is one", api::KIND),
            ),
            (false, None) => {
                let what =
                    format!("an object of kind `{kind}` is not for the gateway; it is left out");
                return self.fault(None, whole(node, what), Scope::Nothing);
            }
        };
        let meant = match near {
            Some("Service") => Some(Kind::Service),
            Some("EndpointSlice") => Some(Kind::EndpointSlice),
            Some(_) => Some(Kind::FIXSession),
            None => None,
        };
        let object = meant.zip(object_name(node).ok());
        let scope = if object.is_some() {
            Scope::Object
        } else {
            Scope::Unnamed
        };
        let place = node.get(field).map_or(node.place, |node| node.place);
        let path = field.to_owned();
        self.fault(object, Wrong { place, path, what }, scope);
    }

    fn typed(
        &mut self,
        node: &Node,
        kind: Kind,
        read: fn(&Node, Option<Origin>) -> Result<Object, Wrong>,
    ) {
        let name = match object_name(node) {
            Ok(name) => name,
            // Which object it is cannot be told, so the file is not whole.
            Err(wrong) => return self.fault(None, wrong, Scope::Unnamed),
        };
        let bad_keys = node.bad_keys();
        if !bad_keys.is_empty() {
            for wrong in bad_keys {
                self.fault(Some((kind, name.clone())), wrong, Scope::Object);
            }
            return;
        }
        match read(node, Some(self.origin(node.place))) {
            Ok(object) => self.content.objects.push((name, object)),
            Err(wrong) => self.fault(Some((kind, name)), wrong, Scope::Object),
        }
    }
}

fn whole(node: &Node, what: String) -> Wrong {
    Wrong {
        place: node.place,
        path: String::new(),
        what,
    }
}

fn object_name(node: &Node) -> Result<ObjectName, Wrong> {
    let metadata = node.get("metadata").unwrap_or(node);
    let wrong = |at: &Node, path: &str, what: &str| Wrong {
        place: at.place,
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let name = metadata
        .get("name")
        .filter(|_| node.get("metadata").is_some())
        .ok_or_else(|| {
            wrong(
                metadata,
                "metadata.name",
                "is missing; every object needs one",
            )
        })?;
    let text = name
        .text()
        .ok_or_else(|| wrong(name, "metadata.name", "wants text; put it in quotes"))?;
    if !api::is_name(text) {
        let what = "has lower-case letters, digits, `-` and `.` only, and 253 of them at most";
        return Err(wrong(name, "metadata.name", what));
    }
    let namespace = match metadata.get("namespace") {
        None => NAMESPACE_DEFAULT,
        Some(node) => match &node.value {
            Value::Null => NAMESPACE_DEFAULT,
            Value::Text(text) if api::is_label(text) => text,
            _ => {
                let what = "has lower-case letters, digits and `-` only, and 63 of them at most";
                return Err(wrong(node, "metadata.namespace", what));
            }
        },
    };
    Ok(ObjectName::new(namespace, text))
}

fn session(node: &Node, origin: Option<Origin>) -> Result<Object, Wrong> {
    check_metadata(node)?;
    Ok(Object::FIXSession(Arc::new(Located {
        object: session_form(node)?,
        origin,
        places: node.get("spec").map_or_else(Default::default, |spec| {
            let mut places = spec.places_below("spec");
            if let Some(name) = node.get("metadata").and_then(|it| it.get("name")) {
                places.insert("metadata.name", name.place.line, name.place.column);
            }
            places
        }),
        identity: None,
    })))
}

/// What a FIXSession says.
pub(super) fn session_form(node: &Node) -> Result<FIXSessionSpec, Wrong> {
    let session: FIXSession = node.parse().map_err(|wrong| Wrong {
        what: hint(&wrong),
        ..wrong
    })?;
    Ok(session.spec)
}

/// What a type alone cannot say.
fn hint(wrong: &Wrong) -> String {
    let example = match wrong.path.as_str() {
        "spec.target" => "`target: { service: { name: algo-engine, port: 9876 } }`",
        "spec.target.service" => "`service: { name: algo-engine, port: 9876 }`",
        path if path.starts_with("spec.matchFields.")
            && path.matches('.').count() == 2
            && wrong.what.starts_with("wants") =>
        {
            "`SenderCompID49: { value: BROKER_A }`"
        }
        _ => return wrong.what.clone(),
    };
    format!(
        "{}, as in {example}",
        wrong.what.trim_end_matches("; write it")
    )
}

fn check_metadata(node: &Node) -> Result<(), Wrong> {
    let Some(Value::Map(entries)) = node.get("metadata").map(|metadata| &metadata.value) else {
        return Ok(());
    };
    let unknown = entries.iter().find_map(|(key, _)| {
        let name = key.text()?;
        (!METADATA_FIELDS.contains(&name)).then_some((key, name))
    });
    match unknown {
        None => Ok(()),
        Some((key, name)) => Err(Wrong {
            place: key.place,
            path: format!("metadata.{name}"),
            what: node::nearest(name, METADATA_FIELDS).map_or_else(
                || {
                    "there is no such field; notes of your own belong into `metadata.annotations`"
                        .to_owned()
                },
                |near| format!("there is no such field; did you mean `{near}`?"),
            ),
        }),
    }
}

fn service(node: &Node, origin: Option<Origin>) -> Result<Object, Wrong> {
    Ok(Object::Service(Arc::new(Located {
        object: service_form(node)?,
        origin,
        places: Places::default(),
        identity: None,
    })))
}

/// What a Service says, as far as it is needed.
pub(super) fn service_form(node: &Node) -> Result<Service, Wrong> {
    let service: core_v1::Service = node.parse()?;
    Service::try_from(service).map_err(|error| {
        let annotation = error.annotation();
        let written = node
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations")?.get(annotation));
        Wrong {
            place: written.map_or(node.place, |node| node.place),
            path: format!("metadata.annotations.{annotation}"),
            what: error.to_string(),
        }
    })
}

fn slice(node: &Node, origin: Option<Origin>) -> Result<Object, Wrong> {
    Ok(Object::EndpointSlice(Arc::new(Located {
        object: slice_form(node)?,
        origin,
        places: Places::default(),
        identity: None,
    })))
}

/// What an EndpointSlice says, as far as it is needed.
pub(super) fn slice_form(node: &Node) -> Result<EndpointSlice, Wrong> {
    let slice: discovery_v1::EndpointSlice = node.parse()?;
    EndpointSlice::try_from(slice).map_err(|error| {
        let place = node
            .get(error.path())
            .or_else(|| {
                node.get("metadata")
                    .and_then(|metadata| metadata.get("labels"))
            })
            .map_or(node.place, |node| node.place);
        Wrong {
            place,
            path: error.path().to_owned(),
            what: error.to_string(),
        }
    })
}
