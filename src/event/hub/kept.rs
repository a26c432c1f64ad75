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
    /// Writes a session, unless another connection has taken it. Without subscriptions it is forgotten.
    pub(super) async fn write(&self, session: &str, stored: &Stored) -> Result<(), store::Error> {
        let key = key(session);
        let other = |entry: &store::Entry| {
            let known = serde_json::from_slice::<Stored>(&entry.value);
            known.is_ok_and(|known| known.connection != stored.connection)
        };
        if self.bucket.get(&key).await?.as_ref().is_some_and(other) {
            return Ok(());
        }
        self.put(session, stored).await
    }

    async fn put(&self, session: &str, stored: &Stored) -> Result<(), store::Error> {
        if stored.subscriptions.is_empty() {
            return self.bucket.delete(&key(session)).await;
        }
        let text = serde_json::to_vec(stored).map_err(|error| store::Error::Unusable(error.to_string()))?;
        self.bucket.put(&key(session), text.into(), Some(self.lifetime)).await.map(|_| ())
    }

    /// Takes a session for another connection of the one whose it is.
    pub(super) async fn take(&self, session: &str, principal: &Principal, connection: &str) -> Result<Stored, Error> {
        let unknown = || Error::new(Code::SessionNotFound, "there is no such session, or its time is over; subscribe again");
        if uuid::Uuid::try_parse(session).is_err() {
            return Err(unknown());
        }
        let entry = self.bucket.get(&key(session)).await.map_err(|error| unavailable(&error))?.ok_or_else(unknown)?;
        let mut stored: Stored = serde_json::from_slice(&entry.value).map_err(|error| {
            tracing::error!(%error, "a session can't be read");
            unknown()
        })?;
        if stored.identity != identity(principal) {
            return Err(unknown());
        }
        connection.clone_into(&mut stored.connection);
        self.put(session, &stored).await.map_err(|error| unavailable(&error))?;
        Ok(stored)
    }
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
