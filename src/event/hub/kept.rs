//! Sessions that outlive their connections: what a client has subscribed to and how far it has heard, kept in a bucket for
//! a while, so that it gets all of it back on any replica.
//!
//! A session belongs to whoever began it, and to one connection. Taking and writing are compare-and-set: of two connections that
//! take it at once one has it, and an older connection that has not noticed its end yet writes nothing over that.

use crate::auth::Principal;
use crate::protocol::{Code, Error, Position, Said};
use crate::store::{self, Bucket};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Where sessions are kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) lifetime: Duration,
}

/// A session as it is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Whose it is.
    pub(super) identity: Value,
    /// The connection that wrote it.
    pub(super) connection: String,
    pub(super) subscriptions: Vec<StoredSubscription>,
}

/// A subscription of a session.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredSubscription {
    pub(super) id: String,
    pub(super) said: Said,
    /// Everything up to here has reached the client.
    pub(super) position: Position,
}

/// How often a value that changes under our hands is tried again; only the same connection or one that takes it changes it.
const ATTEMPTS: usize = 10;

/// What came of a write.
pub(super) enum Written {
    /// It is kept, as this revision.
    Kept(u64),
    /// Another connection has the session, for ever.
    Taken,
}

impl Kept {
    /// Writes a session, unless another connection has taken it. `revision` is that of what the connection wrote last. One
    /// without subscriptions is kept as well, so that nobody who had it before takes it for forgotten and writes it again.
    pub(super) async fn write(&self, session: &str, stored: &Stored, revision: Option<u64>) -> Result<Written, store::Error> {
        let (key, text, mut expected) = (key(session), text(stored)?, revision);
        for _ in 0..ATTEMPTS {
            if let Some(revision) = self.bucket.replace(&key, text.clone(), expected, Some(self.lifetime)).await? {
                return Ok(Written::Kept(revision));
            }
            let entry = self.bucket.get(&key).await?;
            let known = entry.as_ref().and_then(|entry| serde_json::from_slice::<Stored>(&entry.value).ok());
            if known.is_some_and(|known| known.connection != stored.connection) {
                return Ok(Written::Taken);
            }
            // Its time was over, or an earlier write was kept whose answer was lost.
            expected = entry.map(|entry| entry.revision);
        }
        Err(contended(&key))
    }

    /// Takes a session for another connection of the one whose it is. Answers the revision beside it.
    pub(super) async fn take(&self, session: &str, principal: &Principal, connection: &str) -> Result<(Stored, u64), Error> {
        if uuid::Uuid::try_parse(session).is_err() {
            return Err(unknown());
        }
        let key = key(session);
        let mut owner: Option<String> = None;
        for _ in 0..ATTEMPTS {
            let entry = self.bucket.get(&key).await.map_err(|error| unavailable(&error))?.ok_or_else(unknown)?;
            let mut stored = read(&entry, principal)?;
            let before = std::mem::replace(&mut stored.connection, connection.to_owned());
            if *owner.get_or_insert_with(|| before.clone()) != before {
                return Err(Error::new(
                    Code::Unavailable,
                    "another connection takes this session at the same time; connect again",
                ));
            }
            let text = text(&stored).map_err(|error| unavailable(&error))?;
            let replaced = self.bucket.replace(&key, text, Some(entry.revision), Some(self.lifetime)).await;
            if let Some(revision) = replaced.map_err(|error| unavailable(&error))? {
                return Ok((stored, revision));
            }
            // Whoever has it may have written how far it was heard; that is no reason to leave it to them.
        }
        Err(unavailable(&contended(&key)))
    }
}

/// A session as it is kept, if it is of this one and something is left of it.
fn read(entry: &store::Entry, principal: &Principal) -> Result<Stored, Error> {
    let stored: Stored = serde_json::from_slice(&entry.value).map_err(|error| {
        tracing::error!(%error, "a session can't be read");
        unknown()
    })?;
    if stored.identity != identity(principal) || stored.subscriptions.is_empty() {
        return Err(unknown());
    }
    Ok(stored)
}

fn text(stored: &Stored) -> Result<Bytes, store::Error> {
    serde_json::to_vec(stored).map(Bytes::from).map_err(|error| store::Error::Unusable(error.to_string()))
}

fn unknown() -> Error {
    Error::new(Code::SessionNotFound, "there is no such session, or its time is over; subscribe again")
}

fn contended(key: &str) -> store::Error {
    store::Error::Unavailable(format!("key '{key}' is written by others again and again"))
}

/// Who someone is, however often the token is renewed.
pub(super) fn identity(principal: &Principal) -> Value {
    let mut claims = principal.claims.clone();
    if let Some(subject) = &principal.subject {
        return json!({ "sub": subject, "iss": claims.remove("iss") });
    }
    for of_one_token in ["exp", "iat", "nbf", "jti"] {
        claims.remove(of_one_token);
    }
    Value::Object(claims)
}

fn key(session: &str) -> String {
    format!("session.{session}")
}

