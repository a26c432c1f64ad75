//! The keys of a JSON Web Key Set, kept fresh by those who need them.
//!
//! No task runs in the background: the caller who finds the set too old, or a key missing, loads it anew, one at a time.
//! While that happens the others go on with the keys they know, and whoever needs a new key waits. A failure keeps the
//! last good keys. Callers who name keys that don't exist cause one load in a while, however many they are.

use super::error::{Error, SettingsError};
use super::fetch::Source;
use super::jwks::{self, VerificationKey};
use super::settings::{JwksLocation, JwksSettings};
use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// The keys of one set.
pub(super) struct KeySet {
    source: Source,
    lifetime: Duration,
    refresh_interval: Duration,
    current: ArcSwap<Loaded>,
    last_attempt: Mutex<Attempt>,
}

struct Loaded {
    keys: Vec<Arc<VerificationKey>>,
    at: Instant,
}

/// The last load by a caller. One who goes away in the middle leaves it as failed.
#[derive(Default)]
struct Attempt {
    started_at: Option<Instant>,
    failed: bool,
}

impl KeySet {
    /// Loads the keys. A file must be there; a server that does not answer yet is asked again by the callers.
    pub(super) async fn start(settings: JwksSettings) -> Result<Self, SettingsError> {
        let source = Source::new(&settings);
        let (keys, attempt) = match (source.load().await.and_then(|document| jwks::parse(&document)), settings.location) {
            (Ok(keys), _) => (keys, Attempt::default()),
            (Err(problem), JwksLocation::File(path)) => return Err(SettingsError::KeysFile { path, problem }),
            (Err(problem), JwksLocation::Url(url)) => {
                warn_of(&problem, url.as_str(), 0);
                (Vec::new(), Attempt::default())
            }
        };
        Ok(Self {
            source,
            lifetime: settings.lifetime,
            refresh_interval: settings.refresh_interval,
            current: ArcSwap::from_pointee(Loaded { keys, at: Instant::now() }),
            last_attempt: Mutex::new(attempt),
        })
    }

    /// The key that a token names, for the algorithm that it names.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<VerificationKey>, Error> {
        if algorithm.family() == AlgorithmFamily::Hmac {
            return Err(Error::InvalidToken("its algorithm is not the one of the key"));
        }
        let loaded = self.current.load_full();
        let known = loaded.key(id, algorithm);
        let attempt = match known {
            Some(key) if loaded.at.elapsed() < self.lifetime => return Ok(key),
            Some(key) => match self.last_attempt.try_lock() {
                Ok(attempt) => attempt,
                Err(_) => return Ok(key),
            },
            None => self.last_attempt.lock().await,
        };
        let outcome = self.refresh(&loaded, attempt).await;
        match self.current.load().key(id, algorithm) {
            Some(key) => Ok(key),
            None => outcome.and(Err(Error::InvalidToken("it names no known key for its algorithm"))),
        }
    }

    /// Loads the keys anew, unless somebody did since `seen` was read, or the last attempt is too young.
    async fn refresh(&self, seen: &Arc<Loaded>, mut attempt: MutexGuard<'_, Attempt>) -> Result<(), Error> {
        if !Arc::ptr_eq(seen, &self.current.load()) {
            return Ok(());
        }
        let too_early = attempt.started_at.is_some_and(|started_at| started_at.elapsed() < self.refresh_interval);
        if !too_early {
            *attempt = Attempt { started_at: Some(Instant::now()), failed: true };
            match self.source.load().await.and_then(|document| jwks::parse(&document)) {
                Ok(keys) => {
                    self.current.store(Arc::new(Loaded { keys, at: Instant::now() }));
                    attempt.failed = false;
                }
                Err(problem) => warn_of(&problem, &self.source.to_string(), seen.keys.len()),
            }
        }
        if attempt.failed { Err(Error::KeysUnavailable) } else { Ok(()) }
    }
}

impl Loaded {
    /// The key with this name that the algorithm fits. A token without a name needs a set with a single such key.
    fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<VerificationKey>> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        if id.is_some() {
            return fitting.find(|key| key.id.as_deref() == id).cloned();
        }
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(Arc::clone(key)),
            _ => None,
        }
    }
}

fn warn_of(problem: &str, source: &str, kept: usize) {
    tracing::warn!(
        source,
        kept,
        "the token keys can't be loaded: {problem}; check the key set's address and whether the issuer is up"
    );
}
