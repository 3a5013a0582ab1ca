//! Are these files fit to be shown to counterparties, or to judge theirs, and until when?
//!
//! Pure: what the files hold and the time are passed in. What is found good is written anew for Envoy from what was read
//! here, so that Envoy cannot read something else in it.
//!
//! INVARIANT: no message holds anything of a key.

pub mod watch;

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::SignatureAlgorithm;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use thiserror::Error;
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

/// Bytes of one file. The certificate authorities of a whole system are about 250 kB.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Names of a certificate in a message; what follows is only counted.
const NAMES_SHOWN_MAX: usize = 4;

/// What is kept in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// What the gateway shows.
    Identity {
        /// The certificate, with its intermediate ones behind it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// What clients' certificates must come from.
    ClientCa(PathBuf),
}

/// What a look at a file found: its bytes, or why there are none.
pub type Content = Result<Vec<u8>, String>;

/// Why files are not fit. Each is one sentence that names the file and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It could not be read.
    #[error("`{0}` cannot be read ({1}); check the path and its permissions")]
    Unreadable(String, String),
    /// Too large.
    #[error("`{0}` has more than {FILE_BYTES_MAX} bytes; give a file with certificates only")]
    TooLarge(String),
    /// PEM, but broken.
    #[error("`{0}` is not whole PEM ({1}); write it again")]
    Broken(String, String),
    /// No certificate in it.
    #[error(
        "`{0}` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`); give one that does"
    )]
    NoCertificate(String),
    /// Not readable as X.509.
    #[error("`{0}` holds something that is no X.509 certificate ({1}); issue it again")]
    NotX509(String, String),
    /// No key in it.
    #[error("`{0}` holds no private key in PEM (PKCS #8, SEC1 or PKCS #1); give one that does")]
    NoKey(String),
    /// The key is encrypted.
    #[error("the key `{0}` is encrypted; decrypt it, and protect the file with its permissions")]
    Encrypted(String),
    /// A kind of key that Envoy or we cannot use.
    #[error(
        "the key `{0}` is of no kind that can be used; use RSA of 2048 to 4096 bits, or ECDSA with P-256 or P-384"
    )]
    KeyKind(String),
    /// The key is another certificate's.
    #[error(
        "the key `{key}` is not that of the certificate `{certificate}`; give the two that were issued together"
    )]
    Mismatch {
        /// File of the certificate.
        certificate: String,
        /// File of the key.
        key: String,
    },
    /// Expired.
    #[error("the certificate `{0}` expired at {1}; renew it")]
    Expired(String, Timestamp),
    /// Not valid yet.
    #[error("the certificate `{0}` is not valid before {1}; check this machine's clock, or wait")]
    NotYetValid(String, Timestamp),
}

impl Fault {
    /// When the same files are worth another look though they have not changed.
    #[must_use]
    pub const fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::NotYetValid(_, since) => Some(*since),
            Self::Unreadable(..)
            | Self::TooLarge(_)
            | Self::Broken(..)
            | Self::NoCertificate(_)
            | Self::NotX509(..)
            | Self::NoKey(_)
            | Self::Encrypted(_)
            | Self::KeyKind(_)
            | Self::Mismatch { .. }
            | Self::Expired(..) => None,
        }
    }
}

/// Files that were found good.
#[derive(Clone, Debug)]
pub struct Good {
    /// What they are, for a person.
    pub about: String,
    /// When the (first) certificate in them expires.
    pub expires: Timestamp,
    /// What Envoy gets, and nobody else.
    pub secret: Secret,
}

/// What Envoy gets. Never formatted: there may be a private key.
#[derive(Clone)]
pub enum Secret {
    /// What the gateway shows, as PEM.
    Identity {
        /// The certificates.
        chain: String,
        /// The key of the first of them.
        key: String,
    },
    /// What clients' certificates must come from, as PEM.
    ClientCa(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Secret {
    /// What must stand in a file of its own.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Identity { key, .. } => Some(key),
            Self::ClientCa(_) => None,
        }
    }

    /// The file that Envoy discovers the secret `name` in, as version `version`. The key stands in `key_file` instead:
    /// Envoy writes what it discovers to its log when that is told to be chatty.
    #[must_use]
    pub fn discovery(&self, name: &str, version: u64, key_file: &Path) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Identity { chain, .. } => (
                "tls_certificate",
                json!({
                    "certificate_chain": { "inline_string": chain },
                    "private_key": { "filename": key_file },
                }),
            ),
            Self::ClientCa(authorities) => (
                "validation_context",
                json!({ "trusted_ca": { "inline_string": authorities } }),
            ),
        };
        let resource = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": name,
            (kind): body,
        });
        json!({ "version_info": version.to_string(), "resources": [resource] })
            .to_string()
            .into_bytes()
    }
}

impl Material {
    /// What a person calls it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Identity { .. } => "certificate",
            Self::ClientCa(_) => "client CA",
        }
    }

    /// Its files, in the order in which [`Material::judge`] wants their contents.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Identity { certificate, key } => vec![certificate, key],
            Self::ClientCa(path) => vec![path],
        }
    }

    /// Judges the contents of its files.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn judge(&self, contents: &[Content], now: Timestamp) -> Result<Good, Fault> {
        let files = self.files().into_iter().zip(contents);
        let mut files = files.map(|(path, content)| File::read(path, content));
        let mut next = || files.next().unwrap_or_else(|| Err(self.missing()));
        match self {
            Self::Identity { .. } => judge_identity(&next()?, &next()?, now),
            Self::ClientCa(_) => judge_client_ca(&next()?, now),
        }
    }

    fn missing(&self) -> Fault {
        Fault::Unreadable(self.name().to_owned(), "it was not looked at".to_owned())
    }
}

