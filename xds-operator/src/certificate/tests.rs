//! Are certificates judged as they deserve, and is a file that is half written left alone?

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use jiff::SignedDuration;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd};

use serde_json::Value;

use super::*;

/// Within the validity of what [`Issued::new`] issues.
fn now() -> Timestamp {
    "2030-06-01T00:00:00Z".parse().unwrap()
}

struct Issued {
    certificate: String,
    key: String,
}

impl Issued {
    /// Valid through 2030.
    fn new(name: &str) -> Self {
        Self::with(name, &KeyPair::generate().unwrap())
    }

    fn with(name: &str, key: &KeyPair) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2030, 12, 31);
        let certificate = params.self_signed(key).unwrap().pem();
        Self {
            certificate,
            key: key.serialize_pem(),
        }
    }
}

fn identity() -> Material {
    Material::Identity {
        certificate: "/tls/cert.pem".into(),
        key: "/tls/key.pem".into(),
    }
}

fn judge(certificate: &str, key: &str, now: Timestamp) -> Result<Good, Fault> {
    let contents = [Ok(certificate.into()), Ok(key.into())];
    identity().judge(&contents, now)
}

fn fault(certificate: &str, key: &str) -> String {
    judge(certificate, key, now()).unwrap_err().to_string()
}

#[test]
fn a_certificate_with_its_key_is_good_and_says_what_it_is() {
    let issued = Issued::new("gw.example");
    let good = judge(&issued.certificate, &issued.key, now()).unwrap();
    assert!(good.about.contains("gw.example"), "{}", good.about);
    assert!(
        good.about.contains("2030-12-31T00:00:00Z"),
        "{}",
        good.about
    );
    assert_eq!(good.expires.to_string(), "2030-12-31T00:00:00Z");
}

#[test]
fn envoy_gets_what_was_read_and_nothing_else_that_stands_in_the_files() {
    let (issued, other) = (Issued::new("gw.example"), Issued::new("other"));
    let noisy = format!("a comment\n{}\n{}", issued.certificate, other.key);
    let good = judge(&noisy, &format!("{}{}", issued.key, other.key), now()).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(good.secret.key().unwrap()), lines(&issued.key));
    let discovery = good.secret.discovery("name", 7, Path::new("/run/key"));
    let discovery: Value = serde_json::from_slice(&discovery).unwrap();
    assert_eq!(discovery["version_info"], "7");
    let secret = &discovery["resources"][0];
    assert_eq!(secret["name"], "name");
    let body = &secret["tls_certificate"];
    let chain = body["certificate_chain"]["inline_string"].as_str();
    assert_eq!(lines(chain.unwrap()), lines(&issued.certificate));
    // Envoy would log what it discovers.
    assert_eq!(body["private_key"], json!({ "filename": "/run/key" }));
}

#[test]
fn a_chain_is_kept_in_its_order_and_a_file_may_hold_both() {
    let (leaf, middle) = (Issued::new("leaf"), Issued::new("middle"));
    let both = format!("{}{}{}", leaf.certificate, middle.certificate, leaf.key);
    let good = judge(&both, &both, now()).unwrap();
    let Secret::Identity { chain, .. } = &good.secret else {
        panic!("an identity")
    };
    assert_eq!(chain.matches("BEGIN").count(), 2);
    assert!(good.about.contains("leaf"));
}

#[test]
fn each_fault_names_its_file_and_says_what_to_do() {
    let (issued, other) = (Issued::new("gw.example"), Issued::new("other"));
    let (certificate, key) = (issued.certificate.as_str(), issued.key.as_str());
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let cut = certificate.split_at(certificate.len() / 2).0;
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let odd = Issued::with("odd", &KeyPair::generate_for(&PKCS_ED25519).unwrap());
    for (certificate, key, file, part) in [
        ("", key, "cert.pem", "holds no certificate"),
        ("garbage", key, "cert.pem", "holds no certificate"),
        (garbage, key, "cert.pem", "no X.509"),
        (cut, key, "cert.pem", "not whole PEM"),
        (certificate, "", "key.pem", "no private key"),
        (certificate, certificate, "key.pem", "no private key"),
        (certificate, encrypted, "key.pem", "decrypt it"),
        (
            certificate,
            other.key.as_str(),
            "key.pem",
            "not that of the certificate",
        ),
        (
            odd.certificate.as_str(),
            odd.key.as_str(),
            "key.pem",
            "no kind",
        ),
    ] {
        let fault = fault(certificate, key);
        assert!(
            fault.contains(file) && fault.contains(part),
            "{part}: {fault}"
        );
    }
    let large = " ".repeat(FILE_BYTES_MAX + 1);
    assert!(fault(&large, key).contains("bytes"));
    let away = [Err("no such file".to_owned()), Ok(key.into())];
    let fault = identity().judge(&away, now()).unwrap_err().to_string();
    assert!(
        fault.contains("/tls/cert.pem") && fault.contains("no such file"),
        "{fault}"
    );
}

#[test]
fn the_kinds_of_keys_that_are_promised_can_be_used() {
    let issued = Issued::with(
        "p384",
        &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
    );
    assert!(judge(&issued.certificate, &issued.key, now()).is_ok());
}

#[test]
fn a_certificate_is_good_from_its_first_second_to_its_last() {
    let issued = Issued::new("gw.example");
    let second = SignedDuration::from_secs(1);
    let first: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let end: Timestamp = "2030-12-31T00:00:00Z".parse().unwrap();
    let at = |now| judge(&issued.certificate, &issued.key, now).map(|_| ());
    let early = at(first.checked_sub(second).unwrap()).unwrap_err();
    assert_eq!(early.ends_at(), Some(first));
    assert!(at(first).is_ok());
    assert!(at(end.checked_sub(second).unwrap()).is_ok());
    assert!(
        at(end)
            .unwrap_err()
            .to_string()
            .contains("expired at 2030-12-31")
    );
}

#[test]
fn of_several_client_cas_one_must_be_valid() {
    let material = Material::ClientCa("/tls/ca.pem".into());
    let (one, two) = (Issued::new("one"), Issued::new("two"));
    let both = format!("{}{}", one.certificate, two.certificate);
    let judge = |bytes: &str, now| material.judge(&[Ok(bytes.into())], now);
    let good = judge(&both, now()).unwrap();
    assert!(
        good.about.contains("the first of 2 to expire"),
        "{}",
        good.about
    );
    let Secret::ClientCa(authorities) = &good.secret else {
        panic!("a client CA")
    };
    assert_eq!(authorities.matches("BEGIN").count(), 2);
    let late: Timestamp = "2031-06-01T00:00:00Z".parse().unwrap();
    assert!(matches!(judge(&both, late), Err(Fault::Expired(..))));
    let early: Timestamp = "2029-06-01T00:00:00Z".parse().unwrap();
    assert!(matches!(judge(&both, early), Err(Fault::NotYetValid(..))));
    let fault = judge("garbage", now()).unwrap_err().to_string();
    assert!(fault.contains("/tls/ca.pem"), "{fault}");
}

#[test]
fn a_secret_shows_nothing_of_itself() {
    let issued = Issued::new("gw.example");
    let good = judge(&issued.certificate, &issued.key, now()).unwrap();
    assert!(!format!("{good:?}").contains("PRIVATE"));
}
