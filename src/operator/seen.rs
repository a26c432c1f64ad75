//! A resource as it was seen, readable or not: one that this version can't read must not end the watch over all the others.

use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// A resource, or what is known of one that can't be read.
#[derive(Debug, Clone)]
pub(super) struct Seen<K>(pub(super) Result<K, Unreadable>);

/// A resource that can't be read.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) metadata: ObjectMeta,
    pub(super) reason: String,
    /// What it says, as it stands there.
    pub(super) spec: Value,
    /// What it was told, as it stands there.
    pub(super) status: Value,
}

impl Unreadable {
    /// What is said of it, for people.
    pub(super) fn told(&self) -> String {
        format!("this version of the operator can't read it: {}", self.reason)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Seen<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let field = |name: &str| value.get(name).cloned().unwrap_or_default();
        let (metadata, spec, status) = (field("metadata"), field("spec"), field("status"));
        match serde_path_to_error::deserialize(value) {
            Ok(resource) => Ok(Self(Ok(resource))),
            Err(error) => {
                let metadata = serde_json::from_value(metadata).map_err(D::Error::custom)?;
                Ok(Self(Err(Unreadable { metadata, reason: error.to_string(), spec, status })))
            }
        }
    }
}

impl<K: Resource> Resource for Seen<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use crate::manifest::DataSource;
    use kube::Resource;
    use serde_json::json;

    fn seen(spec: &serde_json::Value) -> Seen<DataSource> {
        let resource = json!({
            "apiVersion": "resolvespec.dev/v1alpha1", "kind": "DataSource",
            "metadata": {"name": "shop", "generation": 3}, "spec": spec,
        });
        serde_json::from_str(&resource.to_string()).expect("it is seen")
    }

    #[test]
    fn numbers_are_read() {
        let seen = seen(&json!({"engine": "postgres", "connection": {}, "pool": {"maxConnections": 7}}));
        assert_eq!(seen.meta().generation, Some(3));
        assert_eq!(seen.0.expect("readable").spec.pool.max_connections, Some(7));
    }

    #[test]
    fn what_cannot_be_read_still_has_a_name() {
        let seen = seen(&json!({"engine": "oracle", "connection": {}}));
        assert_eq!(seen.meta().name.as_deref(), Some("shop"));
        assert!(seen.0.expect_err("unreadable").reason.contains("spec.engine"));
    }
}