fn unavailable(error: &store::Error) -> Error {
    tracing::warn!(%error, "sessions can't be reached");
    Error::new(Code::Unavailable, "sessions can't be reached now; connect again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Target;
    use crate::store::{Entry, MemoryBucket, Watch};
    use std::sync::Mutex;

    const SESSION: &str = "51f0cb6e-3f5c-4a4a-9a3e-2f8a3b1f5c77";

    /// A bucket in which something happens after somebody has looked.
    struct Busy {
        inner: MemoryBucket,
        then: Mutex<Option<Stored>>,
    }

    #[async_trait::async_trait]
    impl Bucket for Busy {
        async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, store::Error> {
            self.inner.put(key, value, lifetime).await
        }

        async fn replace(
            &self,
            key: &str,
            value: Bytes,
            revision: Option<u64>,
            lifetime: Option<Duration>,
        ) -> Result<Option<u64>, store::Error> {
            self.inner.replace(key, value, revision, lifetime).await
        }

        async fn get(&self, key: &str) -> Result<Option<Entry>, store::Error> {
            let found = self.inner.get(key).await;
            let then = self.then.lock().unwrap().take();
            if let Some(stored) = then {
                self.inner.put(key, serde_json::to_vec(&stored).unwrap().into(), None).await?;
            }
            found
        }

        async fn delete(&self, key: &str) -> Result<(), store::Error> {
            self.inner.delete(key).await
        }

        async fn watch(&self) -> Result<Watch, store::Error> {
            self.inner.watch().await
        }
    }

    fn stored(connection: &str, offset: u64) -> Stored {
        let target = Target { schema: None, entity: "items".to_owned() };
        let position = Position { epoch: "e".to_owned(), offset };
        let one = StoredSubscription { id: "s".to_owned(), said: Said::new(&target, Value::Null, None), position };
        Stored { identity: identity(&Principal::anonymous()), connection: connection.to_owned(), subscriptions: vec![one] }
    }

    /// Sessions in a bucket where one is, and another comes to be as soon as somebody has looked.
    async fn busy(first: &Stored, then: Stored) -> (Kept, Arc<Busy>) {
        let bucket = Arc::new(Busy { inner: MemoryBucket::default(), then: Mutex::default() });
        let kept = Kept { bucket: Arc::<Busy>::clone(&bucket), lifetime: Duration::from_mins(1) };
        assert!(is_kept(&kept, first).await);
        *bucket.then.lock().unwrap() = Some(then);
        (kept, bucket)
    }

    async fn is_kept(kept: &Kept, stored: &Stored) -> bool {
        matches!(kept.write(SESSION, stored, None).await.unwrap(), Written::Kept(_))
    }

    async fn now(bucket: &Busy) -> Stored {
        serde_json::from_slice(&bucket.inner.get(&key(SESSION)).await.unwrap().unwrap().value).unwrap()
    }

    #[tokio::test]
    async fn who_ends_does_not_take_its_session_back_from_who_has_just_taken_it() {
        let (kept, bucket) = busy(&stored("old", 1), stored("new", 1)).await;
        assert!(!is_kept(&kept, &stored("old", 2)).await);
        assert_eq!(now(&bucket).await, stored("new", 1));
        assert!(is_kept(&kept, &stored("new", 3)).await, "and who has it goes on writing");
    }

    #[tokio::test]
    async fn who_takes_a_session_gets_what_is_written_at_that_moment() {
        let (kept, bucket) = busy(&stored("old", 1), stored("old", 2)).await;
        let (taken, _) = kept.take(SESSION, &Principal::anonymous(), "new").await.unwrap();
        assert_eq!(taken, stored("new", 2));
        assert_eq!(now(&bucket).await, stored("new", 2));
    }

    fn principal(claims: &Value) -> Principal {
        let claims = claims.as_object().expect("an object").clone();
        let subject = claims.get("sub").and_then(Value::as_str).map(ToOwned::to_owned);
        Principal { subject, claims, ..Principal::default() }
    }

    #[test]
    fn a_new_token_is_the_same_one_and_another_subject_is_not() {
        let ada = identity(&principal(&json!({"sub": "ada", "iss": "here", "exp": 1, "roles": ["a"]})));
        assert_eq!(ada, identity(&principal(&json!({"sub": "ada", "iss": "here", "exp": 2, "roles": []}))));
        assert_ne!(ada, identity(&principal(&json!({"sub": "bob", "iss": "here", "exp": 1}))));
        assert_ne!(ada, identity(&principal(&json!({"sub": "ada", "iss": "there", "exp": 1}))));
        let nameless = identity(&principal(&json!({"device": 7, "exp": 1, "jti": "x"})));
        assert_eq!(nameless, identity(&principal(&json!({"device": 7, "exp": 2, "jti": "y"}))));
        assert_ne!(nameless, identity(&principal(&json!({"device": 8, "exp": 1}))));
        assert_ne!(nameless, identity(&Principal::anonymous()));
    }
}
