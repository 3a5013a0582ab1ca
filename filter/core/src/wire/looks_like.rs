//! What does a first message look like that is not FIX? For the log only: nothing is decided by it.

/// What the first bytes look like. [`LooksLike::label`] is stable: logs and metrics use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooksLike {
    /// A TLS record or an `SSLv2` hello: a TLS client on a plaintext listener.
    Tls,
    /// An HTTP request, often a health probe.
    Http,
    /// A PROXY protocol preface (v1 or v2) on a listener that takes none.
    ProxyPreface,
    /// A Simple Open Framing Header, with SBE or another encoding behind it.
    Sofh,
    /// `8=FIX` with a printable separator instead of SOH: a message pasted from a document.
    LiteralSeparator,
    /// An SSH banner.
    Ssh,
    /// Nothing that is known.
    Unknown,
}

impl LooksLike {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
            Self::ProxyPreface => "proxy_protocol",
            Self::Sofh => "sofh",
            Self::LiteralSeparator => "literal_separator",
            Self::Ssh => "ssh",
            Self::Unknown => "unknown",
        }
    }

    /// What to tell a person.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Tls => "looks like a TLS ClientHello on a plaintext listener",
            Self::Http => "looks like an HTTP request",
            Self::ProxyPreface => {
                "looks like a PROXY protocol preface on a listener that takes none"
            }
            Self::Sofh => {
                "looks like a Simple Open Framing Header (SBE or another encoding), which is not tag=value FIX"
            }
            Self::LiteralSeparator => "looks like FIX with a printable separator instead of SOH",
            Self::Ssh => "looks like an SSH banner",
            Self::Unknown => "is not FIX: it does not begin with `8=FIX`",
        }
    }
}

const HTTP_METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"PRI * HTTP",
];
/// PROXY protocol v2 signature (specification, section 2.2).
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Guesses from what has arrived, which may be a single byte.
pub(super) fn looks_like(bytes: &[u8]) -> LooksLike {
    let begins = |with: &[u8]| {
        let shared = bytes.len().min(with.len());
        // One byte of a longer signature says too little, but for the bytes that nothing else begins with.
        shared > 1 && bytes.get(..shared) == with.get(..shared)
    };
    match bytes {
        // TLS record: handshake (RFC 8446 section 5.1). One byte suffices: no text begins with 0x16.
        [0x16] | [0x16, 0x03, ..] => LooksLike::Tls,
        // SSLv2 hello: two length bytes with the top bit, then message type 1 and a version.
        [first, _, 0x01, major, ..] if first & 0x80 != 0 && *major <= 3 => LooksLike::Tls,
        [b'\r', ..] if begins(PROXY_V2) => LooksLike::ProxyPreface,
        [b'P', ..] if begins(b"PROXY ") && !begins(b"PRI ") => LooksLike::ProxyPreface,
        [b'S', b'S', b'H', ..] => LooksLike::Ssh,
        // SOFH 1.0: Message_Length u32 big-endian of 6 or more, then Encoding_Type; 0x5BE0/0xEB50 SBE, 0xF000 tag=value, 0xF50x FAST/ASN.1/GPB.
        [0, 0, _, _, 0x5B | 0xEB | 0xF0..=0xFF, _, ..] => LooksLike::Sofh,
        _ if HTTP_METHODS.iter().any(|m| begins(m)) => LooksLike::Http,
        _ => LooksLike::Unknown,
    }
}
