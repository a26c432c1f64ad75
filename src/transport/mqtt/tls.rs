//! TLS to brokers: the authorities of a file or the web's, and a certificate of our own where a broker asks for one.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files with authorities and with our own certificate, PEM.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Whom to trust; the web's authorities if there are none.
    pub authorities: Vec<PathBuf>,
    /// Our certificate, and the file with its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
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
    #[error("the certificate for MQTT can't be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Makes the configuration of connections.
pub fn configure(files: &Files) -> Result<Arc<ClientConfig>, Problem> {
    let mut roots = RootCertStore::empty();
    for file in &files.authorities {
        for certificate in certificates(file)? {
            roots.add(certificate)?;
        }
    }
    if files.authorities.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    Ok(Arc::new(match &files.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let read = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, read)?
        }
    }))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| problem(file, &error))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| problem(file, &error))?;
    if all.is_empty() {
        return Err(Problem::File { path: file.to_owned(), reason: "there is no certificate in it".to_owned() });
    }
    Ok(all)
}

fn problem(file: &Path, error: &rustls::pki_types::pem::Error) -> Problem {
    Problem::File { path: file.to_owned(), reason: error.to_string() }
}
