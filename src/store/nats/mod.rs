//! A bucket of NATS' key-value store, which needs nats-server 2.11 for lifetimes.
//!
//! A value stands under `value.<key>`. One that is too large for a message is cut: its parts are kept first, under
//! `part.<key>.<id>.<number>`, then `value.<key>` names them, so that readers see the old value or the new one and nothing in
//! between. Parts that nobody names any more are purged by the next writer of the key.

mod read;
mod watch;
mod write;

use super::{Bucket, Entry, Error, Watch};
use crate::nats::subject::escape;
use crate::nats::{Connection, Storage};
use async_nats::jetstream::context::{CreateKeyValueError, CreateKeyValueErrorKind, GetStreamErrorKind};
use async_nats::jetstream::{ErrorCode, kv, stream};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How many times a value that changes under our hands is tried again.
const ATTEMPTS: usize = 10;
/// How long watchers that were away can learn that a key was removed.
const REMOVAL_LIFETIME: Duration = Duration::from_mins(10);
/// A value is cut into parts of this many bytes, or of half a message if that is less.
const PART_BYTES: usize = 512 << 10;
/// Names the parts of a value that was cut: their id and their number.
const PARTS: &str = "ResolveSpec-Parts";
const OPERATION: &str = "KV-Operation";

/// What a bucket is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    /// Its name, of letters, digits, `-` and `_`.
    pub name: String,
    /// How many bytes it takes at most; beyond, a put is refused.
    pub max_bytes: u64,
    /// On how many servers each value is kept: 1, 3 or 5.
    pub replicas: usize,
    /// Where values are kept.
    pub storage: Storage,
}

impl BucketSettings {
    /// The defaults for a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), max_bytes: 256 << 20, replicas: 1, storage: Storage::File }
    }
}

/// The bucket. Cheap to clone; clones are the same bucket.
#[derive(Clone)]
pub struct NatsBucket {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    settings: BucketSettings,
}

impl NatsBucket {
    /// Makes the bucket or adapts it to the settings.
    pub async fn open(connection: &Connection, settings: BucketSettings) -> Result<Self, Error> {
        let inner = Inner { connection: connection.clone(), settings };
        inner.ensure().await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes the bucket as it is; makes it only if there is none.
    pub async fn find(connection: &Connection, settings: BucketSettings) -> Result<Self, Error> {
        let inner = Inner { connection: connection.clone(), settings };
        inner.stream().await?;
        Ok(Self { inner: Arc::new(inner) })
    }
}

#[async_trait]
impl Bucket for NatsBucket {
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        self.inner.put(key, value, lifetime).await
    }

    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        self.inner.replace(key, &value, revision, lifetime).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        self.inner.remove(key, revision).await
    }

    async fn watch(&self) -> Result<Watch, Error> {
        watch::watch(Arc::clone(&self.inner)).await
    }

    fn max_bytes(&self) -> Option<u64> {
        Some(self.inner.settings.max_bytes)
    }
}

impl Inner {
    async fn ensure(&self) -> Result<(), Error> {
        let config = kv::Config {
            bucket: self.settings.name.clone(),
            description: "resolvespec".to_owned(),
            history: 1,
            max_bytes: i64::try_from(self.settings.max_bytes).unwrap_or(i64::MAX),
            storage: self.settings.storage.into(),
            num_replicas: self.settings.replicas,
            limit_markers: Some(REMOVAL_LIFETIME),
            ..kv::Config::default()
        };
        let made = self.connection.jetstream().create_or_update_key_value(config).await;
        made.map(|_| ()).map_err(|error| refused(&error))
    }

    /// The stream behind the bucket; made again if somebody deleted it.
    async fn stream(&self) -> Result<stream::Stream, Error> {
        for _ in 0..2 {
            match self.connection.jetstream().get_stream(self.stream_name()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        self.ensure().await?;
                    }
                    _ => return Err(Error::Unavailable(error.to_string())),
                },
            }
        }
        Err(Error::Unavailable(format!("bucket {} is deleted again and again", self.settings.name)))
    }

    fn stream_name(&self) -> String {
        format!("KV_{}", self.settings.name)
    }

    /// The subject of a key.
    fn value_subject(&self, key: &str) -> String {
        format!("{}{}", self.values_prefix(), escape(key))
    }

    fn values_prefix(&self) -> String {
        format!("$KV.{}.value.", self.settings.name)
    }

    /// What the subjects of a key's parts begin with.
    fn parts_prefix(&self, key: &str) -> String {
        format!("$KV.{}.part.{}.", self.settings.name, escape(key))
    }

    fn part_bytes(&self) -> usize {
        PART_BYTES.min(self.connection.client().max_payload() / 2)
    }
}

fn refused(error: &CreateKeyValueError) -> Error {
    match error.kind() {
        CreateKeyValueErrorKind::InvalidStoreName
        | CreateKeyValueErrorKind::TooLongHistory
        | CreateKeyValueErrorKind::LimitMarkersNotSupported => Error::Unusable(format!("NATS refuses the bucket: {error}")),
        CreateKeyValueErrorKind::TimedOut | CreateKeyValueErrorKind::JetStream | CreateKeyValueErrorKind::BucketCreate => {
            Error::Unavailable(error.to_string())
        }
    }
}
