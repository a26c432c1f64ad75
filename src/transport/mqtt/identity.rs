//! Who asks: the token in the message, or whom the broker has let in as this client.
//!
//! Where both are there they have to agree, and a token can be bound to a client by a claim.
//!
//! Whom a broker has let in, maybe by another replica and a moment ago, is at hand here a little later. So nobody is passed or
//! refused by what is at hand where it could be somebody else by now: of whom nobody was let in as, and of whom the token does not
//! name, the store is asked. (A token that a claim binds to this client passes for a moment longer after the bearer of another such token has
//! taken the client over: both may speak as it.) Where a claim binds tokens, its bearer takes a client id over from who had it, so that a request without a token is
//! asked about as well; else an id is somebody's until that one's token ends. What can't be asked is not known, and not allowed.

use super::remembered::Remembered;
use crate::auth::{self, Authenticator, Credentials, Principal};
use crate::protocol::{Code, Error};
use crate::store;
use serde_json::Value;

/// Finds out who asks.
pub(super) struct Identity {
    pub authenticator: Authenticator,
    pub remembered: Remembered,
    /// The claim that names the clients that may use a token.
    pub claim: Option<String>,
    /// Whether there are several brokers, so that a client's id says nothing without its broker.
    pub several: bool,
}

impl Identity {
    /// Who sent a message by a client's topic, with a token beside it or in it.
    pub(super) async fn of(
        &self,
        broker: &str,
        client: &str,
        authorization: Option<&str>,
        token: Option<&str>,
    ) -> Result<Principal, Error> {
        if !self.authenticator.takes_tokens() {
            return Ok(Principal::anonymous());
        }
        let credentials = match (authorization, token) {
            (None, None) => return self.without_token(broker, client).await,
            (Some(_), _) => Credentials::from_authorization(authorization).map_err(refused)?,
            (None, Some(token)) => Credentials::bearer(token),
        };
        let principal = self.authenticator.authenticate(credentials).await.map_err(refused)?;
        self.check_claim(client, &principal)?;
        if self.was_let_in(broker, client, &principal) {
            return Ok(principal);
        }
        match self.remembered.ask(&self.key(broker, client)).await.map_err(|error| unknown(&error))? {
            Some(other) if !same(&other, &principal) => {
                let message = format!("the broker knows the client '{client}' as somebody else than the token names");
                Err(Error::new(Code::Forbidden, message))
            }
            _ => Ok(principal),
        }
    }

    /// Whether the broker has asked about a client, and it was let in as this caller.
    pub(super) fn was_let_in(&self, broker: &str, client: &str, principal: &Principal) -> bool {
        self.remembered.is_known_as(&self.key(broker, client), principal)
    }

    async fn without_token(&self, broker: &str, client: &str) -> Result<Principal, Error> {
        let key = self.key(broker, client);
        let found = if self.claim.is_some() { self.remembered.ask(&key).await } else { self.remembered.find(&key).await };
        match found.map_err(|error| unknown(&error))? {
            Some(principal) => Ok(principal),
            None if self.authenticator.admits_anonymous() => Ok(Principal::anonymous()),
            None => Err(Error::new(
                Code::Unauthorized,
                "credentials are missing; send the user property 'authorization' with 'Bearer <token>', or a field 'token'",
            )),
        }
    }

    /// Under which a client is remembered: the same id at another broker is somebody else's.
    pub(super) fn key(&self, broker: &str, client: &str) -> String {
        if self.several { format!("{broker} {client}") } else { client.to_owned() }
    }

    /// Whether a token may be used by a client.
    pub(super) fn check_claim(&self, client: &str, principal: &Principal) -> Result<(), Error> {
        let Some(claim) = &self.claim else { return Ok(()) };
        let bound = match principal.claims.get(claim) {
            Some(Value::String(one)) => one == client,
            Some(Value::Array(many)) => many.iter().any(|one| one == client),
            _ => false,
        };
        if bound {
            return Ok(());
        }
        let message = format!("the token is not for the client '{client}': its claim '{claim}' does not name it");
        Err(Error::new(Code::Forbidden, message))
    }
}

/// Whether two are the same caller, whatever else their tokens say.
pub(super) fn same(one: &Principal, other: &Principal) -> bool {
    one.is_same_as(other.subject.as_deref(), &other.claims)
}

fn unknown(error: &store::Error) -> Error {
    tracing::warn!(%error, "who a client is can't be looked up");
    Error::new(Code::Unavailable, "who this client is can't be looked up at the moment; try again later")
}

fn refused(error: auth::Error) -> Error {
    let code = if error.retryable() { Code::Unavailable } else { Code::Unauthorized };
    Error::new(code, error.to_string()).with_detail(error.reason())
}
