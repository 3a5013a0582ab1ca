//! What makes a listener one with TLS? `envoy/tls.yaml`, edited as data and laid over a listener and each of its filter
//! chains: a chain with TLS is a chain with a transport socket.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{TemplateError, at};
use crate::envoy::settings::TlsVersion;

const TEMPLATE: &str = include_str!("../../../../envoy/tls.yaml");

/// Name of the secret that the gateway shows.
pub const SECRET_CERTIFICATE: &str = "fixgw-certificate";
/// Name of the secret that judges clients' certificates.
pub const SECRET_CLIENT_CA: &str = "fixgw-client-ca";

/// A secret that Envoy discovers in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFile {
    /// Its name; unique among those of one Envoy, because statistics go by it.
    pub secret: String,
    /// The file.
    pub path: PathBuf,
}

/// What TLS is like on a listener.
#[derive(Clone, Debug)]
pub struct TlsPlan {
    /// Where Envoy discovers the certificate.
    pub certificate: SecretFile,
    /// Where Envoy discovers the client CA; none: no client certificate is asked for.
    pub client_ca: Option<SecretFile>,
    /// Lowest version.
    pub minimum: TlsVersion,
    /// Cipher suites of TLS 1.2; none: Envoy's own choice.
    pub cipher_suites: Vec<String>,
}

/// The keys of a listener and of its filter chains that make TLS of it.
pub(super) struct Overlay {
    listener: Value,
    filter_chain: Value,
}

impl Overlay {
    /// The template, with what the plan says.
    ///
    /// # Errors
    /// The template lacks a part.
    pub(super) fn new(plan: &TlsPlan) -> Result<Self, TemplateError> {
        const FILE: &str = "transport socket with secrets (`envoy/tls.yaml`)";
        let mut template: Value =
            serde_saphyr::from_str(TEMPLATE).map_err(|_| TemplateError("valid `tls.yaml`"))?;
        edit(&mut template, plan).ok_or(TemplateError(FILE))?;
        Ok(Self {
            listener: taken(&mut template, "listener").ok_or(TemplateError(FILE))?,
            filter_chain: taken(&mut template, "filter_chain").ok_or(TemplateError(FILE))?,
        })
    }

    /// Makes a listener one with TLS.
    pub(super) fn lay_over(&self, listener: &mut Value) -> Option<()> {
        lay(&self.listener, listener)?;
        for chain in at(listener, &["filter_chains"])?.as_array_mut()? {
            lay(&self.filter_chain, chain)?;
        }
        Some(())
    }
}

fn taken(template: &mut Value, key: &str) -> Option<Value> {
    template.get_mut(key).map(Value::take)
}

/// Adds keys; where both have a list, the new entries stand behind those that are there.
fn lay(keys: &Value, over: &mut Value) -> Option<()> {
    let over = over.as_object_mut()?;
    for (key, value) in keys.as_object()? {
        match (over.get_mut(key), value) {
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more.iter().cloned()),
            _ => {
                over.insert(key.clone(), value.clone());
            }
        }
    }
    Some(())
}

fn edit(template: &mut Value, plan: &TlsPlan) -> Option<()> {
    let path = ["filter_chain", "transport_socket", "typed_config"];
    let socket = path
        .into_iter()
        .try_fold(template, |value, key| value.get_mut(key))?;
    let common = socket.get_mut("common_tls_context")?;
    let parameters = at(common, &["tls_params"])?.as_object_mut()?;
    let minimum = match plan.minimum {
        TlsVersion::V1_2 => "TLSv1_2",
        TlsVersion::V1_3 => "TLSv1_3",
    };
    parameters.insert("tls_minimum_protocol_version".to_owned(), json!(minimum));
    if !plan.cipher_suites.is_empty() {
        parameters.insert("cipher_suites".to_owned(), json!(plan.cipher_suites));
    }
    let certificates = at(common, &["tls_certificate_sds_secret_configs"])?.as_array_mut()?;
    set_file(certificates.first_mut()?, &plan.certificate)?;
    let validation = "validation_context_sds_secret_config";
    if let Some(client_ca) = &plan.client_ca {
        set_file(common.get_mut(validation)?, client_ca)?;
    } else {
        common.as_object_mut()?.remove(validation)?;
        socket
            .as_object_mut()?
            .remove("require_client_certificate")?;
    }
    Some(())
}

fn set_file(config: &mut Value, file: &SecretFile) -> Option<()> {
    *at(config, &["name"])? = json!(file.secret);
    *at(config, &["sds_config", "path_config_source", "path"])? = json!(file.path);
    Some(())
}
