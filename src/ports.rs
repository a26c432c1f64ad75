//! The ports of a replica, taken before it can answer, and what is told there meanwhile.

use crate::cli::Error;
use crate::config::Config;
use crate::readiness::{Needs, Readiness};
use crate::telemetry::Metrics;
use crate::transport::admin;
use futures_util::future::try_join_all;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long the last answers before a replica serves may take.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The ports of a replica that can't answer requests yet.
pub struct Ports {
    pub(crate) listener: TcpListener,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) address: SocketAddr,
    /// What is missing.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Metrics,
}

impl Ports {
    /// Takes the ports.
    pub async fn take(config: &Config, needs: Needs) -> Result<Self, Error> {
        let listener = listen(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let address = listener.local_addr()?;
        Ok(Self { listener, admin, address, readiness: Readiness::new(needs), metrics: Metrics::new()? })
    }

    /// Where requests will be taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says on both ports that the replica starts, until what it waits for is there.
    pub async fn meanwhile<T>(&self, waited_for: impl Future<Output = T>) -> Result<T, Error> {
        let waiting = admin::Waiting { readiness: self.readiness.clone(), metrics: self.metrics.clone() };
        let over = CancellationToken::new();
        let tell = |listener: TcpListener| {
            let (router, over) = (admin::waiting_router(waiting.clone()), over.clone());
            axum::serve(listener, router).with_graceful_shutdown(async move { over.cancelled().await }).into_future()
        };
        let mut listeners = vec![again(&self.listener)?];
        if let Some(admin) = &self.admin {
            listeners.push(again(admin)?);
        }
        let mut telling = try_join_all(listeners.into_iter().map(tell));
        let done = tokio::select! {
            done = waited_for => done,
            ended = &mut telling => return Err(ended.err().map_or_else(|| Error::new("the ports were closed"), Error::from)),
        };
        over.cancel();
        // Whoever is in the middle of asking gets an answer; whoever does nothing is not waited for.
        _ = tokio::time::timeout(LAST_ANSWERS, telling).await;
        Ok(done)
    }
}

/// The same port once more. Connections that wait there are taken by either.
fn again(listener: &TcpListener) -> Result<TcpListener, Error> {
    Ok(TcpListener::from_std(listener.as_fd().try_clone_to_owned()?.into())?)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::new(format!("{address} can't be listened on: {error}; choose another port")))
}
