//! Why a caller is not let in, and why authentication can't start.
//!
//! The first kind is written for clients: it has a stable reason and a text that tells what is wrong with what they sent.
//! Addresses, file names and driver texts appear only in the second kind, which whoever runs the service sees.

use std::path::PathBuf;

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was sent, and anonymous callers are not let in.
    #[error("credentials are missing; send 'Authorization: Bearer <token>'")]
    MissingCredentials,
    /// The token can't be trusted, whoever sends it and whenever.
    #[error("the bearer token is not accepted: {0}")]
    InvalidToken(&'static str),
    /// The token was good, but its time is over.
    #[error("the bearer token has expired; obtain a new one")]
    TokenExpired,
    /// The keys that the token would be checked with can't be loaded now.
    #[error("the bearer token can't be checked at the moment; try again later")]
    KeysUnavailable,
}

impl Error {
    /// The stable name of the reason, for clients and for logs.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Error::MissingCredentials => "missing_credentials",
            Error::InvalidToken(_) => "invalid_token",
            Error::TokenExpired => "token_expired",
            Error::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Whether the same credentials may be accepted later.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Error::KeysUnavailable)
    }
}

/// Why authentication can't start with these settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The shared secret can be guessed.
    #[error("the token secret has {length} bytes; HS256 needs at least {minimum}, for example from 'openssl rand -base64 48'")]
    ShortSecret {
        /// Its length in bytes.
        length: usize,
        /// The least that is accepted.
        minimum: usize,
    },
    /// A setting that is there must say something.
    #[error("the setting '{0}' is empty; give it a value or leave it out")]
    Empty(&'static str),
    /// The key set's URL can't be used.
    #[error("the key set URL '{url}' {problem}; use http:// or https:// with a host, without user and password")]
    InvalidUrl {
        /// The URL, without its credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key set's file can't be used.
    #[error("the key set file '{}' can't be used: {problem}", path.display())]
    KeysFile {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}
