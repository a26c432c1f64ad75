//! How replicas get the URLs of databases: in one Secret that their pods mount, a key for each source and each URL that it had.
//!
//! The operator reads the Secrets that DataSources name and is the only one who does; replicas have no rights at the API
//! server, and what is in NATS names a file and no secret. A URL that changes gets another key, so that the generation that
//! needs it is another one, and the old one works until no replica serves it.

use super::FIELD_MANAGER;
use crate::auth::Secret;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};

/// The Secret.
pub(super) struct Handing {
    api: Api<v1::Secret>,
    name: String,
    /// The folder where replicas have it.
    folder: String,
    /// What the Secret has.
    handed: BTreeMap<String, Vec<u8>>,
}

impl Handing {
    /// Looks at what is handed over already.
    pub(super) async fn begin(client: Client, namespace: &str, name: &str, folder: &str) -> Result<Self, kube::Error> {
        let api: Api<v1::Secret> = Api::namespaced(client, namespace);
        let there = api.get_opt(name).await?;
        let data = there.and_then(|there| there.data).unwrap_or_default();
        let handed = data.into_iter().map(|(key, ByteString(value))| (key, value)).collect();
        Ok(Self { api, name: name.to_owned(), folder: folder.to_owned(), handed })
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
        let mut data: BTreeMap<String, Vec<u8>> = kept.collect();
        data.extend(wanted.iter().map(|(key, url)| (key.clone(), url.bytes().to_vec())));
        if data == self.handed {
            return Ok(false);
        }
        let secret = v1::Secret {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            data: Some(data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect()),
            ..v1::Secret::default()
        };
        self.api.patch(&self.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&secret)).await?;
        self.handed = data;
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
