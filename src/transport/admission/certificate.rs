//! The certificate of a listener, which is another one after a while: whoever issues it puts new files in the place of the old.
//!
//! Files are looked at again and again rather than watched, since what kubelets do to a mounted Secret, and editors to a file, looks
//! different to a watch and the same to a reader. A pair that can't be used, such as a new certificate beside the old key, leaves
//! what is served as it is.

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Where a certificate is, PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and those of who signed it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why they can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file can't be read.
    #[error("{} can't be used: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They don't fit together.
    #[error("the certificate in {} can't be used: {error}", path.display())]
    Tls {
        /// Where the certificate is.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

/// A certificate that follows its files.
pub struct Certificate {
    files: Files,
    /// What the files had when they were looked at last.
    seen: Texts,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads it.
    pub async fn read(files: Files) -> Result<Self, Problem> {
        let seen = files.texts().await?;
        let current = Arc::new(Current(ArcSwap::from_pointee(files.certified(&seen)?)));
        Ok(Self { files, seen, current })
    }

    /// The configuration of a listener that has it.
    pub fn config(&self) -> Result<ServerConfig, Problem> {
        let error = |error| Problem::Tls { path: self.files.certificate.clone(), error };
        let builder: ConfigBuilder<ServerConfig, WantsVerifier> =
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(error)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(&self.current) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Follows the files, without end.
    pub async fn follow(mut self) -> Infallible {
        let mut is_missed = false;
        loop {
            sleep(LOOK).await;
            let texts = match self.files.texts().await {
                Ok(texts) => texts,
                Err(problem) => {
                    if !is_missed {
                        warn!(%problem, "the certificate can't be looked at; the one that was read before is used");
                    }
                    is_missed = true;
                    continue;
                }
            };
            is_missed = false;
            if texts == self.seen {
                continue;
            }
            match self.files.certified(&texts) {
                Ok(certified) => {
                    self.current.0.store(Arc::new(certified));
                    info!(file = %self.files.certificate.display(), "another certificate is used from now on");
                }
                Err(problem) => warn!(%problem, "the new certificate is not used; the one before is"),
            }
            self.seen = texts;
        }
    }
}

impl Files {
    async fn texts(&self) -> Result<Texts, Problem> {
        Ok(Texts { certificate: text(&self.certificate).await?, key: text(&self.key).await? })
    }

    fn certified(&self, texts: &Texts) -> Result<CertifiedKey, Problem> {
        let certificates = CertificateDer::pem_slice_iter(&texts.certificate).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| problem(&self.certificate, &error))?;
        if certificates.is_empty() {
            return Err(problem(&self.certificate, &"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error| problem(&self.key, &error))?;
        CertifiedKey::from_der(certificates, key, &ring::default_provider())
            .map_err(|error| Problem::Tls { path: self.certificate.clone(), error })
    }
}

async fn text(file: &Path) -> Result<Vec<u8>, Problem> {
    tokio::fs::read(file).await.map_err(|error| problem(file, &error))
}

fn problem(file: &Path, reason: &impl ToString) -> Problem {
    Problem::File { path: file.to_owned(), reason: reason.to_string() }
}
