//! How does Envoy come by the Secrets that are mounted for its listeners, and by what they become? It reads the mounted files
//! by itself; ours only say where they are.
//!
//! A mounted Secret changes by one rename of a link in its directory (`..data`), so Envoy watches that directory and reads all
//! of its files anew. New connections get what it read; if that is not fit, what was there before.
//!
//! INVARIANT: no key is copied. What is written here names files, and no more.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::GatewayError;
use super::config::{ListenerConfig, TlsConfig};
use crate::certificate::{Fault, Material};
use crate::envoy::bootstrap::tls::{SECRET_CERTIFICATE, SECRET_CLIENT_CA, SecretFile, TlsPlan};
use crate::envoy::files;

/// Files of a `kubernetes.io/tls` Secret.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// What Envoy must know of a listener's secrets; none without TLS.
pub(super) fn plan(listener: &ListenerConfig, run: &Path) -> Option<TlsPlan> {
    let tls = listener.tls.as_ref()?;
    let file = |secret| discovered(listener, secret, run);
    Some(TlsPlan {
        certificate: file(SECRET_CERTIFICATE),
        client_ca: tls.client_ca.as_ref().map(|_| file(SECRET_CLIENT_CA)),
        minimum: tls.minimum,
        cipher_suites: tls.cipher_suites.clone(),
    })
}

/// The file of each secret of a listener, with its content.
pub(super) fn files(listener: &ListenerConfig, run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Some(tls) = &listener.tls else {
        return Vec::new();
    };
    let path = |name: &str| json!({ "filename": tls.directory.join(name) });
    let watched = json!({ "path": tls.directory });
    let identity = json!({
        "certificate_chain": path(CERTIFICATE),
        "private_key": path(KEY),
        "watched_directory": watched,
    });
    let authorities = tls.client_ca.as_ref().map(|name| {
        let body = json!({ "trusted_ca": path(name), "watched_directory": watched });
        (SECRET_CLIENT_CA, "validation_context", body)
    });
    let secrets = std::iter::once((SECRET_CERTIFICATE, "tls_certificate", identity));
    let files = secrets.chain(authorities).map(|(secret, kind, body)| {
        let file = discovered(listener, secret, run);
        let resource = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": file.secret,
            (kind): body,
        });
        let discovery = json!({ "resources": [resource] });
        (file.path, discovery.to_string().into_bytes())
    });
    files.collect()
}

/// Judges what is mounted, as it is now; returns what is worth a warning and no obstacle.
///
/// # Errors
/// Envoy would not start with it, or no handshake would succeed.
pub(super) fn judge(
    listener: &ListenerConfig,
    now: Timestamp,
) -> Result<Vec<String>, GatewayError> {
    let mut warnings = Vec::new();
    for material in listener.tls.iter().flat_map(materials) {
        let judged = material.judge(&files::contents(&material), now);
        let about = |fault: Fault| GatewayError::Certificate {
            listener: listener.name.clone(),
            fault,
        };
        match judged {
            Ok(_) => {}
            // The other listeners need not wait for it, nor do clients that take no offence; it is read when it is renewed.
            Err(fault @ (Fault::Expired(..) | Fault::NotYetValid(..))) => {
                warnings.push(about(fault).to_string());
            }
            Err(fault) => return Err(about(fault)),
        }
    }
    Ok(warnings)
}

fn materials(tls: &TlsConfig) -> Vec<Material> {
    let path = |name: &str| tls.directory.join(name);
    let identity = Material::Identity {
        certificate: path(CERTIFICATE),
        key: path(KEY),
    };
    let client_ca = tls.client_ca.as_deref();
    let client_ca = client_ca.map(|name| Material::ClientCa(path(name)));
    std::iter::once(identity).chain(client_ca).collect()
}

fn discovered(listener: &ListenerConfig, secret: &str, run: &Path) -> SecretFile {
    let secret = format!("{secret}-{}", listener.name);
    let path = run.join(format!("{secret}.json"));
    SecretFile { secret, path }
}
