//! Certificates made on the fly, and a client that speaks TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::process::EVENT_WAIT_MAX;

/// The name that the gateway's certificates are issued for, unless a test says another.
pub const GATEWAY: &str = "gateway.example";

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy)]
pub enum Validity {
    /// For centuries.
    Long,
    /// Long over.
    Over,
    /// Not for a long time.
    Later,
    /// For so long from now on.
    For(Duration),
}

impl Authority {
    /// A new one of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a CA can be made"),
        }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server or a client of this name.
    #[must_use]
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_valid(name, Validity::Long)
    }

    /// A certificate for a server that has all of these names and addresses.
    #[must_use]
    pub fn issue_for(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names and addresses");
        self.sign(params)
    }

    /// A certificate that is valid then.
    #[must_use]
    pub fn issue_valid(&self, name: &str, validity: Validity) -> Issued {
        let mut params = CertificateParams::default();
        if let Ok(name) = name.try_into() {
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
        }
        params.distinguished_name.push(DnType::CommonName, name);
        match validity {
            Validity::Long => {}
            Validity::Over => params.not_after = date_time_ymd(2001, 1, 1),
            Validity::Later => params.not_before = date_time_ymd(3001, 1, 1),
            Validity::For(time) => params.not_after = (SystemTime::now() + time).into(),
        }
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Issued {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be issued");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// The lines of the key that hold the key itself.
    #[must_use]
    pub fn secret_lines(&self) -> Vec<&str> {
        let lines = self.key.lines();
        lines.filter(|line| !line.starts_with('-')).collect()
    }

    /// The certificate as it is sent.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("our own PEM")
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("our own PEM")
    }
}

/// A directory with the files that the gateway reads.
pub struct Files {
    root: TempDir,
}

impl Files {
    /// With a certificate and its key.
    #[must_use]
    pub fn of(issued: &Issued) -> Self {
        let root = TempDir::with_prefix("fixgw-e2e-tls-").expect("a directory can be made");
        let files = Self { root };
        files.put_identity(issued);
        files
    }

    /// The certificate's file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("tls.crt")
    }

    /// The key's file.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("tls.key")
    }

    /// The client CA's file.
    #[must_use]
    pub fn client_ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The file of this name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces certificate and key, each by a rename.
    pub fn put_identity(&self, issued: &Issued) {
        self.put(&self.certificate(), &issued.certificate);
        self.put(&self.key(), &issued.key);
    }

    /// Replaces the client CA by a rename.
    pub fn put_client_ca(&self, pem: &str) {
        self.put(&self.client_ca(), pem);
    }

    /// Replaces a file in one step.
    pub fn put(&self, path: &Path, text: &str) {
        let draft = self.path(".draft");
        std::fs::write(&draft, text).expect("the directory takes a file");
        std::fs::rename(&draft, path).expect("a file can be renamed in its directory");
    }
}

/// What a client is made with.
#[derive(Clone)]
pub struct Client<'a> {
    trusted: &'a Authority,
    name: &'static str,
    version: Option<&'static SupportedProtocolVersion>,
    certificate: Option<&'a Issued>,
}

impl<'a> Client<'a> {
    /// Trusts this authority, asks for [`GATEWAY`], and has no certificate.
    #[must_use]
    pub const fn trusting(trusted: &'a Authority) -> Self {
        Self {
            trusted,
            name: GATEWAY,
            version: None,
            certificate: None,
        }
    }

    /// Asks for another name.
    #[must_use]
    pub const fn asking_for(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Speaks this version only.
    #[must_use]
    pub const fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Shows a certificate when it is asked for one.
    #[must_use]
    pub const fn showing(mut self, certificate: &'a Issued) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The state of a connection that has not begun.
    #[must_use]
    pub fn connection(&self) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.trusted.pem().as_bytes());
        roots
            .add(root.expect("our own PEM"))
            .expect("a CA can be trusted");
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let versions = self.version.map_or(versions.to_vec(), |one| vec![one]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("ring has these versions")
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => config.with_no_client_auth(),
            Some(issued) => config
                .with_client_auth_cert(vec![issued.der()], issued.private_key())
                .expect("the key is the certificate's"),
        };
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(self.name).expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client can be made")
    }

    /// Connects, and waits for nothing yet.
    #[must_use]
    pub fn connect(&self, address: SocketAddr) -> TlsClient {
        let socket = TcpStream::connect(address).expect("the listener takes connections");
        socket
            .set_read_timeout(Some(EVENT_WAIT_MAX))
            .expect("the bound is not zero");
        let address = socket.local_addr().expect("a connected socket has one");
        TlsClient {
            stream: StreamOwned::new(self.connection(), socket),
            address,
        }
    }
}

/// A connection that speaks TLS.
pub struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    address: SocketAddr,
}

impl TlsClient {
    /// The address of this end.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The stream itself.
    #[must_use]
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.stream
    }

    /// Sends a Logon, the handshake before it, and returns the name of the light engine that echoes it.
    ///
    /// # Errors
    /// What the handshake or the connection failed by. (With TLS 1.3 a client learns only when it reads that its
    /// certificate was refused.)
    pub fn greeting_after(&mut self, logon: &[u8]) -> Result<String, String> {
        self.stream
            .write_all(logon)
            .map_err(|error| error.to_string())?;
        let greeting = self.greeting()?;
        self.assert_back(logon);
        Ok(greeting)
    }

    fn greeting(&mut self) -> Result<String, String> {
        let mut greeting = Vec::new();
        let mut byte = [0];
        while greeting.last() != Some(&b']') {
            match self.stream.read(&mut byte) {
                Ok(0) => return Err("closed".to_owned()),
                Ok(_) => greeting.push(byte[0]),
                Err(error) => return Err(error.to_string()),
            }
        }
        let greeting = String::from_utf8(greeting).expect("an engine's name is text");
        Ok(greeting.trim_matches(['[', ']']).to_owned())
    }

    /// Whether bytes still go to the light engine and come back.
    pub fn assert_echoes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the session takes bytes");
        self.assert_back(bytes);
    }

    fn assert_back(&mut self, bytes: &[u8]) {
        let mut back = vec![0; bytes.len()];
        self.stream
            .read_exact(&mut back)
            .expect("the session goes on");
        assert_eq!(back, bytes);
    }

    /// The certificate that the gateway showed, once the handshake is done.
    #[must_use]
    pub fn shown(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates();
        let shown = chain.and_then(<[_]>::first);
        shown.expect("the handshake is done").clone().into_owned()
    }
}

/// The first bytes of a client that speaks TLS 1.1 at most (RFC 4346, 7.4.1.2): one cipher suite, no extension.
#[must_use]
pub fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]); // random
    body.push(0); // no session id
    body.extend([0, 2, 0xC0, 0x14]); // ECDHE-RSA-AES256-SHA
    body.extend([1, 0]); // no compression
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("a short message");
    let mut message = vec![1, 0];
    message.extend(length(&body).to_be_bytes());
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(length(&message).to_be_bytes());
    record.extend(message);
    record
}
