//! For tests: a bucket in which somebody else is quicker.

use super::{Bucket, Entry, Error, MemoryBucket, Watch};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A bucket in which something happens after somebody has looked at a key.
#[derive(Default)]
pub(crate) struct Busy {
    pub(crate) inner: MemoryBucket,
    /// The key that is looked at, and the value that comes under it then.
    pub(crate) then: Mutex<Option<(String, Bytes)>>,
}

#[async_trait]
impl Bucket for Busy {
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
        self.inner.replace(key, value, revision, lifetime).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let found = self.inner.get(key).await;
        let then = self.then.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(own, _)| own == key);
        if let Some((key, value)) = then {
            self.inner.put(&key, value, None).await?;
        }
        found
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        self.inner.remove(key, revision).await
    }

    async fn watch(&self) -> Result<Watch, Error> {
        self.inner.watch().await
    }
}
