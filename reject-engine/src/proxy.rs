//! Who is the counterparty, and why was its Logon not routed? The PROXY protocol v2 header says, which Envoy writes in
//! front of the bytes.
//!
//! Total over any bytes; the answer does not depend on how they were cut into reads. Source: the PROXY protocol
//! specification, section 2.2. Its other users' crates either bring a second version of crates that we have already or take no
//! TLVs where the address family is unspecified; what is needed is a screen of code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fixgw_core::decision::Reason;
use fixgw_core::names::PROXY_TLV_REASON;

/// Bytes of a header. Addresses take 216 at most, our TLV some 20; the rest is room for TLVs that Envoy passes on from
/// a load balancer before it.
pub const HEADER_BYTES_MAX: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The counterparty; `None` where the header speaks for no TCP client.
    pub source: Option<SocketAddr>,
    /// Why its Logon was not routed; `None` where that is not said, or not in words that this version knows.
    pub reason: Option<Reason>,
    /// Bytes of the header.
    pub length: usize,
}

/// The three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A whole header.
    Header(Header),
    /// More bytes are needed.
    Incomplete,
    /// Never will be a header.
    Invalid(Fault),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They do not begin as one.
    Signature,
    /// Not version 2, or a command, family or protocol that it does not have.
    Kind,
    /// Longer than [`HEADER_BYTES_MAX`].
    TooLong,
    /// Shorter than its addresses, or a TLV that ends outside of it.
    Length,
}

impl Fault {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signature => "no_proxy_header",
            Self::Kind | Self::Length => "bad_proxy_header",
            Self::TooLong => "proxy_header_too_long",
        }
    }
}

/// Reads the header at the beginning of `bytes`.
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let shared = bytes.len().min(SIGNATURE.len());
    if bytes.get(..shared) != SIGNATURE.get(..shared) {
        return Reading::Invalid(Fault::Signature);
    }
    let Some(&[command, kind, high, low]) = bytes
        .get(SIGNATURE.len()..)
        .and_then(<[u8]>::first_chunk::<4>)
    else {
        return Reading::Incomplete;
    };
    let addresses = match (command, kind >> 4, kind & 0x0F) {
        (0x20 | 0x21, 0, 0..=2) => 0,
        (0x20 | 0x21, 1, 0..=2) => 12,
        (0x20 | 0x21, 2, 0..=2) => 36,
        (0x20 | 0x21, 3, 0..=2) => 216,
        _ => return Reading::Invalid(Fault::Kind),
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Reading::Invalid(Fault::TooLong);
    }
    if length < FIXED_BYTES + addresses {
        return Reading::Invalid(Fault::Length);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..length) else {
        return Reading::Incomplete;
    };
    let Some((addresses, tlvs)) = rest.split_at_checked(addresses) else {
        return Reading::Invalid(Fault::Length);
    };
    let Ok(reason) = reason(tlvs) else {
        return Reading::Invalid(Fault::Length);
    };
    // LOCAL (0x20): the proxy speaks for itself, its addresses are to be ignored.
    let source = (command == 0x21).then(|| source(addresses)).flatten();
    Reading::Header(Header {
        source,
        reason,
        length,
    })
}

fn source(addresses: &[u8]) -> Option<SocketAddr> {
    let (address, port) = match *addresses {
        [a, b, c, d, _, _, _, _, high, low, _, _] => {
            (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), [high, low])
        }
        // A mapped address is shown as the IPv4 address that it is.
        [ref source @ .., high, low, _, _] if addresses.len() == 36 => {
            let address = Ipv6Addr::from(*source.first_chunk::<16>()?);
            (IpAddr::V6(address).to_canonical(), [high, low])
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_be_bytes(port)))
}

/// A TLV that ends outside of the header.
struct Overrun;

