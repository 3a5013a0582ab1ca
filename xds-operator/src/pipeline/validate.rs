//! Which objects are well formed, each by itself? Pure: a FIXSession becomes a core [`Rule`], or faults with the field
//! and the place of each.
//!
//! Never looks at two objects at once; that is `accept`.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::rule::Rule;

use super::advice;
use super::set::Valid;
use crate::api::{self, FIXSessionSpec};
use crate::world::{Alongside, Fault, Kind, Located, ObjectName, Objects, Scope};

/// What is left after each object was looked at.
#[derive(Clone, Debug, Default)]
pub struct Validated {
    /// Well-formed ones.
    pub rules: Arc<BTreeMap<ObjectName, Valid>>,
    /// What is wrong with the others.
    pub faults: Vec<Fault>,
}

/// Looks at every FIXSession.
#[must_use]
pub fn validate(sessions: &Objects<FIXSessionSpec>) -> Validated {
    validate_anew(sessions, &BTreeMap::new())
}

/// Looks at every FIXSession that is not among those that were found well formed before.
#[must_use]
pub fn validate_anew(
    sessions: &Objects<FIXSessionSpec>,
    before: &BTreeMap<ObjectName, Valid>,
) -> Validated {
    let (mut rules, mut faults) = (BTreeMap::new(), Vec::new());
    let mut before = Alongside::new(before);
    for (name, session) in sessions {
        let same = before
            .get(name)
            .filter(|before| Arc::ptr_eq(&before.session, session));
        let valid = same.map_or_else(|| valid(name, session), |before| Ok(before.clone()));
        match valid {
            Ok(valid) => {
                rules.insert(name.clone(), valid);
            }
            Err(wrongs) => {
                let fault = |(field, what): (String, String)| Fault {
                    origin: session.origin_of(&field),
                    object: Some((Kind::FIXSession, name.clone())),
                    field: Some(field),
                    what,
                    scope: Scope::Object,
                };
                faults.extend(wrongs.into_iter().map(fault));
            }
        }
    }
    Validated {
        rules: Arc::new(rules),
        faults,
    }
}

/// One FIXSession, or everything that is wrong with it: field and reason.
///
/// # Errors
/// When anything is.
pub fn valid(
    name: &ObjectName,
    session: &Arc<Located<FIXSessionSpec>>,
) -> Result<Valid, Vec<(String, String)>> {
    let spec = &session.object;
    let mut wrongs = Vec::new();
    let rule = Rule::new(spec.rule(name.route()));
    if let Err(errors) = &rule {
        wrongs.extend(errors.iter().map(|error| (error.path(), error.to_string())));
    }
    let mut wrong = |field: &str, what: String| wrongs.push((field.to_owned(), what));
    if !api::is_label(&spec.target.service.name) {
        wrong(
            "spec.target.service.name",
            "is no name of a Service; it has lower-case letters, digits and `-`, 63 at most"
                .to_owned(),
        );
    }
    if spec.target.service.port == 0 {
        wrong(
            "spec.target.service.port",
            "wants the Service's port, from 1 to 65535".to_owned(),
        );
    }
    if spec
        .max_held_connections
        .is_some_and(|max| max > api::HELD_CONNECTIONS_MAX)
    {
        let most = api::HELD_CONNECTIONS_MAX;
        wrong(
            "spec.maxHeldConnections",
            format!("is from 0 to {most}, which is what a whole gateway holds"),
        );
    }
    if let Some(Err(error)) = spec.hold_timeout.as_deref().map(api::duration_ms) {
        wrong("spec.holdTimeout", error.to_string());
    }
    match rule {
        Ok(rule) if wrongs.is_empty() => Ok(Valid {
            session: session.clone(),
            remarks: advice::remarks(name, session, &rule),
            rule,
        }),
        Ok(_) | Err(_) => Err(wrongs),
    }
}
