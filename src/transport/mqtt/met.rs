//! The clients that hooks have let in here. A client of a broker never connects to us, so it comes with its first message, unless
//! its broker has asked about it before.
//!
//! It is known for as long as it is heard now and then, as who it is: one that speaks with another token is another. Who is
//! refused is not known, and so is asked about again with the next message. What is known is this replica's alone: hooks are asked
//! by each that hears of a client, and nothing is lost with a replica.

use crate::auth::Principal;
use crate::engine::{Engine, Session};
use crate::protocol::{Code, Error};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// For how long a client that says nothing is known.
const SILENT: Duration = Duration::from_hours(1);
/// How many are known.
const MOST: usize = 100_000;

/// Clients that were let in.
#[derive(Default)]
pub(super) struct Met(Mutex<HashMap<String, Guest>>);

struct Guest {
    who: u128,
    heard: Instant,
}

impl Met {
    /// Asks the hooks about a client, unless it is known.
    pub(super) async fn may_come(&self, engine: &Engine, client: &str, principal: &Principal) -> Result<(), Error> {
        let who = digest(principal);
        if self.knows(client, who) {
            return Ok(());
        }
        let asked = Box::pin(engine.may_connect(Session { id: Uuid::new_v4(), principal, remote: None }));
        asked.await.map_err(refused)?;
        self.meets(client, who);
        Ok(())
    }

    fn knows(&self, client: &str, who: u128) -> bool {
        let now = Instant::now();
        let mut guests = self.guests();
        let guest = guests.get_mut(client).filter(|guest| guest.who == who && now - guest.heard < SILENT);
        guest.map(|guest| guest.heard = now).is_some()
    }

    fn meets(&self, client: &str, who: u128) {
        let now = Instant::now();
        let mut guests = self.guests();
        if guests.len() >= MOST {
            guests.retain(|_, guest| now - guest.heard < SILENT);
        }
        if guests.len() >= MOST {
            // Asking all of them once more is better than memory without end.
            guests.clear();
        }
        guests.insert(client.to_owned(), Guest { who, heard: now });
    }

    fn guests(&self) -> MutexGuard<'_, HashMap<String, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells callers apart: who they are and what roles they have, and not how long their token is good.
fn digest(principal: &Principal) -> u128 {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(&principal.identity().to_string());
    principal.roles.iter().for_each(|role| add(role));
    hash.digest128()
}

/// A hook's word under the code that the protocol has for it (§2.2). That nobody could be asked, or that a hook failed, is told as what
/// it is: the client may come again.
fn refused(error: Error) -> Error {
    let is_word = !error.code.retryable() && error.code != Code::InternalError;
    let code = if is_word { Code::AuthError } else { error.code };
    Error { code, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_as_who_it_was_let_in_as() {
        let met = Met::default();
        let (ann, bob) = (1, 2);
        assert!(!met.knows("dev", ann));
        met.meets("dev", ann);
        assert!(met.knows("dev", ann) && !met.knows("dev", bob) && !met.knows("other", ann));
    }

    #[test]
    fn what_is_known_has_an_end() {
        let met = Met::default();
        for number in 0..=MOST {
            met.meets(&number.to_string(), 1);
        }
        assert!(met.guests().len() <= MOST && met.knows(&MOST.to_string(), 1));
    }

    #[test]
    fn another_role_is_another_caller_and_a_fresh_token_is_not() {
        let token = |roles: &[&str], end: u64| {
            let claims = serde_json::json!({"sub": "ann", "iss": "here", "exp": end});
            let roles = roles.iter().map(ToString::to_string).collect();
            Principal {
                subject: Some("ann".to_owned()),
                roles,
                claims: claims.as_object().cloned().unwrap_or_default(),
                expires_at: Some(end),
            }
        };
        assert_eq!(digest(&token(&["a"], 1)), digest(&token(&["a"], 2)));
        assert_ne!(digest(&token(&["a"], 1)), digest(&token(&["a", "b"], 1)));
        assert_ne!(digest(&token(&[], 1)), digest(&Principal::anonymous()));
    }

    #[test]
    fn only_a_hooks_word_is_a_refusal() {
        for (said, told) in [
            (Code::HookError, Code::AuthError),
            (Code::Unauthorized, Code::AuthError),
            (Code::Unavailable, Code::Unavailable),
            (Code::InternalError, Code::InternalError),
        ] {
            assert_eq!(refused(Error::new(said, "not today")), Error::new(told, "not today"));
        }
    }
}
