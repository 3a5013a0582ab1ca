//! Why did a TLS handshake come to nothing, in words?
//!
//! Envoy says it in the words of its TLS library, made for the people who wrote that. Its text is kept beside ours: it is
//! what can be searched for. Nothing is decided by it.

use alloc::format;
use alloc::string::String;

use crate::redact;

/// In a text about the connection, not about TLS: the client reset it, and that is no failure of a handshake.
const SYSTEM: &str = "system library";
/// What Envoy's texts of this kind begin with. A plaintext connection that breaks has no text, or another.
const BEGIN: &str = "TLS_error:";
/// What they end with.
const END: &str = ":TLS_error_end";

/// A part of Envoy's text, and what it means. The first that is found counts, so what tells more stands first.
///
/// Names of errors are `BoringSSL`'s (`ssl/ssl_stat.cc`, `include/openssl/ssl.h`); the reasons of a certificate that was not
/// verified are its `X509_verify_cert_error_string`.
const MEANINGS: [(&str, &str); 27] = [
    (
        "WRONG_VERSION_NUMBER",
        "the first bytes are not TLS: does the client speak FIX without TLS to this port?",
    ),
    ("HTTP_REQUEST", "the first bytes are HTTP, not TLS"),
    ("HTTPS_PROXY_REQUEST", "the first bytes are HTTP, not TLS"),
    (
        "UNSUPPORTED_PROTOCOL",
        "the client offers no version of TLS that this listener takes: its version is below the minimum",
    ),
    (
        "INAPPROPRIATE_FALLBACK",
        "the client falls back to an older version of TLS than both sides have",
    ),
    (
        "NO_SHARED_CIPHER",
        "the client offers no cipher suite that this listener takes and that fits its certificate",
    ),
    (
        "NO_COMMON_SIGNATURE_ALGORITHMS",
        "the client takes no signature that this listener's certificate can make",
    ),
    (
        "NO_SHARED_GROUP",
        "the client offers no key exchange that this listener takes",
    ),
    (
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "the client sent no certificate, and this listener asks for one",
    ),
    (
        "certificate has expired",
        "the client certificate, or one that it was issued by, has expired",
    ),
    (
        "certificate is not yet valid",
        "the client certificate, or one that it was issued by, is not valid yet",
    ),
    (
        "self signed certificate",
        "the client certificate was issued by a certificate authority (CA) that this listener does not know",
    ),
    (
        "unable to get local issuer certificate",
        "the client certificate was issued by a certificate authority (CA) that this listener does not know",
    ),
    (
        "unable to get issuer certificate",
        "the client certificate was issued by a certificate authority (CA) that this listener does not know",
    ),
    (
        "certificate signature failure",
        "the client certificate's signature is not that of the certificate authority (CA) that it names",
    ),
    (
        "unsupported certificate purpose",
        "the client certificate is not meant for clients (extended key usage)",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the client certificate could not be verified",
    ),
    (
        "ALERT_UNKNOWN_CA",
        "the client refused this listener's certificate: it does not know the certificate authority (CA)",
    ),
    (
        "ALERT_CERTIFICATE_EXPIRED",
        "the client refused this listener's certificate as expired",
    ),
    (
        "ALERT_BAD_CERTIFICATE",
        "the client refused this listener's certificate: is it issued for the name that the client connects to?",
    ),
    (
        "ALERT_CERTIFICATE_UNKNOWN",
        "the client refused this listener's certificate: is it issued for the name that the client connects to?",
    ),
    (
        "ALERT_UNSUPPORTED_CERTIFICATE",
        "the client refused this listener's certificate: it cannot use one of this kind",
    ),
    (
        "ALERT_PROTOCOL_VERSION",
        "the client does not take the version of TLS that this listener chose",
    ),
    (
        "ALERT_DECRYPT_ERROR",
        "the client could not verify this listener's signature",
    ),
    (
        "ALERT_HANDSHAKE_FAILURE",
        "the client broke off the handshake",
    ),
    ("_ALERT_", "the client broke off the handshake"),
    ("OPENSSL_internal", "the TLS handshake failed"),
];

/// What went wrong, for a person, with Envoy's own text behind it; `None` if the text is about no TLS error.
#[must_use]
pub fn in_words(failure: &[u8]) -> Option<String> {
    let failure = core::str::from_utf8(failure).ok()?;
    let said = failure.strip_prefix(BEGIN)?;
    if said.contains(SYSTEM) {
        return None;
    }
    let said = said.strip_suffix(END).unwrap_or(said);
    let own = redact::peer_text(said.trim_start_matches('|').as_bytes())?;
    // Some of Envoy's texts have `_` for blanks.
    let spaced = said.replace('_', " ");
    let meaning = MEANINGS
        .iter()
        .find(|(part, _)| said.contains(part) || spaced.contains(part))
        .map_or("the TLS handshake failed", |(_, meaning)| meaning);
    Some(format!("{meaning} ({own})"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn check(failure: &str, part: &str) {
        let words = in_words(failure.as_bytes()).unwrap();
        assert!(words.contains(part), "{failure}: {words}");
    }

    #[test]
    fn what_envoy_says_is_said_in_words_with_its_own_beside_them() {
        assert_eq!(
            in_words(b"TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end").unwrap(),
            "the first bytes are not TLS: does the client speak FIX without TLS to this port? \
             (268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER)"
        );
    }

    #[test]
    fn the_reason_of_a_certificate_that_was_not_verified_counts_and_not_only_that_it_was_not() {
        for (why, part) in [
            ("unable_to_get_local_issuer_certificate", "does not know"),
            (
                "self_signed_certificate_in_certificate_chain",
                "does not know",
            ),
            ("certificate_has_expired", "has expired"),
            ("something else", "could not be verified"),
        ] {
            for why in [why.replace('_', " "), why.replace(' ', "_")] {
                check(
                    &format!(
                        "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
                         verify cert failed: X509_verify_cert: certificate verification error at depth 0: {why}:TLS_error_end"
                    ),
                    part,
                );
            }
        }
    }

    #[test]
    fn what_is_not_known_is_told_as_it_is() {
        check(
            "TLS_error:|1:SSL routines:OPENSSL_internal:NEW_ONE:TLS_error_end",
            "NEW_ONE",
        );
        check(
            "TLS_error:|1:SSL routines:OPENSSL_internal:TLSV1_ALERT_NO_RENEGOTIATION",
            "broke off",
        );
        check("TLS_error:something", "something");
    }

    #[test]
    fn what_is_no_tls_error_has_no_words() {
        let reset = "TLS_error:|33554536:system library:OPENSSL_internal:Connection reset by peer:TLS_error_end";
        for other in [
            reset,
            "",
            "remote_reset",
            "TLS_error:",
            "TLS_error::TLS_error_end",
        ] {
            assert_eq!(in_words(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = format!("TLS_error:{}", "x".repeat(10_000));
        assert!(in_words(long.as_bytes()).unwrap().len() < 400);
    }
}
