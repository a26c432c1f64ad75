//! The bus over NATS JetStream: one stream that every relay publishes to and every replica follows.
//!
//! Offsets are the stream's own sequences. Batches are published so that each is kept whole or not at all, and one after the
//! other, so that nothing can be kept after something that is missing; this needs nats-server 2.12.1.

mod follow;
mod message;
mod publish;
mod settings;
mod stream;

pub use settings::StreamSettings;

use super::{Bus, Deliveries, Error, Extent, Latest};
use crate::nats::Connection;
use crate::nats::subject::unescape;
use crate::protocol::{Change, Position};
use async_trait::async_trait;
use std::sync::Arc;
use stream::Stream;

/// The bus. Cheap to clone; clones are the same bus.
#[derive(Clone)]
pub struct NatsBus {
    stream: Arc<Stream>,
}

impl NatsBus {
    /// Makes the stream or adapts it to the settings, and looks at it.
    pub async fn open(connection: &Connection, settings: StreamSettings) -> Result<Self, Error> {
        check(&settings)?;
        let stream = Stream::new(connection.clone(), settings);
        stream.ensure().await?;
        stream.look().await?;
        Ok(Self { stream: Arc::new(stream) })
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error> {
        publish::publish(&self.stream, changes).await
    }

    async fn extent(&self) -> Result<Extent, Error> {
        self.stream.look().await
    }

    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error> {
        self.stream.latest_of(source).await
    }

    async fn follow(&self, after: &Position) -> Result<Deliveries, Error> {
        follow::follow(Arc::clone(&self.stream), after).await
    }

    async fn renew(&self) -> Result<(), Error> {
        self.stream.begin_epoch().await
    }

    async fn renew_after(&self, epoch: &str) -> Result<(), Error> {
        self.stream.renew(epoch).await
    }

    fn is_connected(&self) -> bool {
        self.stream.connection.is_connected()
    }
}

fn check(settings: &StreamSettings) -> Result<(), Error> {
    let tokens_are_plain = settings.prefix.split('.').all(|token| unescape(token).is_some_and(|name| !name.is_empty()));
    if !tokens_are_plain {
        return Err(Error::Unusable(format!("'{}' can't begin subjects", settings.prefix)));
    }
    if !(1..=1000).contains(&settings.batch) {
        return Err(Error::Unusable(format!("a batch is of 1 to 1000 changes, not of {}", settings.batch)));
    }
    Ok(())
}
