//! Is a counterparty's address inside a range?
//!
//! Ranges are CIDR blocks (RFC 4632, RFC 4291 section 2.3) without host bits. An IPv4-mapped address (RFC 4291 section
//! 2.5.5.2) counts as the IPv4 address that it maps.
//!
//! INVARIANT: an IPv6 range never holds an IPv4 address, whichever way that is written.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The address of a counterparty, as ranges look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceAddress {
    family: Family,
    bits: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Bits of an address.
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl From<IpAddr> for SourceAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self {
                family: Family::V4,
                bits: u128::from(address.to_bits()),
            },
            IpAddr::V6(address) => Self {
                family: Family::V6,
                bits: address.to_bits(),
            },
        }
    }
}

impl SourceAddress {
    /// The address of `ADDRESS:PORT`, as Envoy writes where a connection comes from; `None` for anything else (a Unix
    /// socket's path), which is inside of no range.
    #[must_use]
    pub fn of_socket(text: &str) -> Option<Self> {
        SocketAddr::from_str(text)
            .ok()
            .map(|socket| Self::from(socket.ip()))
    }

    /// What is left of the address under a block's form; `None` when it is of the other family.
    #[must_use]
    pub const fn network(self, form: RangeForm) -> Option<u128> {
        match (self.family, form.family) {
            (Family::V4, Family::V4) | (Family::V6, Family::V6) => Some(self.bits & form.mask()),
            (Family::V4, Family::V6) | (Family::V6, Family::V4) => None,
        }
    }
}

/// Family and length of a range: what ranges must have in common to be looked up by one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeForm {
    length: u8,
    family: Family,
}

impl RangeForm {
    /// Bits that are fixed: 0 to 32, or to 128.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// As a word of an image: the length, and from 256 on for IPv6.
    #[must_use]
    pub(crate) const fn word(self) -> u32 {
        match self.family {
            Family::V4 => self.length as u32,
            Family::V6 => self.length as u32 + 0x100,
        }
    }

    /// The form of a word.
    #[must_use]
    pub(crate) fn of_word(word: u32) -> Option<Self> {
        let (family, length) = match word.checked_sub(0x100) {
            None => (Family::V4, word),
            Some(length) => (Family::V6, length),
        };
        let length = u8::try_from(length).ok()?;
        (length <= family.bits()).then_some(Self { length, family })
    }

    /// The fixed bits.
    const fn mask(self) -> u128 {
        !self.host_mask()
    }

    /// The bits that are free.
    const fn host_mask(self) -> u128 {
        // No shift by 128: a block of everything has no fixed bit.
        match self.family.bits().saturating_sub(self.length) {
            128 => u128::MAX,
            free => (1 << free) - 1,
        }
    }
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRange {
    form: RangeForm,
    network: u128,
}

impl SourceRange {
    /// Family and length.
    #[must_use]
    pub const fn form(self) -> RangeForm {
        self.form
    }

    /// The fixed bits, the others zero. An IPv4 network stands in the low 32 bits.
    #[must_use]
    pub const fn network(self) -> u128 {
        self.network
    }

    /// A range by its parts; bits beyond its length are dropped.
    #[must_use]
    pub(crate) const fn of_parts(form: RangeForm, network: u128) -> Self {
        Self {
            form,
            network: network & form.mask(),
        }
    }

    /// Whether an address is inside.
    #[must_use]
    pub fn holds(self, address: SourceAddress) -> bool {
        address.network(self.form) == Some(self.network)
    }

    /// The addresses that are in both: one of the two, or none.
    #[must_use]
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        let (wide, narrow) = if self.form.length <= other.form.length {
            (self, other)
        } else {
            (other, self)
        };
        let inside = wide.form.family == narrow.form.family
            && narrow.network & wide.form.mask() == wide.network;
        inside.then_some(narrow)
    }

    /// All IPv4 addresses, and all IPv6 addresses.
    pub(crate) const EVERYTHING: [Self; 2] = [Self::all_of(Family::V4), Self::all_of(Family::V6)];

    /// IPv6 addresses that are IPv4 addresses, and so in no IPv6 range.
    const MAPPED: Self = Self {
        form: RangeForm {
            length: 96,
            family: Family::V6,
        },
        network: 0xFFFF << 32,
    };

    const fn all_of(family: Family) -> Self {
        let form = RangeForm { length: 0, family };
        Self { form, network: 0 }
    }

