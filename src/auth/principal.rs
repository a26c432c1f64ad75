//! The one who asks, as far as credentials tell.
//!
//! Policies, hooks and subscriptions read it; only authentication makes one that is not anonymous.

use serde_json::{Map, Value};

/// The one who asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Principal {
    /// The token's `sub`.
    pub subject: Option<String>,
    /// The roles, in the token's order.
    pub roles: Vec<String>,
    /// Every claim of the token, for policies.
    pub claims: Map<String, Value>,
    /// When the token ends, in seconds since 1970. A session must not outlive it.
    pub expires_at: Option<u64>,
}

impl Principal {
    /// Someone without credentials: no subject, no role, no claim.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Whether no credentials were given. Every accepted token has an end, so that one without subject is still somebody.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.subject.is_none() && self.roles.is_empty() && self.claims.is_empty() && self.expires_at.is_none()
    }

    /// Whether the token names this role, by its exact text.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}
