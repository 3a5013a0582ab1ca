//! Where do the names of Services lead, for who is in a pod?
//!
//! To the addresses of their ready endpoints, as those of headless Services do, for there is no proxy behind a Service's own address. A
//! DNS server says so: a hosts file would do for most programs, but Envoy looks at a changed one after a minute.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::follow::Change;
use crate::inside::HOST;

/// The port that resolvers ask.
const PORT: u16 = 53;

/// Under this all names are.
const DOMAIN: &str = "cluster.local";

/// Bytes of a message that needs no other way than UDP.
const MESSAGE_BYTES_MAX: usize = 512;

/// Seconds for which an answer may be kept.
const TTL: u32 = 1;

/// A name that is there, or not; DNS's numbers.
const FOUND: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// DNS's numbers of an address of IPv4, and of the Internet.
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// What is known of the EndpointSlices.
#[derive(Clone, Default)]
pub(super) struct Names(Arc<Mutex<BTreeMap<Key, Slice>>>);

/// Namespace and name of an EndpointSlice.
type Key = (String, String);

struct Slice {
    service: String,
    /// Each with the host name that a StatefulSet gives.
    addresses: Vec<(Ipv4Addr, Option<String>)>,
}

impl Names {
    /// Answers in a thread of its own, as long as the process lives.
    pub(super) fn serve() -> Self {
        let names = Self::default();
        let socket = UdpSocket::bind((HOST, PORT)).expect("the port is free in here");
        let known = names.clone();
        std::thread::spawn(move || {
            let mut message = [0; MESSAGE_BYTES_MAX];
            while let Ok((length, from)) = socket.recv_from(&mut message) {
                if let Some(answer) = known.answer(&message[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        names
    }

    /// What a resolver in this namespace is configured with, as Kubernetes does it.
    pub(super) fn configuration(namespace: &str) -> String {
        format!(
            "nameserver {HOST}\nsearch {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n"
        )
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Slice>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a change of EndpointSlices.
    pub(super) fn hear(&self, change: Change) {
        let mut slices = self.lock();
        match change {
            Change::All(objects) => {
                *slices = objects
                    .iter()
                    .map(|object| (key(object), slice(object)))
                    .collect();
            }
            Change::Deleted(object) => {
                slices.remove(&key(&object));
            }
            Change::There(object) => {
                slices.insert(key(&object), slice(&object));
            }
        }
    }

    /// The addresses that a whole name leads to; none: there is no such name.
    fn look_up(&self, name: &str) -> Vec<Ipv4Addr> {
        let Some(name) = name.strip_suffix(&format!(".svc.{DOMAIN}")) else {
            return Vec::new();
        };
        let labels: Vec<&str> = name.split('.').collect();
        let (pod, service, namespace) = match labels[..] {
            ["kubernetes", "default"] => return vec![HOST.parse().expect("an address")],
            [service, namespace] => (None, service, namespace),
            [pod, service, namespace] => (Some(pod), service, namespace),
            _ => return Vec::new(),
        };
        let slices = self.lock();
        let slices = slices
            .iter()
            .filter(|((of, _), slice)| of == namespace && slice.service == service);
        let addresses = slices.flat_map(|(_, slice)| &slice.addresses);
        let wanted = addresses.filter(|(_, of)| pod.is_none() || of.as_deref() == pod);
        wanted.map(|(address, _)| *address).collect()
    }

    /// For who reads why a test failed.
    pub(super) fn shown(&self) -> String {
        let slices = self.lock();
        let lines = slices.iter().map(|((namespace, _), slice)| {
            format!("{}.{namespace}: {:?}\n", slice.service, slice.addresses)
        });
        lines.collect()
    }

    /// None: it is no question.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (head, mut rest) = message.split_at_checked(12)?;
        let mut name = String::new();
        loop {
            let (length, more) = rest.split_first()?;
            if *length == 0 {
                rest = more;
                break;
            }
            let (label, more) = more.split_at_checked(usize::from(*length))?;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
            rest = more;
        }
        let (asked, _) = rest.split_at_checked(4)?;
        let question = &message[12..message.len() - rest.len() + 4];
        let addresses = self.look_up(&name);
        let code = if addresses.is_empty() {
            NO_SUCH_NAME
        } else {
            FOUND
        };
        let asks_for = u16::from_be_bytes([asked[0], asked[1]]);
        // Of another type there is nothing, but the name is there.
        let fitting = (MESSAGE_BYTES_MAX - 12 - question.len()) / 16;
        let given: Vec<Ipv4Addr> = addresses
            .into_iter()
            .filter(|_| asks_for == TYPE_A)
            .take(fitting)
            .collect();
        let mut answer = head[..2].to_vec();
        // An answer, with authority; recursion is wanted, and there.
        answer.extend([0x85, 0x80 | code, 0, 1]);
        answer.extend(u16::try_from(given.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        for address in given {
            // The name is that of the question.
            answer.extend([0xc0, 12]);
            answer.extend(TYPE_A.to_be_bytes());
            answer.extend(CLASS_IN.to_be_bytes());
            answer.extend(TTL.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}

fn key(object: &Value) -> Key {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

fn slice(object: &Value) -> Slice {
    let service = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
    let endpoints = object["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let addresses = ready.filter_map(|endpoint| {
        let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
        let pod = endpoint["hostname"].as_str().map(str::to_owned);
        Some((address, pod))
    });
    Slice {
        service: service.unwrap_or_default().to_owned(),
        addresses: addresses.collect(),
    }
}
