//! The stream in NATS: made, adapted, looked at, and told apart from its earlier incarnations.
//!
//! The epoch is a random text in the stream's metadata, made with the stream. A stream that was restored from a backup, or
//! that lost its end in a crash, still has its old one, although it gives the same offsets to other changes from then on; so
//! every process remembers the latest offset that it saw, and gives the stream a new epoch when it finds less.

use super::super::{Error, Extent, Latest};
use super::message::{decode, subjects_of};
use super::settings::StreamSettings;
use crate::nats::Connection;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, LastRawMessageErrorKind, RetentionPolicy, StorageType};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tracing::{info, warn};
use uuid::Uuid;

const EPOCH: &str = "resolvespec.epoch";

/// The latest offset when the epoch began.
const EPOCH_AFTER: &str = "resolvespec.epoch-after";

/// How often another replica may be quicker in making the stream.
const ATTEMPTS: usize = 5;

/// A new leader of the stream can tell of an earlier end for a moment; after so many looks it is believed.
const LOOKS: usize = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// What is published again takes at most so long after it was asked whether it is remembered; clocks differ by less as well.
const MARGIN: Duration = Duration::from_mins(1);

/// The stream of changes.
pub(super) struct Stream {
    pub connection: Connection,
    pub settings: StreamSettings,
    seen: Mutex<Seen>,
    /// How often the connection had been made when the stream was looked at last.
    looked_at: AtomicU64,
}

/// The oldest server that can be worked with.
const OLDEST_SERVER: (i64, i64, i64) = (2, 12, 1);

/// The latest place of the order that this process knows of.
#[derive(Clone, Default, PartialEq, Eq)]
struct Seen {
    epoch: String,
    latest: u64,
}

impl Stream {
    pub(super) fn new(connection: Connection, settings: StreamSettings) -> Self {
        Self { connection, settings, seen: Mutex::default(), looked_at: AtomicU64::new(0) }
    }