    /// The first address of it that is inside of none of `others`.
    #[must_use]
    pub(crate) fn first_outside(self, others: &[Self]) -> Option<IpAddr> {
        let mut inside: alloc::vec::Vec<(u128, u128)> = others
            .iter()
            .chain(&[Self::MAPPED])
            .filter(|other| other.form.family == self.form.family)
            .map(|other| (other.network, other.last()))
            .collect();
        inside.sort_unstable();
        let mut next = self.network;
        for (first, last) in inside {
            if first > next {
                break;
            }
            if last >= self.last() {
                return None;
            }
            // Ranges are nested or apart, so only one that goes on from here matters.
            next = next.max(last.saturating_add(1));
        }
        let free = Self {
            network: next,
            ..self
        };
        Some(free.address())
    }

    const fn last(self) -> u128 {
        self.network | self.form.host_mask()
    }

    fn address(self) -> IpAddr {
        match self.form.family {
            Family::V4 => {
                let low = u32::try_from(self.network & u128::from(u32::MAX)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(low))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.network)),
        }
    }
}

impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.form.length)
    }
}

impl FromStr for SourceRange {
    type Err = RangeError;

    /// Reads `ADDRESS/LENGTH`.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = |make: fn(String) -> RangeError| make(text.to_string());
        let Some((address, length)) = text.split_once('/') else {
            return Err(match IpAddr::from_str(text) {
                Ok(IpAddr::V4(_)) => RangeError::NoLength(text.to_string(), 32),
                Ok(IpAddr::V6(_)) => RangeError::NoLength(text.to_string(), 128),
                Err(_) => wrong(RangeError::Form),
            });
        };
        let address = IpAddr::from_str(address).map_err(|_| wrong(RangeError::Form))?;
        let (family, bits) = match address {
            IpAddr::V4(address) => (Family::V4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (Family::V6, address.to_bits()),
        };
        let length = decimal(length)
            .filter(|length| *length <= family.bits())
            .ok_or_else(|| RangeError::Length(text.to_string(), family.bits()))?;
        let range = Self::of_parts(RangeForm { length, family }, bits);
        if range.network != bits {
            return Err(RangeError::HostBits {
                range: text.to_string(),
                without: range.to_string(),
                single: Self::of_parts(
                    RangeForm {
                        length: family.bits(),
                        family,
                    },
                    bits,
                )
                .to_string(),
            });
        }
        if let (IpAddr::V4(mapped), Some(length), Family::V6) =
            (address.to_canonical(), length.checked_sub(96), family)
        {
            return Err(RangeError::Mapped {
                range: text.to_string(),
                instead: alloc::format!("{mapped}/{length}"),
            });
        }
        Ok(range)
    }
}

/// Up to three digits without a leading zero or sign.
fn decimal(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || text.len() > 1 && text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// Not an address with a length.
    Form(String),
    /// An address without a length, and the length of that one address.
    NoLength(String, u8),
    /// A length that is none, and the longest.
    Length(String, u8),
    /// Bits are set beyond the length.
    HostBits {
        /// As written.
        range: String,
        /// The range that holds it.
        without: String,
        /// The one address.
        single: String,
    },
    /// An IPv4 range written as IPv6.
    Mapped {
        /// As written.
        range: String,
        /// As IPv4.
        instead: String,
    },
}

impl RangeError {
    /// Stable name.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Form(_) => "range_form",
            Self::NoLength(..) => "range_without_length",
            Self::Length(..) => "range_length",
            Self::HostBits { .. } => "range_host_bits",
            Self::Mapped { .. } => "range_ipv4_as_ipv6",
        }
    }
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => write!(
                f,
                "`{text}` is no range of addresses; write it as `203.0.113.0/24` or `2001:db8::/32`"
            ),
            Self::NoLength(text, whole) => write!(
                f,
                "`{text}` has no length; write `{text}/{whole}` for that one address"
            ),
            Self::Length(text, whole) => write!(
                f,
                "the length of `{text}` is no number from 0 to {whole}, written without zeros before it"
            ),
            Self::HostBits {
                range,
                without,
                single,
            } => write!(
                f,
                "`{range}` has bits beyond its length; write `{without}` for the range, or `{single}` for the one address"
            ),
            Self::Mapped { range, instead } => write!(
                f,
                "`{range}` is an IPv4 range written as IPv6; write `{instead}`"
            ),
        }
    }
}

impl core::error::Error for RangeError {}

