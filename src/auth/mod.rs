//! Who asks: a bearer token becomes a `Principal`.
//!
//! Every transport hands its credentials to the one `Authenticator` and gets a principal or a reason. What that principal
//! may do is decided in the engine; nothing here knows entities, and no transport looks into a token itself.
//!
//! In reading order: what is asked for, who answers, how a token is checked, where its key comes from.

mod authenticator;
mod error;
mod fetch;
mod jwks;
mod jwt;
mod keys;
mod principal;
mod settings;
mod verified;

pub use authenticator::{Authenticator, Credentials};
pub use error::{Error, SettingsError};
pub use principal::Principal;
pub use settings::{Authentication, JwksLocation, JwksSettings, JwtSettings, KeySource, Secret};

#[cfg(test)]
mod test_issuer;
#[cfg(test)]
mod tests;
