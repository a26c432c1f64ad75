//! The caller, as `authorize` and hooks see it. It holds no credentials.

use serde_json::{Map, Value};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Principal {
    /// The token's subject; none for an anonymous caller.
    pub subject: Option<String>,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// Everything that the token says.
    pub claims: Map<String, Value>,
    /// When the token ends, in seconds of Unix time.
    pub expires_at: Option<u64>,
    authenticated: bool,
}

impl Principal {
    /// A caller without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A caller whose credentials were verified.
    #[must_use]
    pub fn authenticated(
        subject: Option<String>,
        roles: Vec<String>,
        claims: Map<String, Value>,
        expires_at: Option<u64>,
    ) -> Self {
        Self { subject, roles, claims, expires_at, authenticated: true }
    }

    /// Whether no credentials were given.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        !self.authenticated
    }

    /// Whether the caller has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}
