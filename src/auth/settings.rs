//! How callers prove who they are, as the configuration says it.
//!
//! Plain data with the defaults; whether it can work is found out when the `Authenticator` is made from it.

use super::error::SettingsError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How callers prove who they are.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one is made in the life of a process")]
pub enum Authentication {
    /// They don't: everybody is anonymous, and what they send as credentials is not looked at.
    Anonymous,
    /// With a JSON Web Token.
    Jwt(JwtSettings),
}

/// What a token must be like.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// What its signature is checked with.
    pub key: KeySource,
    /// The `iss` that it must have. Without this setting, any is accepted.
    pub issuer: Option<String>,
    /// Of these, its `aud` must name at least one. Without this setting, any is accepted.
    pub audience: Option<Vec<String>>,
    /// The claim with the roles: its name, or the dotted path to it.
    pub roles_claim: String,
    /// How far the clocks of issuer and service may differ.
    pub leeway: Duration,
    /// Whether a caller without a token is anonymous instead of refused. A token that is sent must always be good.
    pub allow_anonymous: bool,
}

/// What signatures are checked with.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// HS256 with a secret that the issuer shares with the service.
    Secret(Secret),
    /// The public keys of a JSON Web Key Set.
    Jwks(JwksSettings),
}

/// Where a key set is, and how often it is looked at.
#[derive(Debug, Clone)]
pub struct JwksSettings {
    /// Where it is.
    pub location: JwksLocation,
    /// After this time, it is loaded anew by the next caller.
    pub lifetime: Duration,
    /// The least time between two loads because of a key that is not known, or after a failure.
    pub refresh_interval: Duration,
    /// How long loading may take.
    pub timeout: Duration,
    /// How large it may be.
    pub max_bytes: usize,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksLocation {
    /// On a server.
    Url(Url),
    /// In a file, such as one of a mounted `ConfigMap`.
    File(PathBuf),
}

/// A secret that is not shown in logs.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl JwtSettings {
    /// The defaults for a key.
    #[must_use]
    pub fn new(key: KeySource) -> Self {
        Self {
            key,
            issuer: None,
            audience: None,
            roles_claim: "roles".to_owned(),
            leeway: Duration::from_secs(30),
            allow_anonymous: false,
        }
    }
}

impl JwksSettings {
    /// The defaults for a place.
    #[must_use]
    pub fn new(location: JwksLocation) -> Self {
        Self {
            location,
            lifetime: Duration::from_hours(1),
            refresh_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            max_bytes: 1 << 20,
        }
    }
}

impl JwksLocation {
    /// Reads `http://…`, `https://…`, or else the path of a file.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        if text.is_empty() {
            return Err(SettingsError::Empty("key set"));
        }
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        let refused = |problem| SettingsError::InvalidUrl { url: without_credentials(text), problem };
        let url = Url::parse(text).map_err(|_| refused("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("has another scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("has credentials in it"));
        }
        Ok(Self::Url(url))
    }
}

impl Secret {
    /// Takes the secret's bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The secret as a text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

fn without_credentials(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
        _ => text.to_owned(),
    }
}
