//! What the bucket says now: the wanted generation and the latest good one, from the one watcher that a replica has.
//!
//! It follows and judges nothing.

use super::document::Generation;
use super::{GOOD, WANTED};
use crate::store::{Entry, Told, Watch};
use futures_util::StreamExt;
use std::sync::Arc;

/// What stands under a key.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// Nothing.
    Nothing,
    /// A generation.
    Generation(Arc<Generation>),
    /// Something that is none, with the reason and the number of the put.
    Unreadable { reason: String, revision: u64 },
}

/// What the bucket says now.
pub(super) struct Bulletin {
    watch: Watch,
    pub(super) wanted: Said,
    pub(super) good: Said,
    /// While everything is told anew: whether each key was there.
    listing: Option<Listed>,
}

#[derive(Default)]
struct Listed {
    wanted: bool,
    good: bool,
}

impl Bulletin {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, wanted: Said::Nothing, good: Said::Nothing, listing: Some(Listed::default()) }
    }

    /// Waits until something was told and all of it is known; `false` says that the watcher has ended. It can be given up
    /// and asked again.
    pub(super) async fn changed(&mut self) -> bool {
        while let Some(told) = self.watch.next().await {
            if self.take(told) {
                return true;
            }
        }
        false
    }

    /// Takes note; whether it is the whole of what is there, and news.
    fn take(&mut self, told: Told) -> bool {
        match told {
            Told::Beginning => self.listing = Some(Listed::default()),
            Told::Put(entry) => {
                let key = entry.key.clone();
                return self.set(&key, read(&entry)) && self.listing.is_none();
            }
            Told::Removed { key } => return self.set(&key, Said::Nothing) && self.listing.is_none(),
            Told::Current => {
                let listed = self.listing.take().unwrap_or_default();
                if !listed.wanted {
                    self.wanted = Said::Nothing;
                }
                if !listed.good {
                    self.good = Said::Nothing;
                }
                return true;
            }
        }
        false
    }

    fn set(&mut self, key: &str, said: Said) -> bool {
        let is_there = !matches!(said, Said::Nothing);
        let mut unlisted = Listed::default();
        let listed = self.listing.as_mut().unwrap_or(&mut unlisted);
        let (place, listed) = match key {
            WANTED => (&mut self.wanted, &mut listed.wanted),
            GOOD => (&mut self.good, &mut listed.good),
            _ => return false,
        };
        *place = said;
        *listed = is_there;
        true
    }
}

fn read(entry: &Entry) -> Said {
    match Generation::read(&entry.value) {
        Ok(generation) => Said::Generation(Arc::new(generation)),
        Err(error) => Said::Unreadable { reason: error.to_string(), revision: entry.revision },
    }
}
