//! Publishing: the manifests become the wanted generation, if nobody else has published meanwhile.
//!
//! What was there is looked at first, and replaced only if it is still there: whoever publishes in between is neither
//! overwritten nor mixed with. The same content makes no new generation, so that publishing again after a lost answer is safe.

use super::WANTED;
use super::document::Generation;
use crate::manifest::values::Carried;
use crate::store::{self, Bucket};
use std::sync::Arc;

/// Publishes over what was there when it was made.
pub struct Publisher {
    bucket: Arc<dyn Bucket>,
    revision: Option<u64>,
    before: Option<Generation>,
}

/// What publishing came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// There is a new generation.
    New(Generation),
    /// The generation that is there has the same content.
    Unchanged(Generation),
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was quicker.
    #[error("somebody else has published meanwhile, and nothing was changed; look at what is there, and publish again")]
    Overtaken,
    /// Something else stands in the bucket.
    #[error("what stands in the bucket is no generation: {0}; remove its key `{WANTED}` to begin anew")]
    Unreadable(serde_json::Error),
    /// The generation can't be written.
    #[error("the generation can't be written: {0}")]
    Unwritable(serde_json::Error),
    /// The bucket refuses.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Publisher {
    /// Looks at what is there.
    pub async fn begin(bucket: Arc<dyn Bucket>) -> Result<Self, Error> {
        let there = bucket.get(WANTED).await?;
        let revision = there.as_ref().map(|entry| entry.revision);
        let before = there.map(|entry| Generation::read(&entry.value)).transpose().map_err(Error::Unreadable)?;
        Ok(Self { bucket, revision, before })
    }

    /// The generation that was there.
    #[must_use]
    pub fn before(&self) -> Option<&Generation> {
        self.before.as_ref()
    }

    /// Makes these manifests the wanted generation.
    pub async fn publish(self, manifests: Vec<Carried>) -> Result<Published, Error> {
        let generation = Generation::after(self.before.as_ref(), manifests);
        if let Some(before) = self.before.filter(|before| before.digest == generation.digest) {
            return Ok(Published::Unchanged(before));
        }
        let value = generation.write().map_err(Error::Unwritable)?;
        match self.bucket.replace(WANTED, value, self.revision, None).await? {
            Some(_) => Ok(Published::New(generation)),
            None => Err(Error::Overtaken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBucket;
    use bytes::Bytes;
    use serde_json::json;

    fn manifests(name: &str) -> Vec<Carried> {
        vec![Carried { origin: "a.yaml:1".to_owned(), resource: json!({"metadata": {"name": name}}), table: None, since: None }]
    }

    fn new(published: Result<Published, Error>) -> u64 {
        match published {
            Ok(Published::New(generation)) => generation.number,
            other => panic!("a new generation was expected, and {other:?} came"),
        }
    }

    #[tokio::test]
    async fn generations_count_up_and_the_same_is_none() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let begin = || Publisher::begin(Arc::clone(&bucket));
        assert_eq!(new(begin().await.unwrap().publish(manifests("a")).await), 1);
        let again = begin().await.unwrap().publish(manifests("a")).await.unwrap();
        assert!(matches!(again, Published::Unchanged(generation) if generation.number == 1));
        assert_eq!(new(begin().await.unwrap().publish(manifests("b")).await), 2);
        assert_eq!(new(begin().await.unwrap().publish(manifests("a")).await), 3);
    }

    #[tokio::test]
    async fn of_two_publishers_one_is_told_to_look_again() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        for expected in [1, 2] {
            let (one, other) = (Publisher::begin(Arc::clone(&bucket)).await, Publisher::begin(Arc::clone(&bucket)).await);
            assert_eq!(new(other.unwrap().publish(manifests(&format!("other {expected}"))).await), expected);
            assert!(matches!(one.unwrap().publish(manifests("one")).await, Err(Error::Overtaken)));
        }
    }

    #[tokio::test]
    async fn what_is_no_generation_is_not_published_over() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        bucket.put(WANTED, Bytes::from("[]"), None).await.unwrap();
        assert!(matches!(Publisher::begin(bucket).await, Err(Error::Unreadable(_))));
    }
}
