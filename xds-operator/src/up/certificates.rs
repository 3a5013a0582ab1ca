//! How do certificates get from the user's files to Envoy, at the start and when they change?
//!
//! The thin end of [`crate::certificate`], which judges: looks at the files, hands what is good to Envoy in the gateway's
//! private run directory, asks whether Envoy took it, and says what became of it.
//!
//! INVARIANT: a private key is written to the run directory alone, and stands there only until Envoy has read it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixgw_core::decision::Severity;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;

use crate::certificate::watch::{Digest, Expiry, Turn, Watch};
use crate::certificate::{Fault, Good, Material};
use crate::cli::TlsArgs;
use crate::envoy::admin::{self, Admin};
use crate::envoy::bootstrap::tls::{SECRET_CERTIFICATE, SECRET_CLIENT_CA, SecretFile, TlsPlan};
use crate::envoy::files::{contents, put};
use crate::envoy::settings::TlsVersion;
use crate::said::Said;

/// How often the files are looked at. What two looks in a row find counts, so a change takes 1 to 2 s.
const LOOK: Duration = Duration::from_secs(1);
/// How often Envoy is asked whether it took what it was handed.
const ASK: Duration = Duration::from_millis(50);
/// Time that a running Envoy has to take it. It takes milliseconds.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there are no listeners with TLS.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The files are not fit.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Cipher suites for a version that is not taken.
    #[error(
        "--tls-ciphers is about TLS 1.2, which --tls-min 1.3 does not take; leave one of them out"
    )]
    SuitesWithoutVersion,
    /// Envoy refused what was found good here.
    #[error("Envoy refuses the {0} `{1}`; its log says why")]
    Refused(&'static str, String),
    /// It could not be handed to Envoy.
    #[error("the {0} could not be written for Envoy ({1}); check the space below $TMPDIR")]
    Write(&'static str, io::Error),
}

/// The certificate and the client CA of the listeners with TLS.
#[derive(Debug)]
pub(super) struct Certificates {
    kept: Vec<Kept>,
    due: Instant,
}

/// One material, and how far it got.
#[derive(Debug)]
struct Kept {
    material: Material,
    secret: &'static str,
    /// The file that Envoy discovers it in.
    path: PathBuf,
    watch: Watch,
    /// The last version that Envoy was handed, from 1.
    version: u64,
    /// How many versions Envoy has refused.
    refused: u64,
    handed: Option<Handed>,
}

/// What Envoy was handed and has not answered yet.
#[derive(Debug)]
struct Handed {
    digest: Digest,
    about: String,
    expires: Timestamp,
    since: Instant,
}

impl Certificates {
    /// Judges the files and lays them ready for Envoy; none without a listener that needs them.
    ///
    /// # Errors
    /// They are not fit.
    pub(super) fn begin(args: &TlsArgs, run: &Path) -> Result<Option<Self>, CertificateError> {
        let (Some(certificate), Some(key)) = (&args.certificate, &args.key) else {
            return Ok(None);
        };
        if args.minimum == TlsVersion::V1_3 && !args.cipher_suites.is_empty() {
            return Err(CertificateError::SuitesWithoutVersion);
        }
        let identity = Material::Identity {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let client_ca = args.client_ca.clone().map(Material::ClientCa);
        let materials = [
            (Some(identity), SECRET_CERTIFICATE),
            (client_ca, SECRET_CLIENT_CA),
        ];
        let kept = materials.into_iter().filter_map(|(material, secret)| {
            let path = run.join(format!("{secret}.json"));
            Some(Kept::begin(material?, secret, path))
        });
        Ok(Some(Self {
            kept: kept.collect::<Result<_, _>>()?,
            due: Instant::now(),
        }))
    }

    /// What Envoy must know of them.
    pub(super) fn plan(&self, args: &TlsArgs) -> TlsPlan {
        let file = |secret: &str| {
            let kept = self.kept.iter().find(|kept| kept.secret == secret);
            kept.map(|kept| SecretFile {
                secret: kept.secret.to_owned(),
                path: kept.path.clone(),
            })
        };
        TlsPlan {
            certificate: file(SECRET_CERTIFICATE).unwrap_or_default(),
            client_ca: file(SECRET_CLIENT_CA),
            minimum: args.minimum,
            cipher_suites: args.cipher_suites.clone(),
        }
    }

    /// Whether Envoy has everything that it was handed.
    pub(super) fn are_taken(&self) -> bool {
        self.kept.iter().all(|kept| kept.handed.is_none())
    }

    /// When to look again.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Looks at the files, or asks Envoy about what it was handed; returns what there is to say.
    ///
    /// # Errors
    /// Envoy refuses the first one: there is none before it that could stay in use.
    pub(super) async fn look(&mut self, admin: &Admin) -> Result<Vec<Said>, CertificateError> {
        let mut said = Vec::new();
        for kept in &mut self.kept {
            match kept.handed.take() {
                Some(handed) => said.extend(kept.ask(admin, handed).await?),
                None => said.extend(kept.look(Timestamp::now())),
            }
        }
        let pause = if self.are_taken() { LOOK } else { ASK };
        self.due = Instant::now() + pause;
        Ok(said)
    }
}

impl Kept {
    fn begin(
        material: Material,
        secret: &'static str,
        path: PathBuf,
    ) -> Result<Self, CertificateError> {
        let contents = contents(&material);
        let good = material.judge(&contents, Timestamp::now())?;
        let digest = Digest::of(&contents);
        let mut kept = Self {
            watch: Watch::begin(digest, good.expires),
            material,
            secret,
            path,
            version: 0,
            refused: 0,
            handed: None,
        };
        kept.hand_over(digest, good)
            .map_err(|why| CertificateError::Write(kept.material.name(), why))?;
        Ok(kept)
    }

    /// Puts it where Envoy discovers it. Envoy notices a file that is moved there, and not one that is written to.
    fn hand_over(&mut self, digest: Digest, good: Good) -> io::Result<()> {
        self.version += 1;
        let key_file = self.key_file();
        if let Some(key) = good.secret.key() {
            put(&key_file, key.as_bytes())?;
        }
        let discovery = good.secret.discovery(self.secret, self.version, &key_file);
        put(&self.path, &discovery)?;
        self.handed = Some(Handed {
            digest,
            about: good.about,
            expires: good.expires,
            since: Instant::now(),
        });
        Ok(())
    }

    async fn ask(
        &mut self,
        admin: &Admin,
        handed: Handed,
    ) -> Result<Option<Said>, CertificateError> {
        let state = admin::secret(admin, self.secret).await.unwrap_or_default();
        let (first, name) = (self.version == 1, self.material.name());
        let taken = state.version == self.version.to_string();
        let refused = state.refused > self.refused;
        // While it starts, the whole gateway has a time limit.
        let late = !first && handed.since.elapsed() > TAKE_TIMEOUT;
        if !(taken || refused || late) {
            self.handed = Some(handed);
            return Ok(None);
        }
        self.refused = self.refused.max(state.refused);
        // Envoy has read it, or shall not read it any more.
        let _ = fs::remove_file(self.key_file());
        let _ = fs::remove_file(&self.path);
        if taken {
            self.watch.take(handed.digest, handed.expires);
            let about = format!("{} is in use: {}", self.called(), handed.about);
            return Ok(Some(Said::gateway(Severity::Info, about)));
        }
        if first {
            return Err(CertificateError::Refused(name, self.paths()));
        }
        self.watch.refuse(handed.digest, None);
        let what = if refused { "refuses" } else { "does not take" };
        let why = format!("Envoy {what} {}; its log may say why", self.called());
        Ok(Some(self.keeps_the_old(&why)))
    }

    fn look(&mut self, now: Timestamp) -> Option<Said> {
        let contents = contents(&self.material);
        let digest = Digest::of(&contents);
        match self.watch.look(digest, now) {
            Turn::Rest => self.expiry(now),
            Turn::Back => {
                let back = format!("{} is again the one in use", self.called());
                Some(Said::gateway(Severity::Info, back))
            }
            Turn::Judge => {
                let judged = self.material.judge(&contents, now);
                let fault = match judged {
                    Ok(good) => self.hand_over(digest, good).err().map(|why| {
                        let error = CertificateError::Write(self.material.name(), why);
                        (error.to_string(), None)
                    }),
                    Err(fault) => Some((fault.to_string(), fault.ends_at())),
                };
                let (why, again_at) = fault?;
                self.watch.refuse(digest, again_at);
                Some(self.keeps_the_old(&why))
            }
        }
    }

    fn expiry(&mut self, now: Timestamp) -> Option<Said> {
        let (when, effect) = match self.watch.expiry(now)? {
            Expiry::Soon => ("expires", "then new connections that need it fail"),
            Expiry::Over => ("expired", "new connections that need it fail"),
        };
        let warning = format!(
            "{} in use {when} at {}: {effect}; replace it, no restart is needed",
            self.called(),
            self.watch.expires()
        );
        Some(Said::gateway(Severity::Warn, warning))
    }

    fn keeps_the_old(&self, why: &str) -> Said {
        let name = self.material.name();
        let message = format!("{why}; until then the {name} from before stays in use");
        Said::gateway(Severity::Error, message)
    }

    /// Another one for each version: Envoy watches the files that a secret names, too.
    fn key_file(&self) -> PathBuf {
        self.path.with_extension(format!("{}.key", self.version))
    }

    fn called(&self) -> String {
        format!("the {} `{}`", self.material.name(), self.paths())
    }

    /// The file that a person knows it by.
    fn paths(&self) -> String {
        let files = self.material.files();
        files
            .first()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    }
}
