//! As much of a source that can't be read as undoing its capture takes, so that its deletion does not wait for ever.
//!
//! Nothing of it is published: what can't be read is not served.

use super::finalizer;
use super::handing::Handing;
use super::seen::Unreadable;
use crate::auth::Secret;
use crate::manifest::DataSource;
use crate::manifest::connection::is_url_of;
use crate::manifest::data_source::{Capture, Connection, DataSourceSpec, Engine, Pool};
use std::sync::Arc;

/// A source that can't be read, and whose changes are captured.
#[derive(Clone)]
pub(super) struct Illegible {
    /// Its metadata, and of what it says the engine and the URL, as far as they are known.
    pub(super) resource: Arc<DataSource>,
    /// Where its database is.
    pub(super) url: Option<Secret>,
}

/// The sources among what can't be read that have something to undo.
pub(super) fn illegible(unreadable: &[(&'static str, Unreadable)], handing: &Handing) -> Vec<Illegible> {
    let sources = unreadable.iter().filter(|(kind, source)| *kind == "DataSource" && finalizer::keeps(&source.metadata));
    let known = |source: &Unreadable| {
        let (namespace, name) = (source.metadata.namespace.as_deref(), source.metadata.name.as_deref());
        Illegible::new(source, handing.latest(namespace.unwrap_or_default(), name.unwrap_or_default()))
    };
    sources.map(|(_, source)| known(source)).collect()
}

impl Illegible {
    /// What it says of its URL, or else what replicas were handed.
    fn new(source: &Unreadable, handed: Option<Secret>) -> Self {
        let written = source.spec["connection"]["url"].as_str().map(ToOwned::to_owned);
        let url = written.clone().map(Secret::new).or(handed);
        let is_of = |engine: &Engine| url.as_ref().and_then(Secret::text).is_some_and(|url| is_url_of(*engine, url));
        let spec = DataSourceSpec {
            // Nothing can be undone of one without a URL, whatever its engine is.
            engine: [Engine::Postgres, Engine::Mysql].into_iter().find(is_of).unwrap_or(Engine::Postgres),
            connection: Connection { url: written, ..Connection::default() },
            pool: Pool::default(),
            statement_timeout: None,
            stall_timeout: None,
            idempotency_lifetime: None,
            seed: Vec::new(),
            capture: Capture::default(),
        };
        let mut resource = DataSource::new(source.metadata.name.as_deref().unwrap_or_default(), spec);
        resource.metadata = source.metadata.clone();
        Self { resource: Arc::new(resource), url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;
    use kube::core::ObjectMeta;
    use serde_json::{Value, json};

    fn unreadable(spec: Value) -> Unreadable {
        let metadata = ObjectMeta { name: Some("shop".to_owned()), namespace: Some("apps".to_owned()), ..ObjectMeta::default() };
        Unreadable { metadata, reason: String::new(), spec, status: Value::Null }
    }

    fn known(spec: Value, handed: Option<&str>) -> (Engine, Option<String>, Option<String>) {
        let known = Illegible::new(&unreadable(spec), handed.map(Secret::new));
        assert_eq!((known.resource.name_any().as_str(), known.resource.namespace().as_deref()), ("shop", Some("apps")));
        let spec = &known.resource.spec;
        (spec.engine, spec.connection.url.clone(), known.url.as_ref().and_then(Secret::text).map(ToOwned::to_owned))
    }

    #[test]
    fn the_url_tells_the_engine() {
        let secret = json!({"engine": "oracle", "connection": {"secretKeyRef": {"name": "shop", "key": "url"}}});
        let handed = "mysql://me:hush@host/shop";
        assert_eq!(known(secret.clone(), Some(handed)), (Engine::Mysql, None, Some(handed.to_owned())), "no password is written");
        assert_eq!(known(secret, None), (Engine::Postgres, None, None));
        let written = "postgres://me@host/shop".to_owned();
        let spec = json!({"engine": 7, "connection": {"url": written}});
        assert_eq!(known(spec, Some(handed)), (Engine::Postgres, Some(written.clone()), Some(written)));
        assert_eq!(known(json!("nothing"), None), (Engine::Postgres, None, None));
    }
}
