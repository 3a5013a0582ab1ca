//! Through whom did a connection come, and whose word counts for where it came from?
//!
//! Envoy takes a PROXY protocol header away before any filter of the chain sees the connection, whoever sent it, and from
//! then on reports the addresses in it as the connection's own. So a listener that takes such headers has one filter
//! chain for the addresses that may send them and one for all others. Each says what it is, and names the addresses of
//! the TCP connection beside those that Envoy reports, in one line of filter state ([`names::FILTER_STATE_PATH`]); the
//! control plane writes its format ([`format`]), the filter reads it ([`Path::read`]).
//!
//! INVARIANT: nobody but a trusted address can say where a connection comes from; what cannot be read is not trusted.

use alloc::format;
use alloc::string::{String, ToString};

#[cfg(doc)]
use crate::names;

/// What a filter chain says about PROXY protocol headers from its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They count.
    Trusted,
    /// They do not count, and are refused. Connections without one are welcome.
    Untrusted,
    /// As [`Standing::Untrusted`]; and Envoy lets nobody in without a header, so each connection had one.
    Barred,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Trusted, Self::Untrusted, Self::Barred];

    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Barred => "barred",
        }
    }
}

/// What a filter chain of this standing writes into filter state, as a format string of Envoy's: the addresses of the
/// TCP connection, and those that a header may have put in their place. Without a header they are the same.
#[must_use]
pub fn format(standing: Standing) -> String {
    format!(
        "{} %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% \
         %DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%",
        standing.label()
    )
}

/// How a connection came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// From the counterparty itself, as far as the gateway can know.
    Direct {
        /// Address and port of the counterparty.
        source: String,
    },
    /// Through a load balancer that is trusted.
    Through {
        /// Address and port of the counterparty, as the header says.
        source: String,
        /// Address and port of the load balancer.
        proxy: String,
    },
    /// With a header from an address that is not trusted.
    Untrusted {
        /// Address and port of who sent it.
        source: String,
        /// Whom it claims to speak for, if for anybody.
        claimed: Option<String>,
    },
}

impl Path {
    /// `state` is what the filter chain wrote, none where the listener takes no headers; `source` is the address that
    /// Envoy reports.
    #[must_use]
    pub fn read(state: Option<&str>, source: &str) -> Self {
        let Some(state) = state else {
            return Self::Direct {
                source: source.to_string(),
            };
        };
        match parse(state) {
            Some((standing, remote, local)) => Self::judge(standing, remote, local),
            None => Self::Untrusted {
                source: source.to_string(),
                claimed: None,
            },
        }
    }

    fn judge(standing: Standing, remote: Pair<'_>, local: Pair<'_>) -> Self {
        let source = remote.direct.to_string();
        match standing {
            // Without a header, or with one that speaks for nobody (LOCAL, UNKNOWN): the load balancer itself.
            Standing::Trusted if remote.same() => Self::Direct { source },
            Standing::Trusted => Self::Through {
                source: remote.reported.to_string(),
                proxy: source,
            },
            Standing::Untrusted if remote.same() && local.same() => Self::Direct { source },
            Standing::Untrusted | Standing::Barred => Self::Untrusted {
                source,
                claimed: (!remote.same()).then(|| remote.reported.to_string()),
            },
        }
    }

    /// Address and port that count as the counterparty's.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Direct { source }
            | Self::Through { source, .. }
            | Self::Untrusted { source, .. } => source,
        }
    }

    /// Address and port of the load balancer that spoke for the counterparty.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        match self {
            Self::Through { proxy, .. } => Some(proxy),
            Self::Direct { .. } | Self::Untrusted { .. } => None,
        }
    }

    /// Why the connection is refused, if it is, whatever it sends.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let Self::Untrusted { claimed, .. } = self else {
            return None;
        };
        let claim = claimed
            .as_ref()
            .map(|claimed| format!("; it claims {claimed}"))
            .unwrap_or_default();
        Some(format!(
            "a PROXY protocol header from an address that is not trusted{claim}"
        ))
    }
}

/// An address of the TCP connection, and the one that Envoy reports in its place.
#[derive(Clone, Copy)]
struct Pair<'s> {
    direct: &'s str,
    reported: &'s str,
}

impl Pair<'_> {
    fn same(self) -> bool {
        self.direct == self.reported
    }
}

fn parse(state: &str) -> Option<(Standing, Pair<'_>, Pair<'_>)> {
    let mut words = state.split(' ');
    let label = words.next()?;
    let standing = Standing::ALL
        .into_iter()
        .find(|standing| standing.label() == label)?;
    let mut pair = || {
        Some(Pair {
            direct: words.next()?,
            reported: words.next()?,
        })
    };
    let (remote, local) = (pair()?, pair()?);
    words.next().is_none().then_some((standing, remote, local))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const BALANCER: &str = "192.0.2.1:40000";
    const CLIENT: &str = "203.0.113.7:1111";
    const HERE: &str = "192.0.2.9:9880";
    const THERE: &str = "198.51.100.9:2222";

    fn path(standing: &str, remote: &str, local: &str) -> Path {
        let state = format!("{standing} {BALANCER} {remote} {HERE} {local}");
        Path::read(Some(&state), remote)
    }

    fn untrusted(claimed: Option<&str>) -> Path {
        Path::Untrusted {
            source: BALANCER.to_string(),
            claimed: claimed.map(ToString::to_string),
        }
    }

    #[test]
    fn where_no_headers_are_taken_the_connection_speaks_for_itself() {
        let path = Path::read(None, CLIENT);
        assert_eq!((path.source(), path.proxy()), (CLIENT, None));
        assert_eq!(path.refusal(), None);
    }

    #[test]
    fn a_trusted_header_says_who_the_counterparty_is() {
        let path = path("trusted", CLIENT, THERE);
        assert_eq!((path.source(), path.proxy()), (CLIENT, Some(BALANCER)));
        assert_eq!(path.refusal(), None);
    }

    #[test]
    fn a_trusted_address_that_speaks_for_nobody_speaks_for_itself() {
        let path = path("trusted", BALANCER, HERE);
        assert_eq!((path.source(), path.proxy()), (BALANCER, None));
    }

    #[test]
    fn a_header_from_elsewhere_is_refused_and_never_believed() {
        let path = path("untrusted", CLIENT, THERE);
        assert_eq!(path, untrusted(Some(CLIENT)));
        assert_eq!((path.source(), path.proxy()), (BALANCER, None));
        assert!(path.refusal().unwrap().contains(CLIENT));
    }

    #[test]
    fn a_header_that_forges_the_destination_alone_is_refused_too() {
        assert_eq!(path("untrusted", BALANCER, THERE), untrusted(None));
    }

    #[test]
    fn from_elsewhere_without_a_header_is_direct_unless_headers_are_required() {
        let source = BALANCER.to_string();
        assert_eq!(path("untrusted", BALANCER, HERE), Path::Direct { source });
        assert_eq!(path("barred", BALANCER, HERE), untrusted(None));
        assert_eq!(path("barred", CLIENT, HERE), untrusted(Some(CLIENT)));
    }

    #[test]
    fn what_cannot_be_read_is_not_trusted() {
        for state in ["", "trusted", "trusted a b c", "trusted a b c d e", "-"] {
            let path = Path::read(Some(state), CLIENT);
            assert!(path.refusal().is_some(), "{state}");
        }
    }

    #[test]
    fn each_standing_has_a_format_of_its_own_that_is_read_back() {
        for standing in Standing::ALL {
            let written = format(standing).replace('%', "");
            assert_eq!(parse(&written).unwrap().0, standing);
        }
    }
}
