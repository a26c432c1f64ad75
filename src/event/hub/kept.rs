//! Sessions that outlive their connections: what a client has subscribed to and how far it has heard, kept in a bucket for
//! a while, so that it gets all of it back on any replica.
//!
//! A session belongs to whoever began it, and to the connection that wrote it last; an older connection that has not
//! noticed its end yet writes nothing over that.

use crate::auth::Principal;
use crate::protocol::{Code, Error, Position, Said};
use crate::store::{self, Bucket};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How many times a session that changes under our hands is tried again.
const ATTEMPTS: usize = 10;

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

impl Kept {
    /// Writes a session; `false` says that another connection has taken it, and that nothing was written. Without
    /// subscriptions it is forgotten.
    pub(super) async fn write(&self, session: &str, stored: &Stored) -> Result<bool, store::Error> {
        let key = key(session);
        let other = |entry: &store::Entry| {
            let known = serde_json::from_slice::<Stored>(&entry.value);
            known.is_ok_and(|known| known.connection != stored.connection)
        };
        for _ in 0..ATTEMPTS {
            let there = self.bucket.get(&key).await?;
            if there.as_ref().is_some_and(other) {
                return Ok(false);
            }
            if stored.subscriptions.is_empty() {
                return self.bucket.delete(&key).await.map(|()| true);
            }
            if self.replace(&key, stored, there.map(|there| there.revision)).await? {
                return Ok(true);
            }
        }
        Err(overtaken())
    }

    /// Puts a session in the place of what was looked at; `false` says that somebody else was quicker. Else who has just
    /// taken a session could be overwritten by the one whose it was, and would never write anything again.
    async fn replace(&self, key: &str, stored: &Stored, there: Option<u64>) -> Result<bool, store::Error> {
        let text = serde_json::to_vec(stored).map_err(|error| store::Error::Unusable(error.to_string()))?;
        let put = self.bucket.replace(key, text.into(), there, Some(self.lifetime)).await?;
        Ok(put.is_some())
    }

    /// Takes a session for another connection of the one whose it is.
    pub(super) async fn take(&self, session: &str, principal: &Principal, connection: &str) -> Result<Stored, Error> {
        let unknown = || Error::new(Code::SessionNotFound, "there is no such session, or its time is over; subscribe again");
        if uuid::Uuid::try_parse(session).is_err() {
            return Err(unknown());
        }
        let key = key(session);
        for _ in 0..ATTEMPTS {
            let entry = self.bucket.get(&key).await.map_err(|error| unavailable(&error))?.ok_or_else(unknown)?;
            let mut stored: Stored = serde_json::from_slice(&entry.value).map_err(|error| {
                tracing::error!(%error, "a session can't be read");
                unknown()
            })?;
            if stored.identity != identity(principal) {
                return Err(unknown());
            }
            connection.clone_into(&mut stored.connection);
            // Whoever had it may be writing how far it was heard at this moment; that is not to be lost.
            if self.replace(&key, &stored, Some(entry.revision)).await.map_err(|error| unavailable(&error))? {
                return Ok(stored);
            }
        }
        Err(unavailable(&overtaken()))
    }
}

fn overtaken() -> store::Error {
    store::Error::Unavailable("a session is written by several connections again and again".to_owned())
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
    use bytes::Bytes;
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
        assert!(kept.write(SESSION, first).await.unwrap());
        *bucket.then.lock().unwrap() = Some(then);
        (kept, bucket)
    }

    async fn now(bucket: &Busy) -> Stored {
        serde_json::from_slice(&bucket.inner.get(&key(SESSION)).await.unwrap().unwrap().value).unwrap()
    }

    #[tokio::test]
    async fn who_ends_does_not_take_its_session_back_from_who_has_just_taken_it() {
        let (kept, bucket) = busy(&stored("old", 1), stored("new", 1)).await;
        assert!(!kept.write(SESSION, &stored("old", 2)).await.unwrap());
        assert_eq!(now(&bucket).await, stored("new", 1));
        assert!(kept.write(SESSION, &stored("new", 3)).await.unwrap(), "and who has it goes on writing");
    }

    #[tokio::test]
    async fn who_takes_a_session_gets_what_is_written_at_that_moment() {
        let (kept, bucket) = busy(&stored("old", 1), stored("old", 2)).await;
        let taken = kept.take(SESSION, &Principal::anonymous(), "new").await.unwrap();
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
