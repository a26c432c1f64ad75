//! `probe`: asks one address and tells whether the answer is a good one, for machines that have no other program to ask with.
//!
//! It speaks plain HTTP only, follows no redirect and sends no token: health and readiness need none.

use crate::cli::{Error, ProbeArgs};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::io::Write;
use std::time::Duration;

/// What is read of an answer.
const MAX_BYTES: usize = 1 << 20;

/// Prints the answer's body; any status but a good one is an error.
pub async fn probe(args: ProbeArgs) -> Result<(), Error> {
    let ProbeArgs { url, timeout_seconds } = args;
    let address = url.parse().map_err(|error| Error::new(format!("{url} is no address to ask: {error}")))?;
    let asking = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = client.get(address).await.map_err(Error::from)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|error| Error::new(format!("the answer of {url} broke off: {error}")))?.to_bytes();
        Ok::<_, Error>((status, body))
    };
    let answered = tokio::time::timeout(Duration::from_secs(timeout_seconds), asking).await;
    let (status, body) = answered.map_err(|_| Error::new(format!("{url} did not answer in {timeout_seconds} seconds")))??;
    let mut out = std::io::stdout().lock();
    out.write_all(&body)?;
    writeln!(out)?;
    if status.is_success() { Ok(()) } else { Err(Error::new(format!("{url} answered with status {status}"))) }
}
