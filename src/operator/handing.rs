//! How replicas get the URLs of databases: in one Secret that their pods mount, a key for each source and each URL that it had.
//!
//! The operator reads the Secrets that DataSources name and is the only one who does; replicas have no rights at the API
//! server, and what is in NATS names a file and no secret. A URL that changes gets another key, so that the generation that
//! needs it is another one, and the old one works until no replica serves it.

use super::FIELD_MANAGER;
use super::replicas::{Replicas, Told};
use crate::auth::Secret;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};

/// Which Secret that is. No DataSource may name it: it has the URLs of all of them, whoever consents to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The Secret.
pub(super) struct Handing {
    api: Api<v1::Secret>,
    own: OwnSecret,
    /// The folder where replicas have it.
    folder: String,
    /// What was handed over, and is known still should somebody take the Secret away.
    handed: BTreeMap<String, Vec<u8>>,
    /// What the Secret had when it was last looked at.
    there: BTreeMap<String, Vec<u8>>,
    /// Which replicas lacked which keys then.
    lacked: BTreeSet<(String, String)>,
}

impl Handing {
    /// Looks at what is handed over already.
    pub(super) async fn begin(client: Client, namespace: &str, name: &str, folder: &str) -> Result<Self, kube::Error> {
        let api: Api<v1::Secret> = Api::namespaced(client, namespace);
        let there = data(api.get_opt(name).await?);
        let own = OwnSecret { namespace: namespace.to_owned(), name: name.to_owned() };
        let folder = folder.to_owned();
        Ok(Self { api, own, folder, handed: there.clone(), there, lacked: BTreeSet::new() })
    }

    /// Which Secret it is.
    pub(super) fn own(&self) -> &OwnSecret {
        &self.own
    }

    /// Looks at the Secret again: somebody else may have changed it or taken it away.
    pub(super) async fn look(&mut self) -> Result<(), kube::Error> {
        self.there = data(self.api.get_opt(&self.own.name).await?);
        Ok(())
    }

    /// Looks again if a replica has come to lack what was handed over: it may be new, or what it had is gone.
    pub(super) async fn look_if_lacked(&mut self, replicas: &Replicas) -> Result<(), kube::Error> {
        let lacks = |(name, told): (&String, &Told)| -> Vec<(String, String)> {
            let lacking = self.handed.keys().filter(|key| !told.databases.contains(*key));
            lacking.map(|key| (name.clone(), key.clone())).collect()
        };
        let lacked: BTreeSet<(String, String)> = replicas.iter().flat_map(lacks).collect();
        if !lacked.is_subset(&self.lacked) {
            self.look().await?;
        }
        self.lacked = lacked;
        Ok(())
    }

    /// The key under which a source's URL is handed over, or will be.
    pub(super) fn key(&self, namespace: &str, name: &str, url: &Secret) -> String {
        let mut last = 0;
        for (number, value) in self.of(namespace, name) {
            if value == url.bytes() {
                return key(namespace, name, number);
            }
            last = last.max(number);
        }
        key(namespace, name, last + 1)
    }

    /// The URL that a source had last, should its Secret be gone.
    pub(super) fn latest(&self, namespace: &str, name: &str) -> Option<Secret> {
        let (_, value) = self.of(namespace, name).max_by_key(|(number, _)| *number)?;
        Some(Secret::new(String::from_utf8(value.to_vec()).ok()?))
    }

    /// Every key that is there.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.handed.keys().cloned().collect()
    }

    /// The keys of one source.
    pub(super) fn keys_of(&self, namespace: &str, name: &str) -> Vec<String> {
        self.of(namespace, name).map(|(number, _)| key(namespace, name, number)).collect()
    }

    /// Where replicas have a key.
    pub(super) fn file(&self, key: &str) -> String {
        format!("{}/{key}", self.folder)
    }

    /// The key of a file.
    pub(super) fn key_of<'f>(&self, file: &'f str) -> Option<&'f str> {
        file.strip_prefix(self.folder.as_str())?.strip_prefix('/')
    }

    /// Hands over what is wanted, and takes back what is neither wanted nor needed still. Whether anything was written.
    pub(super) async fn hand(
        &mut self,
        wanted: &BTreeMap<String, Secret>,
        needed: &BTreeSet<String>,
    ) -> Result<bool, kube::Error> {
        let kept = self.handed.iter().filter(|(key, _)| needed.contains(*key)).map(|(key, value)| (key.clone(), value.clone()));
        let mut handed: BTreeMap<String, Vec<u8>> = kept.collect();
        handed.extend(wanted.iter().map(|(key, url)| (key.clone(), url.bytes().to_vec())));
        let is_there = handed.iter().all(|(key, value)| self.there.get(key) == Some(value));
        // What others have put there is theirs.
        let is_taken_back = self.handed.keys().all(|key| handed.contains_key(key) || !self.there.contains_key(key));
        if is_there && is_taken_back {
            self.handed = handed;
            return Ok(false);
        }
        let secret = v1::Secret {
            metadata: ObjectMeta { name: Some(self.own.name.clone()), ..ObjectMeta::default() },
            data: Some(handed.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect()),
            ..v1::Secret::default()
        };
        let written = self.api.patch(&self.own.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&secret)).await?;
        (self.handed, self.there) = (handed, data(Some(written)));
        Ok(true)
    }

    fn of<'h>(&'h self, namespace: &str, name: &str) -> impl Iterator<Item = (u64, &'h [u8])> {
        let start = format!("{namespace}.{name}.");
        self.handed.iter().filter_map(move |(key, value)| {
            // A namespace has no dots, and the rest of another source's key is no number.
            Some((key.strip_prefix(&start)?.parse().ok()?, value.as_slice()))
        })
    }
}

