//! What the stream of changes is like.
//!
//! Plain data with the defaults; what NATS makes of it is found out when the bus is opened.

use crate::nats::Storage;
use std::time::Duration;

/// The stream of changes: its name, and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    /// Its name, of letters, digits, `-` and `_`.
    pub name: String,
    /// What every subject begins with, one or more tokens; no other stream may take `<prefix>.>`.
    pub prefix: String,
    /// How long a change is kept.
    pub max_age: Duration,
    /// How many bytes are kept, as long as they are not older.
    pub max_bytes: u64,
    /// On how many servers each change is kept before it is acknowledged: 1, 3 or 5.
    pub replicas: usize,
    /// Where they are kept.
    pub storage: Storage,
    /// For how long ids are remembered, so that a change that is published again is dropped. It has to be longer than a
    /// relay can take from publishing to deleting from its outbox, its restart included.
    pub duplicate_window: Duration,
    /// How many changes are published in one batch at most, which is kept whole or not at all. NATS takes 1000.
    pub batch: usize,
    /// How many bytes are published in one batch, at most by one change more.
    pub batch_bytes: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            name: "RESOLVESPEC_EVENTS".to_owned(),
            prefix: "resolvespec".to_owned(),
            max_age: Duration::from_hours(24),
            max_bytes: 1 << 30,
            replicas: 1,
            storage: Storage::File,
            duplicate_window: Duration::from_mins(10),
            batch: 500,
            batch_bytes: 4 << 20,
        }
    }
}
