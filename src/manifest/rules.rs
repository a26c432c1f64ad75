//! What the API server of a cluster checks before a resource is kept: rules in CEL and patterns, beside the types that they
//! hold for.
//!
//! Whatever a rule refuses is refused as well where there is no API server, by `connection` and by the catalog's compiler;
//! but for rules over `oldSelf`, which tell what can't be changed.

use serde_json::{Value, json};

/// `500ms`, `30s`, `2m`, `1h`.
pub(super) const DURATION: &str = "^[0-9]*[1-9][0-9]*(ms|s|m|h)$";

/// Rules, each with what is said to whoever breaks it.
pub(super) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}
