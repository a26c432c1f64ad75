//! The one who asks, as far as credentials tell.
//!
//! Policies, hooks and subscriptions read it; only authentication makes one that is not anonymous.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Claims that a renewed token has anew.
const RENEWED: [&str; 5] = ["exp", "iat", "nbf", "jti", "auth_time"];

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

    /// Who it is, however often the token is renewed: the issuer's subject, and of a token without one whoever has the same claims.
    /// Nothing for someone without credentials.
    #[must_use]
    pub fn identity(&self) -> Value {
        match &self.subject {
            Some(subject) => json!({ "iss": self.claims.get("iss"), "sub": subject }),
            None if self.claims.is_empty() => Value::Null,
            None => json!(lasting(&self.claims)),
        }
    }

    /// Whether a subject with these claims has the same identity.
    #[must_use]
    pub fn is_same_as(&self, subject: Option<&str>, claims: &Map<String, Value>) -> bool {
        if self.subject.as_deref() != subject {
            return false;
        }
        if subject.is_some() {
            return self.claims.get("iss") == claims.get("iss");
        }
        self.claims.is_empty() == claims.is_empty() && lasting(&self.claims) == lasting(claims)
    }

    /// Whether the token names this role, by its exact text.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

fn lasting(claims: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    claims.iter().filter(|(name, _)| !RENEWED.contains(&name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(claims: &Value) -> Principal {
        let claims = claims.as_object().cloned().unwrap_or_default();
        let subject = claims.get("sub").and_then(Value::as_str).map(ToOwned::to_owned);
        Principal { subject, claims, ..Principal::default() }
    }

    #[test]
    fn a_renewed_token_is_the_same_callers_and_one_without_subject_is_told_by_its_claims() {
        let callers = [
            json!({}),
            json!({"exp": 1}),
            json!({"exp": 1, "device": 7}),
            json!({"exp": 1, "device": 8}),
            json!({"exp": 1, "sub": ""}),
            json!({"exp": 1, "sub": "ada"}),
            json!({"exp": 1, "sub": "ada", "iss": "elsewhere"}),
        ];
        for (one, first) in callers.iter().map(principal).enumerate() {
            for (other, second) in callers.iter().map(principal).enumerate() {
                let same = first.is_same_as(second.subject.as_deref(), &second.claims);
                assert_eq!((same, first.identity() == second.identity()), (one == other, one == other), "{first:?} {second:?}");
            }
        }
        for (before, renewed) in [
            (json!({"exp": 1, "device": 7, "zone": 1}), json!({"zone": 1, "device": 7, "exp": 2, "jti": "b"})),
            (json!({"exp": 1, "sub": "ada", "roles": ["writer"]}), json!({"exp": 2, "sub": "ada", "roles": []})),
        ] {
            let (before, renewed) = (principal(&before), principal(&renewed));
            assert!(before.is_same_as(renewed.subject.as_deref(), &renewed.claims));
            assert_eq!(before.identity().to_string(), renewed.identity().to_string());
        }
    }
}
