//! What do routes look like that stand in the filter's own configuration, where there is no control plane?
//!
//! The keys are those of a FIXSession's `spec`, but for the target: a route names one of Envoy's clusters, which counts
//! as ready always. Same rules, same table, same refusals as from the control plane.
//!
//! INVARIANT: an error names the route and the field, and no value: what is matched may be what `redact` hides.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::limits;
use crate::rule::{FieldSpec, RouteName, Rule, RuleSpec, Target};
use crate::table::{CompileError, Table};

/// Revision of a table of inline routes: it is never replaced.
pub const REVISION: u64 = 1;

/// Well-formed routes of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineRoutes(Vec<Rule>);

impl InlineRoutes {
    /// Their table.
    ///
    /// # Errors
    /// Conflicts or an exceeded bound, as one sentence.
    pub fn table(&self) -> Result<Table, String> {
        Table::compile(&self.0, REVISION).map_err(|error| match error {
            CompileError::Conflicts(conflicts) => {
                let mut said: Vec<String> = conflicts
                    .shown
                    .iter()
                    .map(|conflict| {
                        format!(
                            "route `{}` {}; {}",
                            conflict.second,
                            conflict.what(&format!("route `{}`", conflict.first)),
                            conflict.mend()
                        )
                    })
                    .collect();
                said.extend(conflicts.more());
                said.join("; ")
            }
            CompileError::Bound(what, max) => {
                format!("the routes make a table of more than {max} {what}")
            }
        })
    }
}

impl<'de> Deserialize<'de> for InlineRoutes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // One by one, so that whatever is wrong is told with its route.
        let written = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        let mut rules: Vec<Rule> = Vec::with_capacity(written.len().min(limits::ROUTES_MAX));
        for (index, route) in written.iter().enumerate() {
            let rule = read(route.get()).map_err(|what| {
                let name = named(route.get()).map_or_else(String::new, |name| format!(" `{name}`"));
                D::Error::custom(format!("routes[{index}]{name}: {what}"))
            })?;
            rules.push(rule);
        }
        let mut names: Vec<&RouteName> = rules.iter().map(Rule::name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(D::Error::custom(format!(
                "two routes are named `{name}`; give each a name of its own"
            )));
        }
        Ok(Self(rules))
    }
}

/// A route as written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Route {
    name: String,
    cluster: String,
    #[serde(default)]
    match_fields: MatchFields,
    source_ranges: Option<Vec<String>>,
    #[serde(default)]
    default: bool,
    priority: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Field {
    value: Option<String>,
    pattern: Option<String>,
    #[serde(default)]
    redact: bool,
    #[serde(default = "yes")]
    log: bool,
}

const fn yes() -> bool {
    true
}

/// Keys as they stand there, twice or not: the rule refuses what stands there twice.
#[derive(Default)]
struct MatchFields(Vec<(String, FieldSpec)>);

