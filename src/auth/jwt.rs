//! Checks one token: signature first, then time, issuer and audience, then its roles.
//!
//! The algorithm comes from the key and never from the token alone: a token may only name one that its key allows, so
//! that neither `none` nor a public key used as a shared secret gets through.

use super::error::{Error, SettingsError};
use super::jwks::VerificationKey;
use super::keys::KeySet;
use super::principal::Principal;
use super::settings::{JwtSettings, KeySource};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Checks tokens with one kind of key.
pub(super) struct Verifier {
    keys: Keys,
    validation: Validation,
    roles_claim: String,
    leeway_seconds: u64,
}

enum Keys {
    Secret(Arc<VerificationKey>),
    Set(Box<KeySet>),
}

/// HS256 is as strong as its secret, up to the size of its hash.
const MINIMUM_SECRET_BYTES: usize = 32;

/// Longer texts are refused before anything is computed for them.
const MAXIMUM_TOKEN_BYTES: usize = 16 * 1024;

impl Verifier {
    pub(super) async fn new(settings: JwtSettings) -> Result<Self, SettingsError> {
        let validation = validation(&settings)?;
        if settings.roles_claim.is_empty() {
            return Err(SettingsError::Empty("roles_claim"));
        }
        let keys = match settings.key {
            KeySource::Secret(secret) => {
                let length = secret.bytes().len();
                if length < MINIMUM_SECRET_BYTES {
                    return Err(SettingsError::ShortSecret { length, minimum: MINIMUM_SECRET_BYTES });
                }
                Keys::Secret(Arc::new(VerificationKey::from_secret(secret.bytes())))
            }
            KeySource::Jwks(settings) => Keys::Set(Box::new(KeySet::start(settings).await?)),
        };
        Ok(Self { keys, validation, roles_claim: settings.roles_claim, leeway_seconds: settings.leeway.as_secs() })
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Principal, Error> {
        if token.len() > MAXIMUM_TOKEN_BYTES {
            return Err(Error::InvalidToken("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| Error::InvalidToken("it is not a JSON Web Token with a supported algorithm"))?;
        if header.crit.is_some() {
            return Err(Error::InvalidToken("its header has 'crit' extensions"));
        }
        let key = self.key(header.kid.as_deref(), header.alg).await?;
        let now = now_seconds();
        if let Some(principal) = key.verified.find(token, now.saturating_sub(self.leeway_seconds)) {
            return Ok(principal);
        }
        let claims = self.claims(token, &key, header.alg)?;
        let expires_at = check_times(&claims, now, self.leeway_seconds)?;
        let principal = self.principal(claims, expires_at);
        key.verified.remember(token, &principal);
        Ok(principal)
    }

    async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<VerificationKey>, Error> {
        match &self.keys {
            Keys::Secret(key) if key.algorithms.contains(&algorithm) => Ok(Arc::clone(key)),
            Keys::Secret(_) => Err(Error::InvalidToken("its algorithm is not the one of the key")),
            Keys::Set(set) => set.find(id, algorithm).await,
        }
    }

    /// The claims of a token whose signature, issuer and audience are right.
    fn claims(&self, token: &str, key: &VerificationKey, algorithm: Algorithm) -> Result<Map<String, Value>, Error> {
        let validation = Validation { algorithms: vec![algorithm], ..self.validation.clone() };
        match jsonwebtoken::decode(token, &key.decoding, &validation) {
            Ok(decoded) => Ok(decoded.claims),
            Err(error) => Err(Error::InvalidToken(match error.kind() {
                ErrorKind::InvalidSignature => "its signature does not match",
                ErrorKind::InvalidIssuer => "its issuer is not the expected one",
                ErrorKind::InvalidAudience => "it is meant for another audience",
                ErrorKind::MissingRequiredClaim(name) if name == "iss" => "it has no issuer",
                ErrorKind::MissingRequiredClaim(name) if name == "aud" => "it has no audience",
                _ => "it can't be read",
            })),
        }
    }

    fn principal(&self, claims: Map<String, Value>, expires_at: u64) -> Principal {
        Principal {
            subject: claims.get("sub").and_then(Value::as_str).map(ToOwned::to_owned),
            roles: roles(&claims, &self.roles_claim),
            claims,
            expires_at: Some(expires_at),
        }
    }
}

/// What the library checks. The times are left to `check_times`, since they may be fractions.
fn validation(settings: &JwtSettings) -> Result<Validation, SettingsError> {
    let mut validation = Validation {
        required_spec_claims: HashSet::new(),
        validate_exp: false,
        validate_aud: settings.audience.is_some(),
        ..Validation::default()
    };
    if let Some(issuer) = &settings.issuer {
        if issuer.is_empty() {
            return Err(SettingsError::Empty("issuer"));
        }
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    if let Some(audience) = &settings.audience {
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(SettingsError::Empty("audience"));
        }
        validation.set_audience(audience);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    Ok(validation)
}

/// When the token ends, if that is still to come and its beginning is not.
fn check_times(claims: &Map<String, Value>, now: u64, leeway: u64) -> Result<u64, Error> {
    let expires_at = claims.get("exp").ok_or(Error::InvalidToken("it has no 'exp'"))?;
    let expires_at = seconds(expires_at).ok_or(Error::InvalidToken("its 'exp' is not a time"))?;
    if expires_at.saturating_add(leeway) <= now {
        return Err(Error::TokenExpired);
    }
    if let Some(not_before) = claims.get("nbf") {
        let not_before = seconds(not_before).ok_or(Error::InvalidToken("its 'nbf' is not a time"))?;
        if not_before > now.saturating_add(leeway) {
            return Err(Error::InvalidToken("it is not valid yet"));
        }
    }
    Ok(expires_at)
}

/// A time in seconds since 1970. Some issuers write fractions; what is before 1970 is as long over as 1970.
fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_number()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as wanted")]
    number.as_u64().or_else(|| number.as_f64().map(|fraction| fraction as u64))
}

/// The roles that a claim names: an array of texts, or one text with spaces between. Any other shape names none.
fn roles(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    let claim = claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, step| value.get(step))
    });
    match claim {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        Some(Value::String(text)) => text.split_ascii_whitespace().map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
