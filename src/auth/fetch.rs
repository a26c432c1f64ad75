//! Gets the document of a JSON Web Key Set from a server or a file, within a time and a size.
//!
//! It neither reads the document nor keeps it. Redirects are not followed: the address in the configuration is the one
//! that is trusted.

use super::settings::{JwksLocation, JwksSettings};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use url::Url;

/// Where a document comes from.
pub(super) struct Source {
    location: JwksLocation,
    timeout: Duration,
    max_bytes: usize,
}

impl Source {
    pub(super) fn new(settings: &JwksSettings) -> Self {
        Self { location: settings.location.clone(), timeout: settings.timeout, max_bytes: settings.max_bytes }
    }

    /// The document, or what went wrong, for the log.
    pub(super) async fn load(&self) -> Result<Vec<u8>, String> {
        let document = async {
            match &self.location {
                JwksLocation::Url(url) => download(url, self.max_bytes).await,
                JwksLocation::File(path) => read(path, self.max_bytes).await,
            }
        };
        tokio::time::timeout(self.timeout, document)
            .await
            .unwrap_or_else(|_| Err(format!("no complete answer within {:?}", self.timeout)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            JwksLocation::Url(url) => url.fmt(f),
            JwksLocation::File(path) => path.display().fmt(f),
        }
    }
}

async fn download(url: &Url, max_bytes: usize) -> Result<Vec<u8>, String> {
    let address = url.as_str().parse().map_err(|error| format!("the URL can't be used: {error}"))?;
    let response = client()?.get(address).await.map_err(|error| with_causes(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(format!("the server answered with status {status}"));
    }
    let body = Limited::new(response.into_body(), max_bytes).collect().await;
    Ok(body.map_err(|error| with_causes(&*error))?.to_bytes().into())
}

/// A client that trusts the public certificate authorities. A load is too rare to keep it, or its connection.
fn client() -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| error.to_string())?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

async fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
    let mut document = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut document).await.map_err(|error| error.to_string())?;
    if document.len() > max_bytes {
        return Err(format!("it is larger than {max_bytes} bytes"));
    }
    Ok(document)
}

/// An error with what caused it, since the outermost text of a client says little.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
