//! Small shared state that outlives a replica: buckets of values under keys.
//!
//! The compiled catalog is one large value, sessions are many small ones with a lifetime. A bucket knows nothing of either.
//! Two implementations pass the same conformance suite: memory, and NATS.

#[cfg(test)]
mod busy;
mod memory;
mod nats;

#[cfg(test)]
pub(crate) use busy::Busy;
pub use memory::MemoryBucket;
pub use nats::{BucketSettings, NatsBucket};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::time::Duration;

/// Values under keys; a key is any text.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// Keeps a value, of any size, in the place of the one before; for ever, or for a lifetime from now, which is counted in
    /// whole seconds. The answer is its revision: a later put, of any key, has a higher one.
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error>;

    /// Keeps a value as [`Bucket::put`] does if the key's is still the one of a revision, or if there is none where no
    /// revision is given. The answer is its revision; `None` says that somebody else was quicker, and that nothing was
    /// changed. After an error it may have been kept.
    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error>;

    /// The value of a key; what was put before the call, at least.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Removes a key; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// Removes a key if its value is still the one of a revision, and says whether it was.
    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error>;

    /// Everything that is there, then everything that changes, for as long as the stream is polled. Connections that are
    /// lost are made again within it, and then everything is told anew. Values are told in the order of their revisions. Of a
    /// key that changes quickly, values in between can be left out; the latest never is.
    async fn watch(&self) -> Result<Watch, Error>;

    /// How many bytes it takes at most, if it has a limit.
    fn max_bytes(&self) -> Option<u64> {
        None
    }
}

/// What a bucket tells.
pub type Watch = BoxStream<'static, Told>;

/// A step of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// From here everything is told anew: a key that is not told before `Current` is not there any more.
    Beginning,
    /// A key has a value.
    Put(Entry),
    /// A key was removed, or its lifetime is over; it can be one that was never told.
    Removed {
        /// The key.
        key: String,
    },
    /// Everything that was there has been told.
    Current,
}

/// A value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The number of the put.
    pub revision: u64,
}

/// Why a bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be reached, or many write the same key at once; the same call may succeed later.
    #[error("the store can't be reached: {0}")]
    Unavailable(String),
    /// It is set up in a way that can't work, or full.
    #[error("{0}")]
    Unusable(String),
}