/// The longest of these ranges that holds an address: what gives a route its place among others.
pub fn longest_around(
    ranges: impl Iterator<Item = SourceRange>,
    source: SourceAddress,
) -> Option<SourceRange> {
    ranges.filter(|range| range.holds(source)).max()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn range(text: &str) -> SourceRange {
        text.parse().unwrap()
    }

    fn address(text: &str) -> SourceAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_range_holds_what_begins_with_its_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("203.0.113.7/32", "203.0.113.7", "203.0.113.6"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("::1/128", "::1", "::2"),
            // Mapped addresses are IPv4, so no IPv6 range holds them.
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::/0", "::1", "::ffff:10.1.2.3"),
        ] {
            assert!(range(text).holds(address(inside)), "{inside} in {text}");
            assert!(!range(text).holds(address(outside)), "{outside} in {text}");
            assert_eq!(range(text).to_string(), text);
            let form = range(text).form();
            assert_eq!(RangeForm::of_word(form.word()), Some(form));
        }
    }

    #[test]
    fn what_is_no_range_is_told_what_to_write_instead() {
        for (text, wanted) in [
            ("", "is no range"),
            ("10.0.0.0/8/8", "is no number from 0 to 32"),
            ("engine.local/8", "is no range"),
            ("10.0.0.0", "write `10.0.0.0/32`"),
            ("::1", "write `::1/128`"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/08", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/-1", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("010.0.0.0/8", "is no range"),
            ("10.0.0.0/255.0.0.0", "from 0 to 32"),
            (
                "10.1.2.3/8",
                "write `10.0.0.0/8` for the range, or `10.1.2.3/32`",
            ),
            (
                "2001:db8::1/64",
                "write `2001:db8::/64` for the range, or `2001:db8::1/128`",
            ),
            ("::ffff:10.0.0.0/104", "write `10.0.0.0/8`"),
            ("::ffff:0:0/96", "write `0.0.0.0/0`"),
            ("::ffff:a01:203/128", "write `10.1.2.3/32`"),
        ] {
            let error = text.parse::<SourceRange>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        // Shorter than the mapped block: an IPv6 range, which holds no IPv4 address.
        assert!("::/80".parse::<SourceRange>().is_ok());
    }

    #[test]
    fn envoys_way_to_write_an_address_is_read() {
        let of = SourceAddress::of_socket;
        assert_eq!(of("10.1.2.3:5"), Some(address("10.1.2.3")));
        assert_eq!(of("[::ffff:10.1.2.3]:5"), Some(address("10.1.2.3")));
        assert_eq!(of("[2001:db8::1]:5"), Some(address("2001:db8::1")));
        for other in ["", "10.1.2.3", "/run/socket", "@abstract"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn an_ipv6_address_that_is_left_is_none_that_ipv4_has() {
        // All of ::/80 that lies below ::ffff:0:0.
        let below: Vec<SourceRange> = (81..=96_u32)
            .map(|length| {
                let bits = (1_u128 << (128 - 80)) - (1_u128 << (129 - length));
                let network = Ipv6Addr::from_bits(bits);
                range(&format!("{network}/{length}"))
            })
            .collect();
        assert!(below.iter().all(|below| below.last() < 0xFFFF << 32));
        assert_eq!(range("::/80").first_outside(&below), None);
        let (_, most) = below.split_last().unwrap();
        assert_eq!(
            range("::/80").first_outside(most).unwrap().to_string(),
            "::fffe:0:0"
        );
    }

    #[test]
    fn a_range_is_covered_when_no_address_is_left() {
        for (text, others, wanted) in [
            ("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/9"][..], true),
            ("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/10"], false),
            ("10.0.0.0/8", &["10.128.0.0/9"], false),
            ("10.0.0.0/8", &["0.0.0.0/0"], true),
            ("10.0.0.0/8", &["::/0"], false),
            ("10.0.0.0/8", &[], false),
            (
                "0.0.0.0/0",
                &["128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2", "1.0.0.0/8"],
                true,
            ),
            ("::/0", &["::/1", "8000::/1"], true),
            ("::/0", &["::/1", "8000::/2"], false),
        ] {
            let others: Vec<SourceRange> = others.iter().map(|text| range(text)).collect();
            let left = range(text).first_outside(&others);
            assert_eq!(left.is_none(), wanted, "{text}: {left:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_range_is_read_as_it_is_written(bits: u128, length in 0_u8..=128, v4: bool) {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let form = RangeForm { length: length.min(family.bits()), family };
            let bits = if v4 { bits & u128::from(u32::MAX) } else { bits };
            let made = SourceRange::of_parts(form, bits);
            let mapped = !v4 && made.network >> 32 == 0xFFFF && form.length >= 96;
            let read = made.to_string().parse::<SourceRange>();
            proptest::prop_assert_eq!(read.ok(), (!mapped).then_some(made));
            // The standard library's own way to look at the same block.
            let inside = SourceAddress { family, bits };
            proptest::prop_assert!(made.holds(inside));
        }
    }
}
