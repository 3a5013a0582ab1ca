//! How does a listener take PROXY protocol headers from the load balancers that may send them? A finished listener in,
//! the same listener behind load balancers out; pure.
//!
//! Envoy's listener filter takes a header from anybody. So each filter chain is doubled: one for the trusted addresses,
//! one for all others, and each tells our filter which of the two it is ([`fixgw_core::path`]).
//!
//! INVARIANT: the filters behind stay as they are, so that all chains share one VM.

use std::time::Duration;

use fixgw_core::names;
use fixgw_core::path::{self, Standing};
use fixgw_core::range::SourceRange;
use serde_json::{Map, Value, json};

/// Whether a connection without a header is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Headers {
    /// A connection without a header is reset
    Required,
    /// A connection without a header is the counterparty's own
    Optional,
}

/// Who may send headers, and who must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who must.
    pub headers: Headers,
    /// Addresses of the load balancers.
    pub trusted: Vec<SourceRange>,
    /// Time for a whole header.
    pub timeout: Duration,
}

const LISTENER_FILTER: &str =
    "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
const SET_FILTER_STATE: &str =
    "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config";

impl ProxyProtocol {
    /// Puts a listener behind load balancers; none if it is no listener.
    #[must_use]
    pub fn take_headers(&self, listener: &Value) -> Option<Value> {
        let mut listener = listener.as_object()?.clone();
        let name = listener.get("name")?.clone();
        let timeout = format!(
            "{}.{:03}s",
            self.timeout.as_secs(),
            self.timeout.subsec_millis()
        );
        listener.insert("listener_filters_timeout".to_owned(), json!(timeout));
        // Before any other: the header stands before the first byte of TLS.
        let mut listener_filters = vec![json!({
            "name": "envoy.filters.listener.proxy_protocol",
            "typed_config": {
                "@type": LISTENER_FILTER,
                "stat_prefix": name,
                "allow_requests_without_proxy_protocol": self.headers == Headers::Optional,
            },
        })];
        listener_filters.extend(list(&listener, "listener_filters"));
        listener.insert("listener_filters".to_owned(), json!(listener_filters));
        let mut chains = Vec::new();
        for chain in list(&listener, "filter_chains") {
            chains.push(self.trusted_chain(&chain)?);
            chains.push(with_standing(chain.as_object()?, self.of_others()));
        }
        listener.insert("filter_chains".to_owned(), json!(chains));
        Some(Value::Object(listener))
    }

    const fn of_others(&self) -> Standing {
        match self.headers {
            Headers::Required => Standing::Barred,
            Headers::Optional => Standing::Untrusted,
        }
    }

    fn trusted_chain(&self, chain: &Value) -> Option<Value> {
        let mut chain = chain.as_object()?.clone();
        let condition = chain
            .entry("filter_chain_match")
            .or_insert_with(|| json!({}));
        // The direct source: the other one is what the header says.
        condition.as_object_mut()?.insert(
            "direct_source_prefix_ranges".to_owned(),
            self.trusted.iter().map(|range| prefix(*range)).collect(),
        );
        Some(with_standing(&chain, Standing::Trusted))
    }
}

fn list(listener: &Map<String, Value>, key: &str) -> Vec<Value> {
    listener
        .get(key)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn prefix(range: SourceRange) -> Value {
    let text = range.to_string();
    let address = text.split('/').next().unwrap_or_default();
    json!({ "address_prefix": address, "prefix_len": range.form().length() })
}

/// A chain that says, before our filter asks, what it is.
fn with_standing(chain: &Map<String, Value>, standing: Standing) -> Value {
    let mut chain = chain.clone();
    let mut filters = vec![json!({
        "name": "envoy.filters.network.set_filter_state",
        "typed_config": {
            "@type": SET_FILTER_STATE,
            "on_new_connection": [{
                "object_key": names::FILTER_STATE_PATH,
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": { "inline_string": path::format(standing) } },
            }],
        },
    })];
    filters.extend(list(&chain, "filters"));
    chain.insert("filters".to_owned(), json!(filters));
    Value::Object(chain)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    fn listener(headers: Headers, chain: &Value) -> Value {
        let proxy_protocol = ProxyProtocol {
            headers,
            trusted: vec![
                "10.1.0.0/16".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            timeout: Duration::from_millis(10_050),
        };
        let finished = json!({
            "name": "main",
            "listener_filters": [{ "name": "tls_inspector" }],
            "filter_chains": [chain],
        });
        proxy_protocol.take_headers(&finished).unwrap()
    }

    fn chain() -> Value {
        json!({
            "name": "main",
            "transport_socket": { "name": "tls" },
            "filters": [{ "name": "fixgw" }, { "name": "tcp_proxy" }],
        })
    }

    fn standing(chain: &Value) -> &str {
        let state = &chain["filters"][0]["typed_config"]["on_new_connection"][0];
        let format = &state["format_string"]["text_format_source"]["inline_string"];
        format.as_str().unwrap().split(' ').next().unwrap()
    }

    #[test]
    fn headers_count_from_the_trusted_addresses_alone_and_the_chains_behind_are_alike() {
        let listener = listener(Headers::Optional, &chain());
        let chains = listener["filter_chains"].as_array().unwrap();
        assert_eq!(chains.len(), 2);
        let ranges = &chains[0]["filter_chain_match"]["direct_source_prefix_ranges"];
        assert_eq!(
            *ranges,
            json!([
                { "address_prefix": "10.1.0.0", "prefix_len": 16 },
                { "address_prefix": "2001:db8::", "prefix_len": 32 },
            ])
        );
        assert_eq!(chains[1]["filter_chain_match"], Value::Null);
        assert_eq!(
            (standing(&chains[0]), standing(&chains[1])),
            ("trusted", "untrusted")
        );
        for made in chains {
            assert_eq!(made["name"], "main");
            assert_eq!(made["transport_socket"], chain()["transport_socket"]);
            assert_eq!(
                made["filters"].as_array().unwrap()[1..],
                chain()["filters"].as_array().unwrap()[..]
            );
        }
    }

    #[test]
    fn the_header_is_read_before_anything_else_and_within_its_time() {
        let listener = listener(Headers::Optional, &chain());
        let filters = listener["listener_filters"].as_array().unwrap();
        assert_eq!(
            filters[0]["typed_config"]["allow_requests_without_proxy_protocol"],
            true
        );
        assert_eq!(filters[1]["name"], "tls_inspector");
        assert_eq!(listener["listener_filters_timeout"], "10.050s");
    }

    #[test]
    fn where_headers_are_required_nobody_else_gets_in() {
        let listener = listener(Headers::Required, &chain());
        let filter = &listener["listener_filters"][0]["typed_config"];
        assert_eq!(filter["allow_requests_without_proxy_protocol"], false);
        assert_eq!(standing(&listener["filter_chains"][1]), "barred");
    }

    #[test]
    fn what_a_chain_matches_already_stays() {
        let mut chain = chain();
        chain["filter_chain_match"] = json!({ "server_names": ["fix.example"] });
        let listener = listener(Headers::Required, &chain);
        for made in listener["filter_chains"].as_array().unwrap() {
            assert_eq!(
                made["filter_chain_match"]["server_names"],
                json!(["fix.example"])
            );
        }
    }
}