fn reason(mut tlvs: &[u8]) -> Result<Option<Reason>, Overrun> {
    let mut reason = None;
    while let [kind, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(Overrun)?;
        if *kind == PROXY_TLV_REASON {
            reason = Reason::from_label(value);
        }
        tlvs = after;
    }
    if tlvs.is_empty() {
        Ok(reason)
    } else {
        Err(Overrun)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, kind: u8, addresses: &[u8], tlvs: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, kind]);
        let length = u16::try_from(addresses.len() + tlvs.len()).unwrap();
        header.extend(length.to_be_bytes());
        header.extend(addresses);
        header.extend(tlvs);
        header
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 127, 0, 0, 1, 0xC0, 0x01, 0x26, 0x94];

    fn check(bytes: &[u8], source: Option<&str>, reason: Option<Reason>) {
        let expected = Header {
            source: source.map(|source| source.parse().unwrap()),
            reason,
            length: bytes.len(),
        };
        let followed = [bytes, b"8=FIX.4.4\x01"].concat();
        assert_eq!(read(&followed), Reading::Header(expected));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Reading::Incomplete, "at {end}");
        }
    }

    #[test]
    fn reads_the_counterparty_and_the_reason() {
        let tlvs = b"\x03\x00\x04\x01\x02\x03\x04\xE0\x00\x08no_match";
        check(
            &header(0x21, 0x11, &V4, tlvs),
            Some("192.0.2.7:49153"),
            Some(Reason::NoMatch),
        );
    }

    #[test]
    fn reads_ipv6_and_shows_mapped_addresses_as_ipv4() {
        let mut v6 = [0_u8; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
        v6[15] = 9;
        v6[33] = 80;
        check(
            &header(0x21, 0x21, &v6, b""),
            Some("[2001:db8::9]:80"),
            None,
        );
        let mut mapped = [0_u8; 36];
        mapped[10..16].copy_from_slice(&[0xFF, 0xFF, 192, 0, 2, 7]);
        check(&header(0x21, 0x21, &mapped, b""), Some("192.0.2.7:0"), None);
    }

    #[test]
    fn a_header_without_a_client_has_no_source_but_may_have_a_reason() {
        let tlv = b"\xE0\x00\x0Fambiguous_field";
        check(
            &header(0x20, 0x11, &V4, tlv),
            None,
            Some(Reason::AmbiguousField),
        );
        check(
            &header(0x21, 0x00, b"", tlv),
            None,
            Some(Reason::AmbiguousField),
        );
        check(&header(0x21, 0x31, &[0; 216], b""), None, None);
    }

    #[test]
    fn a_reason_that_is_not_known_is_none() {
        for label in ["-", "", "of_a_later_version"] {
            let mut tlv = vec![PROXY_TLV_REASON, 0, u8::try_from(label.len()).unwrap()];
            tlv.extend(label.as_bytes());
            check(
                &header(0x21, 0x11, &V4, &tlv),
                Some("192.0.2.7:49153"),
                None,
            );
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_known() {
        let refuse = |bytes: &[u8], fault| assert_eq!(read(bytes), Reading::Invalid(fault));
        refuse(b"8", Fault::Signature);
        refuse(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", Fault::Signature);
        refuse(&header(0x11, 0x11, &V4, b""), Fault::Kind);
        refuse(&header(0x22, 0x11, &V4, b""), Fault::Kind);
        refuse(&header(0x21, 0x41, &V4, b""), Fault::Kind);
        refuse(&header(0x21, 0x13, &V4, b""), Fault::Kind);
        refuse(&header(0x21, 0x11, &V4[..8], b""), Fault::Length);
        refuse(
            &header(0x21, 0x11, &V4, b"\xE0\x00\x09no_match"),
            Fault::Length,
        );
        refuse(&header(0x21, 0x11, &V4, b"\xE0\x00"), Fault::Length);
        refuse(
            &header(0x21, 0x11, &[0; HEADER_BYTES_MAX], b"")[..16],
            Fault::TooLong,
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_at_every_split(tail in prop::collection::vec(any::<u8>(), 0..80), command in 0x1F_u8..0x23, kind in 0_u8..0x42) {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([command, kind, 0]);
            bytes.extend(tail);
            let whole = read(&bytes);
            for end in 0..bytes.len() {
                let early = read(&bytes[..end]);
                prop_assert!(early == Reading::Incomplete || early == whole);
            }
            if let Reading::Header(header) = whole {
                prop_assert!(header.length <= bytes.len());
            }
        }
    }
}
