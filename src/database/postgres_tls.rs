//! TLS to PostgreSQL with libpq's meaning of `sslmode`.
//!
//! `disable`, `prefer` and `require` as everywhere: the last two encrypt without verifying the server. `verify-full`
//! verifies certificate and name against the web's roots.

use super::error::Error;
use super::settings::Settings;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::str::FromStr;
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Reads the URL into a configuration and the TLS connector that its `sslmode` asks for.
pub(super) fn configure(settings: &Settings) -> Result<(Config, MakeRustlsConnect), Error> {
    let problem =
        |reason: String| Error::Configuration(format!("the database URL of '{}' can't be used: {reason}", settings.name));
    let mut url = url::Url::parse(&settings.url).map_err(|error| problem(error.to_string()))?;
    let mut verify = false;
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, value)| {
            let full = key == "sslmode" && matches!(value.as_ref(), "verify-full" | "verify-ca");
            verify |= full;
            (key.into_owned(), if full { "require".to_owned() } else { value.into_owned() })
        })
        .collect();
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let mut config = Config::from_str(url.as_str()).map_err(|error| problem(error.to_string()))?;
    if config.get_application_name().is_none() {
        config.application_name("resolvespec");
    }
    config.connect_timeout(settings.acquire_timeout);
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(error.to_string()))?;
    let tls = if verify {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth()
    };
    Ok((config, MakeRustlsConnect::new(tls)))
}

/// Encrypts without knowing the server, as `prefer` and `require` do.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