fn key(namespace: &str, name: &str, number: u64) -> String {
    format!("{namespace}.{name}.{number}")
}

fn data(secret: Option<v1::Secret>) -> BTreeMap<String, Vec<u8>> {
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    data.into_iter().map(|(key, ByteString(value))| (key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::replicas::MqttPrefix;
    use super::super::test_cluster;
    use super::*;
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    const KEY: &str = "apps.shop.1";
    const URL: &str = "postgres://me:hush@host/shop";

    /// A Secret on an API server that takes what is applied to be what is handed over here.
    struct Held(Arc<Mutex<Option<Value>>>);

    impl Held {
        fn new() -> (Self, Client) {
            let held: Arc<Mutex<Option<Value>>> = Arc::default();
            let there = Arc::clone(&held);
            let client = test_cluster::client(move |uri| {
                let mut there = there.lock().expect("no panic");
                if uri.contains("fieldManager=") {
                    *there = Some(secret(URL));
                }
                let missing = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
                Some(there.clone().map_or((404, missing), |there| (200, there)))
            });
            (Self(held), client)
        }

        fn put(&self, secret: Option<Value>) {
            *self.0.lock().expect("no panic") = secret;
        }
    }

    fn secret(url: &str) -> Value {
        json!({"metadata": {"name": "databases"}, "data": {KEY: ByteString(url.as_bytes().to_vec())}})
    }

    fn replica(databases: &[&str]) -> Told {
        let databases = databases.iter().map(ToString::to_string).collect();
        Told { generation: None, digest: None, refused: None, databases, mqtt_prefix: MqttPrefix::Without }
    }

    #[tokio::test]
    async fn what_somebody_takes_away_is_handed_over_anew() {
        let (held, client) = Held::new();
        let mut handing = Handing::begin(client, "apps", "databases", "/run").await.expect("an answer");
        let key = handing.key("apps", "shop", &Secret::new(URL));
        assert_eq!(key, KEY);
        let (wanted, needed) = (BTreeMap::from([(key, Secret::new(URL))]), BTreeSet::new());
        let hand = async |handing: &mut Handing| handing.hand(&wanted, &needed).await.expect("an answer");
        assert!(hand(&mut handing).await && !hand(&mut handing).await, "it is written once");
        for changed in [None, Some(secret("postgres://somewhere")), Some(json!({"metadata": {}, "data": {}}))] {
            held.put(changed);
            handing.look().await.expect("an answer");
            assert_eq!(handing.key("apps", "shop", &Secret::new(URL)), KEY, "it is known still");
            assert!(hand(&mut handing).await && !hand(&mut handing).await);
        }
        // What somebody else has put there is left alone.
        let mut more = secret(URL);
        more["data"]["other"] = json!("eA==");
        held.put(Some(more));
        handing.look().await.expect("an answer");
        assert!(!hand(&mut handing).await);
    }

    #[tokio::test]
    async fn a_replica_that_lacks_what_was_handed_over_is_reason_to_look_once() {
        let (held, client) = Held::new();
        held.put(Some(secret(URL)));
        let mut handing = Handing::begin(client, "apps", "databases", "/run").await.expect("an answer");
        let mut looked = async |replicas: &Replicas| {
            held.put(None);
            handing.there = handing.handed.clone();
            handing.look_if_lacked(replicas).await.expect("an answer");
            handing.there.is_empty()
        };
        let has = Replicas::from([("one".to_owned(), replica(&[KEY]))]);
        assert!(!looked(&has).await);
        let mut lacks = has.clone();
        lacks.insert("two".to_owned(), replica(&[]));
        assert!(looked(&lacks).await);
        assert!(!looked(&lacks).await, "one that waits for its files is no news");
        lacks.insert("one".to_owned(), replica(&[]));
        assert!(looked(&lacks).await);
        assert!(!looked(&has).await);
        assert!(looked(&lacks).await, "it has lost them again");
    }
}