/// A file's content that has passed its bound.
struct File<'c> {
    path: String,
    bytes: &'c [u8],
}

impl<'c> File<'c> {
    fn read(path: &Path, content: &'c Content) -> Result<Self, Fault> {
        let path = path.display().to_string();
        match content {
            Err(why) => Err(Fault::Unreadable(path, why.clone())),
            Ok(bytes) if bytes.len() > FILE_BYTES_MAX => Err(Fault::TooLarge(path)),
            Ok(bytes) => Ok(Self { path, bytes }),
        }
    }

    /// Its certificates; at least one.
    fn certificates(&self) -> Result<Vec<Certificate>, Fault> {
        let found = CertificateDer::pem_slice_iter(self.bytes)
            .map(|der| {
                let der = der.map_err(|why| Fault::Broken(self.path.clone(), why.to_string()))?;
                let read = x509_cert::Certificate::from_der(&der);
                let read =
                    read.map_err(|why| Fault::NotX509(self.path.clone(), why.to_string()))?;
                Ok(Certificate { der, read })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        if found.is_empty() {
            return Err(Fault::NoCertificate(self.path.clone()));
        }
        Ok(found)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Fault> {
        PrivateKeyDer::from_pem_slice(self.bytes).map_err(|_| {
            let encrypted = self.bytes.windows(9).any(|bytes| bytes == b"ENCRYPTED");
            let path = self.path.clone();
            if encrypted {
                Fault::Encrypted(path)
            } else {
                Fault::NoKey(path)
            }
        })
    }
}

struct Certificate {
    der: CertificateDer<'static>,
    read: x509_cert::Certificate,
}

impl Certificate {
    fn since(&self) -> Timestamp {
        timestamp(self.read.tbs_certificate.validity.not_before)
    }

    fn expires(&self) -> Timestamp {
        timestamp(self.read.tbs_certificate.validity.not_after)
    }

    fn public_key(&self) -> Vec<u8> {
        let key = &self.read.tbs_certificate.subject_public_key_info;
        key.to_der().unwrap_or_default()
    }

    /// Subject and DNS names.
    fn about(&self) -> String {
        let subject = self.read.tbs_certificate.subject.to_string();
        let extension = self.read.tbs_certificate.get::<SubjectAltName>();
        let names = extension.ok().flatten().map(|(_, names)| names.0);
        let names: Vec<String> = names
            .into_iter()
            .flatten()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            })
            .collect();
        let mut about = if subject.is_empty() {
            "no subject".to_owned()
        } else {
            subject
        };
        for name in names.iter().take(NAMES_SHOWN_MAX) {
            about = about + ", " + name;
        }
        if names.len() > NAMES_SHOWN_MAX {
            let more = names.len() - NAMES_SHOWN_MAX;
            about = format!("{about} and {more} names more");
        }
        fixgw_core::redact::peer_text(about.as_bytes()).unwrap_or_default()
    }
}

/// X.509 ends at the year 9999, and so does a timestamp.
fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn judge_identity(certificate: &File<'_>, key: &File<'_>, now: Timestamp) -> Result<Good, Fault> {
    let chain = certificate.certificates()?;
    let private = key.key()?;
    let signing = any_supported_type(&private).map_err(|_| Fault::KeyKind(key.path.clone()))?;
    // Envoy would take it, and no handshake would succeed.
    if signing.algorithm() == SignatureAlgorithm::ED25519 {
        return Err(Fault::KeyKind(key.path.clone()));
    }
    let leaf = chain
        .first()
        .ok_or_else(|| Fault::NoCertificate(certificate.path.clone()))?;
    let public = signing.public_key().map(|key| key.to_vec());
    if public != Some(leaf.public_key()) {
        return Err(Fault::Mismatch {
            certificate: certificate.path.clone(),
            key: key.path.clone(),
        });
    }
    // Of the leaf alone: expired leftovers at the end of a chain are common, and clients find another way round them.
    if now >= leaf.expires() {
        return Err(Fault::Expired(certificate.path.clone(), leaf.expires()));
    }
    if now < leaf.since() {
        return Err(Fault::NotYetValid(certificate.path.clone(), leaf.since()));
    }
    let label = match &private {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(Good {
        about: format!("{}, valid until {}", leaf.about(), leaf.expires()),
        expires: leaf.expires(),
        secret: Secret::Identity {
            chain: pem_of(&chain),
            key: pem(label, private.secret_der()),
        },
    })
}

fn judge_client_ca(file: &File<'_>, now: Timestamp) -> Result<Good, Fault> {
    let authorities = file.certificates()?;
    let (valid, others): (Vec<_>, Vec<_>) = authorities
        .iter()
        .partition(|authority| authority.since() <= now && now < authority.expires());
    // One of several may have expired. With none nobody could log on.
    let Some(first) = valid.iter().min_by_key(|authority| authority.expires()) else {
        let path = file.path.clone();
        let later = others.iter().map(|authority| authority.since());
        return Err(match later.filter(|since| *since > now).min() {
            Some(since) => Fault::NotYetValid(path, since),
            None => Fault::Expired(
                path,
                others
                    .iter()
                    .map(|authority| authority.expires())
                    .max()
                    .unwrap_or(now),
            ),
        });
    };
    let others = match authorities.len() {
        1 => String::new(),
        count => format!(", the first of {count} to expire"),
    };
    Ok(Good {
        about: format!("{}, valid until {}{others}", first.about(), first.expires()),
        expires: first.expires(),
        secret: Secret::ClientCa(pem_of(&authorities)),
    })
}

fn pem_of(certificates: &[Certificate]) -> String {
    let certificates = certificates.iter();
    certificates
        .map(|certificate| pem("CERTIFICATE", &certificate.der))
        .collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    // The label is ours, and what was read from a file of bounded size can be written.
    encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests;
