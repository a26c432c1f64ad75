//! What a broker has refused of a part: its subscribers are owed the word that they have to read again.
//!
//! It is tried again until the broker takes it. If it does not for long, the subscription ends, since nobody can be told anything of it.

use super::delivery::{Message, Says};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A broker that has refused everything of a subscription for so long is taken at its word.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is owed something.
#[derive(Default)]
pub(super) struct Owed(HashMap<Arc<str>, Debt>);

struct Debt {
    since: Instant,
    topic: Arc<str>,
    payload: Bytes,
    /// When it is tried next; none while it is on its way.
    next: Option<Instant>,
    pause: Duration,
}

/// Whether a subscription can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can, as soon as the broker takes what is owed.
    Owed,
    /// It can't.
    Over,
}

impl Owed {
    /// The broker has refused a notification, or the word that was owed for another one.
    pub(super) fn refused(&mut self, message: &Message, instead: Bytes, now: Instant) -> Verdict {
        let Message { id, topic, says, .. } = message;
        let debt = self.0.entry(Arc::clone(id)).or_insert_with(|| Debt {
            since: now,
            topic: Arc::clone(topic),
            payload: Bytes::new(),
            next: Some(now),
            pause: FIRST_PAUSE,
        });
        debt.payload = instead;
        if *says == Says::Owed {
            if now.duration_since(debt.since) >= PATIENCE {
                return Verdict::Over;
            }
            debt.next = Some(now + debt.pause);
            debt.pause = (debt.pause * 2).min(LONGEST_PAUSE);
        }
        Verdict::Owed
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|debt| debt.next).min()
    }

    /// What is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Message> {
        let due = self.0.iter_mut().filter(|(_, debt)| debt.next.is_some_and(|next| next <= now));
        due.map(|(id, debt)| {
            debt.next = None;
            let (id, topic, payload) = (Arc::clone(id), Arc::clone(&debt.topic), debt.payload.clone());
            Message { id, topic, payload, says: Says::Owed }
        })
        .collect()
    }

    /// Whether something was owed that is not any more.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(says: Says) -> Message {
        Message { id: "s".into(), topic: "spec/a/notify/s".into(), payload: Bytes::new(), says }
    }

    #[test]
    fn what_is_owed_is_tried_again_until_nobody_can_believe_in_it() {
        let (mut owed, mut now) = (Owed::default(), Instant::now());
        for text in ["1", "2"] {
            assert_eq!(owed.refused(&message(Says::Change), text.into(), now), Verdict::Owed);
        }
        let due = owed.take_due(now);
        assert!(matches!(&due[..], [Message { payload, says: Says::Owed, .. }] if payload == "2"), "the latest, once");
        assert!(owed.take_due(now).is_empty() && owed.next().is_none(), "it is on its way");
        let mut tries = 0;
        while owed.refused(&message(Says::Owed), "2".into(), now) == Verdict::Owed {
            now = owed.next().expect("another try");
            assert_eq!(owed.take_due(now).len(), 1);
            tries += 1;
        }
        assert!((8..15).contains(&tries), "{tries}");
        assert!(owed.remove("s") && owed.is_empty() && !owed.remove("s"));
    }
}