impl<'de> Deserialize<'de> for MatchFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = MatchFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MatchFields, A::Error> {
                let mut fields = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if fields.len() > limits::ROUTE_FIELDS_MAX {
                        return Err(A::Error::custom(format!(
                            "matchFields: more than {} fields",
                            limits::ROUTE_FIELDS_MAX
                        )));
                    }
                    let field = map.next_value::<Box<RawValue>>()?;
                    let field = serde_json::from_str::<Field>(field.get()).map_err(|error| {
                        A::Error::custom(format!("matchFields.{key}: {}", without_values(&error)))
                    })?;
                    let spec = FieldSpec {
                        value: field.value,
                        pattern: field.pattern,
                        redact: field.redact,
                        hidden: !field.log,
                    };
                    fields.push((key, spec));
                }
                Ok(MatchFields(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

fn read(json: &str) -> Result<Rule, String> {
    let route: Route = serde_json::from_str(json).map_err(|error| without_values(&error))?;
    if !is_name(&route.name) {
        return Err(format!(
            "name: has 1 to {} characters, none of them a control character",
            limits::ROUTE_NAME_BYTES_MAX
        ));
    }
    if route.cluster.is_empty() {
        return Err("cluster: names one of Envoy's clusters".to_string());
    }
    let (namespace, name) = route.name.split_once('/').unwrap_or(("", &route.name));
    let spec = RuleSpec {
        name: RouteName {
            namespace: namespace.to_string(),
            name: name.to_string(),
        },
        match_fields: route.match_fields.0,
        source_ranges: route.source_ranges,
        default: route.default,
        priority: route.priority,
        target: Target::cluster(route.cluster),
        hold: crate::rule::Hold::default(),
    };
    Rule::new(spec).map_err(|errors| {
        let said: Vec<String> = errors
            .iter()
            .map(|error| {
                let path = error.path();
                // Here there is no `spec` round the fields.
                format!("{}: {error}", path.strip_prefix("spec.").unwrap_or(&path))
            })
            .collect();
        said.join("; ")
    })
}

/// The name of a route that may be wrong in every other way.
fn named(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named = serde_json::from_str::<Named>(json).ok()?.name;
    is_name(&named).then_some(named)
}

fn is_name(name: &str) -> bool {
    (1..=limits::ROUTE_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// What a reader of JSON says, without the value that it met and without the place, which is that within a part.
pub(crate) fn without_values(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let said = said
        .rsplit_once(" at line ")
        .map_or(&*said, |(what, _)| what);
    for wrong in ["invalid type: ", "invalid value: "] {
        if let Some((found, wanted)) = said
            .strip_prefix(wrong)
            .and_then(|rest| rest.rsplit_once(", expected "))
        {
            let kind = found.split(['`', '"']).next().unwrap_or_default().trim();
            return format!("{wrong}{kind}, expected {wanted}");
        }
    }
    said.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use crate::config::Settings;
    use crate::range::SourceAddress;
    use crate::table::Lookup;

    use super::*;

    fn routes(json: &str) -> Result<Table, String> {
        let json = format!(r#"{{"routes":{json}}}"#);
        Settings::parse(json.as_bytes())?.routes.unwrap().table()
    }

    #[test]
    fn inline_routes_make_the_table_that_a_control_plane_would_send() {
        let table = routes(
            r#"[
                {"name": "trading/broker-a", "cluster": "equities",
                 "matchFields": {"SenderCompID49": {"value": "BROKER_A", "redact": true}}},
                {"name": "office", "cluster": "fx", "sourceRanges": ["10.0.0.0/8"], "priority": 5},
                {"name": "rest", "cluster": "equities", "default": true, "priority": 1}
            ]"#,
        )
        .unwrap();
        let names: Vec<_> = table
            .routes()
            .map(|route| {
                (
                    table.route_name(route).unwrap(),
                    table.target(route).unwrap(),
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                (("", "office"), "fx"),
                (("", "rest"), "equities"),
                (("trading", "broker-a"), "equities")
            ]
        );
        let from = |address| table.lookup(&table.slots(SourceAddress::of_socket(address)));
        assert_ne!(from("10.1.2.3:4"), from("192.0.2.1:4"));
        assert_ne!(from("192.0.2.1:4"), Lookup::None);
        assert_eq!(table.revision(), REVISION);
        assert_eq!(routes("[]").unwrap().route_count(), 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_route_and_field_and_without_a_value() {
        for (json, wanted) in [
            (
                r#"[{"name":"a","cluster":"c","matchFields":{"SenderCompID49":{"value":"hunter2","pattern":"hunter2*"}}}]"#,
                "routes[0] `a`: matchFields.SenderCompID49: give exactly one of `value` and `pattern`",
            ),
            (
                r#"[{"name":"a","cluster":"c","colour":"hunter2"}]"#,
                "routes[0] `a`: unknown field `colour`, expected one of `name`, `cluster`, `matchFields`, `sourceRanges`, `default`, `priority`",
            ),
            (
                r#"[{"name":"a","cluster":"c","matchFields":{"SenderCompID49":{"Value":"hunter2"}}}]"#,
                "routes[0] `a`: matchFields.SenderCompID49: unknown field `Value`, expected one of `value`, `pattern`, `redact`, `log`",
            ),
            (
                r#"[{"name":"a","cluster":"c","matchFields":{"SenderCompID49":"hunter2, expected x"}}]"#,
                "routes[0] `a`: matchFields.SenderCompID49: invalid type: string, expected struct Field",
            ),
            (
                r#"[{"name":"a","cluster":"c","matchFields":{"SenderCompID49":{"value":1234}}}]"#,
                "routes[0] `a`: matchFields.SenderCompID49: invalid type: integer, expected a string",
            ),
            (
                r#"[{"name":"a","cluster":"c","matchFields":{"A49":{"value":"x"},"A49":{"value":"y"}}}]"#,
                "routes[0] `a`: matchFields.A49: `A49` and `A49` are the same tag; keep one",
            ),
            (
                r#"[{"name":"a","name":"b","cluster":"c"}]"#,
                "routes[0]: duplicate field `name`",
            ),
            (
                r#"[{"name":"a","cluster":"c","default":true,"priority":1},{"cluster":"c"}]"#,
                "routes[1]: missing field `name`",
            ),
            (
                r#"[{"name":"a"}]"#,
                "routes[0] `a`: missing field `cluster`",
            ),
            (
                r#"[{"name":"a","cluster":"","default":true,"priority":1}]"#,
                "routes[0] `a`: cluster: names one of Envoy's clusters",
            ),
            (
                r#"[{"name":"a","cluster":"c","sourceRanges":["10.0.0.1/8","::ffff:10.0.0.0/104"],"priority":1}]"#,
                "routes[0] `a`: sourceRanges[0]: `10.0.0.1/8` has bits beyond its length; write `10.0.0.0/8` for the range, \
                 or `10.0.0.1/32` for the one address; sourceRanges[1]: `::ffff:10.0.0.0/104` is an IPv4 range written as IPv6; \
                 write `10.0.0.0/8`",
            ),
            (
                r#"[{"name":"a","cluster":"c","default":true,"priority":1},{"name":"a","cluster":"c","default":true,"priority":2}]"#,
                "two routes are named `a`; give each a name of its own",
            ),
            (
                r#"[{"name":"a","cluster":"c","default":true,"priority":1},{"name":"b","cluster":"c","default":true,"priority":1}]"#,
                "route `b` is a default route of the same `priority` 1 as route `a`; give one of them another `priority`, or delete one",
            ),
            ("{}", "invalid type: map, expected a sequence"),
        ] {
            assert_eq!(routes(json).unwrap_err(), wanted, "{json}");
        }
    }
}
