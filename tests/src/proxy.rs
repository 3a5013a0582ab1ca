//! What does a load balancer write in front of a connection, and what is read of it at the other end? PROXY protocol
//! headers, made by hand from the specification so that they can be wrong, too.

use std::net::{IpAddr, SocketAddr};

/// How a header of version 2 begins.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and the command PROXY.
const PROXY: u8 = 0x21;
/// Version 2 and the command LOCAL.
const LOCAL: u8 = 0x20;

/// A header of version 1.
#[must_use]
pub fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
    .into_bytes()
}

/// A header of version 2, with TLVs behind the addresses.
#[must_use]
pub fn v2(source: SocketAddr, destination: SocketAddr, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    v2_with(PROXY, source, destination, tlvs)
}

/// A header of version 2 that speaks for nobody, whatever addresses stand in it.
#[must_use]
pub fn v2_local(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    v2_with(LOCAL, source, destination, &[])
}

fn v2_with(
    command: u8,
    source: SocketAddr,
    destination: SocketAddr,
    tlvs: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut body = Vec::new();
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => body.extend(ip.octets()),
            IpAddr::V6(ip) => body.extend(ip.octets()),
        }
    }
    body.extend(source.port().to_be_bytes());
    body.extend(destination.port().to_be_bytes());
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend(length(value.len()));
        body.extend(*value);
    }
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    [
        SIGNATURE,
        &[command, family][..],
        &length(body.len()),
        &body,
    ]
    .concat()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("a header of a test has less than 64 KiB")
        .to_be_bytes()
}
