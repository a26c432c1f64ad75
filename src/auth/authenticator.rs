//! The one door: credentials in, a principal or a reason out.
//!
//! Made once from the settings and cloned into every transport. It never decides what a principal may do.

use super::error::{Error, SettingsError};
use super::jwt::Verifier;
use super::principal::Principal;
use super::settings::Authentication;
use std::sync::Arc;

/// Turns credentials into principals. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    /// Without it, everybody is anonymous.
    jwt: Option<Arc<Jwt>>,
}

/// What a caller sent to prove who they are.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    token: Option<&'a str>,
}

struct Jwt {
    verifier: Verifier,
    allow_anonymous: bool,
}

impl Authenticator {
    /// Checks the settings and loads the keys. A key file must be there; a key server may come up later, since callers
    /// are told to try again until it answers.
    pub async fn new(settings: Authentication) -> Result<Self, SettingsError> {
        let Authentication::Jwt(settings) = settings else { return Ok(Self { jwt: None }) };
        let allow_anonymous = settings.allow_anonymous;
        let verifier = Verifier::new(settings).await?;
        Ok(Self { jwt: Some(Arc::new(Jwt { verifier, allow_anonymous })) })
    }

    /// Whether tokens are read at all.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        self.jwt.is_some()
    }

    /// Whether callers without credentials get in.
    #[must_use]
    pub fn admits_anonymous(&self) -> bool {
        self.jwt.as_ref().is_none_or(|jwt| jwt.allow_anonymous)
    }

    /// Finds out who asks.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Error> {
        let Some(jwt) = &self.jwt else { return Ok(Principal::anonymous()) };
        match credentials.token {
            // By itself, so that who sends none does not carry its room along.
            Some(token) => Box::pin(jwt.verifier.verify(token)).await,
            None if jwt.allow_anonymous => Ok(Principal::anonymous()),
            None => Err(Error::MissingCredentials),
        }
    }
}

impl<'a> Credentials<'a> {
    /// Nothing was sent.
    #[must_use]
    pub fn none() -> Self {
        Self { token: None }
    }

    /// A bearer token, such as a session sends it in a frame.
    #[must_use]
    pub fn bearer(token: &'a str) -> Self {
        Self { token: Some(token) }
    }

    /// The value of an `Authorization` header, if there is one. Another scheme than `Bearer` is refused, so that nobody
    /// who tried to prove who they are is taken for anonymous.
    pub fn from_authorization(header: Option<&'a str>) -> Result<Self, Error> {
        let Some(header) = header else { return Ok(Self::none()) };
        match header.trim().split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Self::bearer(token.trim_start())),
            _ => Err(Error::InvalidToken("the Authorization header must be 'Bearer <token>'")),
        }
    }
}

impl<'a> From<Option<&'a str>> for Credentials<'a> {
    fn from(token: Option<&'a str>) -> Self {
        Self { token }
    }
}
