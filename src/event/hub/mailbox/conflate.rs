//! Conflation: for who lags, only the latest change of each record waits.
//!
//! What waits is known by its number in the queue. A change that overtakes another stands behind everything else, and is told
//! for both.

use super::Told;
use bytes::Bytes;
use std::collections::HashMap;

/// What waits of each record of a subscription, by its number; nothing for who wants every change.
pub(super) struct Latest(Option<HashMap<Box<str>, u64>>);

impl Latest {
    pub(super) fn new(conflates: bool) -> Self {
        Self(conflates.then(HashMap::new))
    }

    /// A change of a record waits under a number. Answers the number of the one that it overtakes.
    pub(super) fn wait(&mut self, key: &str, number: u64) -> Option<u64> {
        self.0.as_mut()?.insert(key.into(), number)
    }

    /// The record that a notification must remember.
    pub(super) fn remembered(&self, key: &str) -> Option<Box<str>> {
        self.0.is_some().then(|| key.into())
    }

    /// What waited under a number is taken.
    pub(super) fn taken(&mut self, key: &str, number: u64) {
        if let Some(latest) = &mut self.0
            && latest.get(key) == Some(&number)
        {
            latest.remove(key);
        }
    }

    /// What waits of a record has another number now.
    pub(super) fn renumber(&mut self, key: &str, number: u64) {
        if let Some(known) = self.0.as_mut().and_then(|latest| latest.get_mut(key)) {
            *known = number;
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(HashMap::is_empty)
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        if let Some(latest) = &mut self.0 {
            *latest = HashMap::new();
        }
    }
}

/// What is told in the place of two changes: the later, but a record that was to be told as new still is.
pub(super) fn merged(overtaken: &Bytes, told: &Told<'_>) -> Bytes {
    let begins = |text: &[u8], word: &str| text.starts_with(format!("\"operation\":\"{word}\"").as_bytes());
    if !begins(overtaken, "create") || !begins(told.tail, "update") {
        return told.tail.clone();
    }
    Bytes::from([b"\"operation\":\"create\",".as_slice(), &told.tail[told.head..]].concat())
}