    /// Makes the stream or adapts it to the settings.
    pub(super) async fn ensure(&self) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let Some(info) = self.info().await? else {
                if self.create().await? {
                    return Ok(());
                }
                continue;
            };
            if let Some(adapted) = self.adapted(&info.config)? {
                let updated = self.connection.jetstream().update_stream(&adapted).await.map_err(|error| refused(&error))?;
                return self.usable(&updated.config);
            }
            return self.usable(&info.config);
        }
        Err(Error::Unavailable(format!("stream {} is made and deleted again and again", self.settings.name)))
    }

    /// Looks at it if the connection was made again since it was looked at: before anything is published, so that offsets
    /// are not given away twice in one epoch.
    pub(super) async fn look_after_reconnect(&self) -> Result<(), Error> {
        if self.looked_at.load(Ordering::Relaxed) != self.connection.times_made() {
            self.look().await?;
        }
        Ok(())
    }

    /// What it holds now; it is made if it is not there.
    pub(super) async fn look(&self) -> Result<Extent, Error> {
        let times_made = self.connection.times_made();
        for look in 1..=LOOKS + ATTEMPTS {
            let before = self.seen().clone();
            let Some(extent) = self.extent().await? else {
                self.ensure().await?;
                continue;
            };
            if extent.epoch != before.epoch || extent.latest >= before.latest {
                self.note(&extent.epoch, extent.latest);
                self.looked_at.store(times_made, Ordering::Relaxed);
                return Ok(extent);
            }
            if look >= LOOKS || self.settings.replicas == 1 {
                warn!(stream = self.settings.name, "the stream of changes lost its end: subscribers start anew");
                self.renew(&extent.epoch).await?;
            } else {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Err(Error::Unavailable(format!("stream {} does not come to rest", self.settings.name)))
    }

    /// The latest change of a source in this epoch, which is known then: what is published next is of no earlier one.
    pub(super) async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error> {
        self.look().await?;
        let subjects = subjects_of(source, &self.settings.prefix);
        let unavailable = |error: &dyn std::error::Error| Error::Unavailable(error.to_string());
        let stream = self.connection.jetstream().get_stream(&self.settings.name).await.map_err(|error| unavailable(&error))?;
        let metadata = &stream.cached_info().config.metadata;
        let Some(epoch) = metadata.get(EPOCH).cloned() else { return Ok(None) };
        let after = metadata.get(EPOCH_AFTER).and_then(|offset| offset.parse().ok()).unwrap_or(0);
        let message = match stream.get_last_raw_message_by_subject(&subjects).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(unavailable(&error)),
        };
        let event = decode(&message.payload, Some(&message.headers));
        let change = event.change().filter(|_| message.sequence > after);
        Ok(change.map(|change| Latest { epoch, change: Arc::clone(change), is_remembered: self.remembers(&message) }))
    }

    /// Whether the server still knows the id of a message and those of the messages shortly before it. By two clocks, of which neither is
    /// far wrong.
    fn remembers(&self, message: &StreamMessage) -> bool {
        let age = SystemTime::now().duration_since(message.time.into()).unwrap_or_default();
        age < self.settings.duplicate_window.saturating_sub(MARGIN.min(self.settings.duplicate_window / 2))
    }

    /// The epoch that this process knows of.
    pub(super) fn epoch(&self) -> String {
        self.seen().epoch.clone()
    }

    /// The latest offset that this process knows of, to be held against what a later call tells.
    pub(super) fn latest_seen(&self) -> u64 {
        self.seen().latest
    }

    /// Takes note of an offset that a follower of an epoch reached.
    pub(super) fn reached(&self, epoch: &str, offset: u64) {
        let mut seen = self.seen();
        if seen.epoch == epoch {
            seen.latest = seen.latest.max(offset);
        }
    }

    /// Takes note of the offsets that fresh changes were given. If one as late was seen before they were sent, the stream is
    /// another one, or has lost its end.
    pub(super) async fn given(&self, offsets: RangeInclusive<u64>, seen_before: u64) -> Result<(), Error> {
        if *offsets.start() > seen_before {
            let mut seen = self.seen();
            seen.latest = seen.latest.max(*offsets.end());
            return Ok(());
        }
        let known = self.seen().epoch.clone();
        match self.extent().await? {
            Some(extent) if extent.epoch == known => {
                warn!(
                    stream = self.settings.name,
                    "the stream of changes is another one or lost its end: subscribers start anew"
                );
                self.renew(&known).await
            }
            Some(extent) => {
                self.note(&extent.epoch, extent.latest);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes note of what the stream itself tells.
    fn note(&self, epoch: &str, latest: u64) {
        let mut seen = self.seen();
        if seen.epoch == epoch {
            seen.latest = seen.latest.max(latest);
        } else {
            *seen = Seen { epoch: epoch.to_owned(), latest };
        }
    }

    async fn extent(&self) -> Result<Option<Extent>, Error> {
        let Some(info) = self.info().await? else { return Ok(None) };
        // One without an epoch was made by someone else, or restored with other metadata.
        let Some(epoch) = info.config.metadata.get(EPOCH).cloned() else { return Ok(None) };
        let latest = info.state.last_sequence;
        Ok(Some(Extent { epoch, oldest: info.state.first_sequence.saturating_sub(1).min(latest), latest }))
    }

    async fn info(&self) -> Result<Option<Info>, Error> {
        match self.connection.jetstream().get_stream(&self.settings.name).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
                    Err(Error::Unusable(format!("'{}' is no name for a stream", self.settings.name)))
                }
                GetStreamErrorKind::JetStream(_) | GetStreamErrorKind::Request => Err(Error::Unavailable(error.to_string())),
            },
        }
    }

    /// Whether it was made here, and not by another replica at the same moment.
    async fn create(&self) -> Result<bool, Error> {
        let mut config = Config { name: self.settings.name.clone(), storage: self.settings.storage.into(), ..Config::default() };
        self.apply(&mut config);
        config.metadata.insert(EPOCH.to_owned(), new_epoch());
        match self.connection.jetstream().create_stream(&config).await {
            Ok(stream) => {
                info!(stream = self.settings.name, "made the stream of changes");
                self.usable(&stream.cached_info().config)?;
                Ok(true)
            }
            Err(error) if exists(&error) => Ok(false),
            Err(error) => Err(refused(&error)),
        }
    }

    /// The configuration with our settings, if it has others.
    fn adapted(&self, config: &Config) -> Result<Option<Config>, Error> {
        if config.storage != StorageType::from(self.settings.storage) || config.retention != RetentionPolicy::Limits {
            let name = &self.settings.name;
            return Err(Error::Unusable(format!(
                "stream {name} is there with another storage or retention, which NATS can't change"
            )));
        }
        let mut adapted = config.clone();
        self.apply(&mut adapted);
        adapted.metadata.entry(EPOCH.to_owned()).or_insert_with(new_epoch);
        Ok((adapted != *config).then_some(adapted))
    }

    fn apply(&self, config: &mut Config) {
        let settings = &self.settings;
        config.subjects = vec![format!("{}.>", settings.prefix)];
        config.retention = RetentionPolicy::Limits;
        config.discard = DiscardPolicy::Old;
        config.max_age = settings.max_age;
        config.max_bytes = i64::try_from(settings.max_bytes).unwrap_or(i64::MAX);
        config.max_messages = -1;
        config.max_messages_per_subject = -1;
        config.max_message_size = -1;
        config.num_replicas = settings.replicas;
        config.duplicate_window = settings.duplicate_window;
        config.allow_atomic_publish = true;
    }

    /// A server that knows no batches leaves the setting out and would keep their messages one by one; the first that knew them
    /// took no ids in them.
    fn usable(&self, config: &Config) -> Result<(), Error> {
        let (major, minor, patch) = OLDEST_SERVER;
        if config.allow_atomic_publish && self.connection.client().is_server_compatible(major, minor, patch) {
            return Ok(());
        }
        Err(Error::Unusable(format!(
            "the NATS server is older than {major}.{minor}.{patch}: it can't publish batches that are kept whole or not at all, each \
             change once"
        )))
    }

    /// Voids every position of an epoch, unless another replica has done it already.
    pub(super) async fn renew(&self, epoch: &str) -> Result<(), Error> {
        let Some(info) = self.info().await? else { return Ok(()) };
        if info.config.metadata.get(EPOCH).is_some_and(|current| current != epoch) {
            return Ok(());
        }
        self.give_epoch(info).await
    }

    /// Voids every position, whatever the epoch is; a stream that is not there is made, which has the same effect.
    pub(super) async fn begin_epoch(&self) -> Result<(), Error> {
        match self.info().await? {
            Some(info) => self.give_epoch(info).await,
            None => self.ensure().await,
        }
    }

    async fn give_epoch(&self, Info { mut config, state, .. }: Info) -> Result<(), Error> {
        config.metadata.insert(EPOCH.to_owned(), new_epoch());
        config.metadata.insert(EPOCH_AFTER.to_owned(), state.last_sequence.to_string());
        let updated = self.connection.jetstream().update_stream(&config).await.map_err(|error| refused(&error))?;
        if let Some(epoch) = updated.config.metadata.get(EPOCH) {
            self.note(epoch, updated.state.last_sequence);
        }
        Ok(())
    }

    /// What was seen. Nothing that holds it can panic half-way, so what a poisoned lock guards is whole.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_epoch() -> String {
    Uuid::new_v4().simple().to_string()
}

fn exists(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(told) if told.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

fn refused(error: &CreateStreamError) -> Error {
    use CreateStreamErrorKind::{EmptyStreamName, InvalidStreamName, JetStream};
    let cannot_work = match error.kind() {
        JetStream(told) => told.code() < 500 || told.error_code() == ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
        EmptyStreamName | InvalidStreamName => true,
        _ => false,
    };
    if cannot_work { Error::Unusable(format!("NATS refuses the stream: {error}")) } else { Error::Unavailable(error.to_string()) }
}
