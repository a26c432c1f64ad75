//! A durable subscription as it is kept in the bucket, and the names of keys.

use crate::auth::Principal;
use crate::event::capture::Sight;
use crate::protocol::subscribe::Said;
use crate::protocol::{Error, Position, Subscribe};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// What the keys of subscriptions begin with.
const SUBSCRIPTION: &str = "subscription.";

/// How long it counts what a snapshot has shown: what was committed before is told by then, and what is not is better told again
/// than hidden, since numbers of a database that was restored meanwhile may be those of other changes.
const SHOWN: Duration = Duration::from_hours(1);

/// A subscription as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The broker that its client is connected to.
    pub broker: String,
    /// The client's name in its topics.
    pub client: String,
    pub subject: Option<String>,
    pub roles: Vec<String>,
    pub claims: Map<String, Value>,
    /// The entity's public names.
    pub schema: String,
    pub entity: String,
    pub said: Said,
    /// Everything after this is told.
    pub began: Position,
    /// What the snapshot has shown of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Sight>,
    /// The revision under which it was kept first when its client had been answered, in all that are written later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The revision under which it was kept first, in all that are written when its client has been answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
    /// The process that answers its client, until the broker has the answer: nothing is told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answering: Option<String>,
    /// Which attempt to begin it that is, by a number of its own: the same words may be said again within the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// When its client began it, and when it was heard last, in seconds since 1970.
    pub created: u64,
    pub heard: u64,
}

impl Kept {
    /// Whose it is. It outlives the token that it was begun with, and ends some time after its client was heard last.
    pub(super) fn principal(&self) -> Arc<Principal> {
        let (subject, roles, claims) = (self.subject.clone(), self.roles.clone(), self.claims.clone());
        Arc::new(Principal { subject, roles, claims, expires_at: None })
    }

    /// The revision under which it was kept first, if it has this one.
    pub(super) fn begun(&self, revision: u64) -> u64 {
        self.begun.or(self.since).unwrap_or(revision)
    }

    /// Whether someone is the one whose it is, whatever else the token says.
    pub(super) fn is_of(&self, principal: &Principal) -> bool {
        principal.is_same_as(self.subject.as_deref(), &self.claims)
    }

    /// Whether its client was not heard for a lifetime, by the clock of whoever heard it: a clock that is off ends it so much
    /// earlier or later.
    pub(super) fn is_over(&self, lifetime: Duration) -> bool {
        now().saturating_sub(self.heard) >= lifetime.as_secs().max(1)
    }

    /// What its snapshot has shown of what comes after a position. Of another epoch it has shown nothing.
    pub(super) fn shown(&self, after: &Position) -> Option<Sight> {
        let counts = after.epoch == self.began.epoch && now().saturating_sub(self.created) < SHOWN.as_secs();
        if counts { self.seen.clone() } else { None }
    }

    pub(super) fn asked(&self) -> Result<Subscribe, Error> {
        Subscribe::read(self.said.clone())
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// In how many bytes claims are kept.
pub(super) fn claims_bytes(claims: &Map<String, Value>) -> usize {
    serde_json::to_string(claims).map_or(0, |text| text.len())
}

/// The key of a subscription.
pub(super) fn key(id: &str) -> String {
    format!("{SUBSCRIPTION}{id}")
}

/// The subscription of a key.
pub(super) fn id_of(key: &str) -> Option<&str> {
    key.strip_prefix(SUBSCRIPTION)
}

/// The same for the same wish of the same client, said by the same message: a request that is told again begins nothing more.
pub(super) fn id(broker: &str, client: &str, principal: &Principal, message: &[u8]) -> String {
    let identity = principal.identity().to_string();
    let mut hash = Xxh3::new();
    for part in [broker.as_bytes(), client.as_bytes(), identity.as_bytes(), message] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    uuid::Builder::from_custom_bytes(hash.digest128().to_be_bytes()).into_uuid().to_string()
}

/// Whether a text can be the id of a subscription.
pub(super) fn is_id(text: &str) -> bool {
    Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_tokens_without_subject_each_has_subscriptions_of_its_own() {
        let device = |number: u64, end: u64| Principal {
            claims: json!({"device": number, "exp": end}).as_object().cloned().unwrap(),
            expires_at: Some(end),
            ..Principal::default()
        };
        let id = |principal: &Principal| id("b", "c", principal, b"m");
        assert_eq!(id(&device(1, 10)), id(&device(1, 20)), "a renewed token is of the same device");
        assert_ne!(id(&device(1, 10)), id(&device(2, 10)));
        assert_ne!(id(&device(1, 10)), id(&Principal::anonymous()));
        let kept: Kept = serde_json::from_value(json!({"broker": "b", "client": "c", "subject": null, "roles": [],
            "claims": {"device": 1, "exp": 10}, "schema": "main", "entity": "items", "said": {"entity": "items"},
            "began": {"epoch": "e", "offset": 5}, "created": 1, "heard": 1}))
        .unwrap();
        assert!(kept.is_of(&device(1, 20)));
        assert!(!kept.is_of(&device(2, 20)) && !kept.is_of(&Principal::anonymous()));
    }

    #[test]
    fn what_a_snapshot_has_shown_counts_in_its_epoch_and_not_for_ever() {
        let kept = |created: u64| -> Kept {
            let kept = json!({"broker": "b", "client": "c", "subject": null, "roles": [], "claims": {}, "schema": "main",
                "entity": "items", "said": {"entity": "items"}, "began": {"epoch": "e", "offset": 5},
                "seen": {"rows": [[1, 3]]}, "created": created, "heard": now()});
            serde_json::from_value(kept).unwrap()
        };
        let at = |epoch: &str| Position { epoch: epoch.to_owned(), offset: 9 };
        assert!(kept(now()).shown(&at("e")).is_some());
        assert!(kept(now()).shown(&at("f")).is_none());
        assert!(kept(now() - SHOWN.as_secs()).shown(&at("e")).is_none());
    }
}
