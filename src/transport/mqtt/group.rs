//! The group in which replicas share the requests of a broker.
//!
//! Brokers let everybody join a group whose topics they may read, and requests get lost to whoever does. So unless somebody
//! names the group, its name is made by the first replica and kept where the others find it, and no client can guess it.

use super::settings::{Settings, Sharing};
use crate::store::{Bucket, Error};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;
use uuid::Uuid;

const KEY: &str = "group";
/// Before the bucket is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What a replica subscribes to. Waits until the bucket answers, if the name is there.
pub(super) async fn filter(settings: &Settings, bucket: &Arc<dyn Bucket>) -> Filter {
    let group = match &settings.sharing {
        Sharing::Nobody => None,
        Sharing::Group(name) => Some(name.clone()),
        Sharing::Agreed => loop {
            match agreed(&**bucket).await {
                Ok(name) => break Some(name),
                Err(error) => warn!(%error, "the name of the group can't be looked up; trying again"),
            }
            tokio::time::sleep(RETRY).await;
        },
    };
    let shared = group.is_some();
    let topic = group.map_or_else(String::new, |group| format!("$share/{group}/"));
    Filter { topic: format!("{topic}{}/+/request", settings.prefix), shared }
}

/// What requests come by.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub topic: String,
    /// Whether the broker has to know shared subscriptions.
    pub shared: bool,
}

async fn agreed(bucket: &dyn Bucket) -> Result<String, Error> {
    loop {
        if let Some(entry) = bucket.get(KEY).await? {
            return String::from_utf8(entry.value.to_vec()).map_err(|error| Error::Unusable(error.to_string()));
        }
        let name = Uuid::new_v4().simple().to_string();
        if bucket.replace(KEY, name.clone().into(), None, None).await?.is_some() {
            return Ok(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBucket;

    #[tokio::test]
    async fn replicas_agree_on_a_name_and_a_given_one_is_taken_as_it_is() {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let mut settings = Settings::new(Vec::new(), "one".to_owned());
        let (one, two) = (filter(&settings, &bucket).await, filter(&settings, &bucket).await);
        assert!(one.shared && one.topic.starts_with("$share/") && one.topic.ends_with("/spec/+/request"), "{one:?}");
        assert_eq!(one.topic, two.topic);
        let other: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        assert_ne!(filter(&settings, &other).await.topic, one.topic, "it can't be known from elsewhere");
        settings.sharing = Sharing::Group("named".to_owned());
        assert_eq!(filter(&settings, &bucket).await.topic, "$share/named/spec/+/request");
        settings.sharing = Sharing::Nobody;
        let alone = filter(&settings, &bucket).await;
        assert_eq!((alone.topic.as_str(), alone.shared), ("spec/+/request", false));
    }
}
