//! What is left of a change that is too large to be carried.
//!
//! Pure. It keeps the names, so that only those who follow the entity have to read again.

use crate::protocol::Change;
use serde_json::Map;

/// Whether there is anything to carry: whoever made the change may not have known the row.
pub(super) fn has_images(change: &Change) -> bool {
    change.before.is_some() || change.after.is_some()
}

/// The change without its images, and without everything else that has no bound of its own if the key takes more than
/// `key_bytes`.
pub(super) fn omitted(change: &Change, key_bytes: usize) -> Change {
    let bare = Change { before: None, after: None, changed: Vec::new(), ..change.clone() };
    let key: usize = bare.key.iter().map(|(column, value)| column.len() + value.to_string().len()).sum();
    if key <= key_bytes {
        return bare;
    }
    Change { key: Map::new(), user: None, tenant: None, transaction: None, ..bare }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ChangeOperation;
    use serde_json::{Value, json, value::to_raw_value};

    fn change(key: &str) -> Change {
        Change {
            id: "1".to_owned(),
            source: "shop".to_owned(),
            schema: "public".to_owned(),
            entity: "users".to_owned(),
            table: String::new(),
            serving: String::new(),
            operation: ChangeOperation::Update,
            key: Map::from_iter([("id".to_owned(), Value::from(key))]),
            before: Some(to_raw_value(&json!({"a": 1})).unwrap()),
            after: Some(to_raw_value(&json!({"a": 2})).unwrap()),
            changed: vec!["a".to_owned()],
            transaction: None,
            user: Some("me".to_owned()),
            tenant: None,
            occurred_at: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn the_key_stays_while_it_is_small() {
        let left = omitted(&change("7"), 100);
        assert_eq!(left.key["id"], "7");
        assert!(left.before.is_none() && left.after.is_none() && left.changed.is_empty());
        assert_eq!(left.user.as_deref(), Some("me"));
    }

    #[test]
    fn a_huge_key_goes_with_the_images() {
        let left = omitted(&change(&"x".repeat(101)), 100);
        assert!(left.key.is_empty() && left.user.is_none());
        assert_eq!((left.schema.as_str(), left.entity.as_str()), ("public", "users"));
    }
}
