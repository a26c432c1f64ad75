//! The answer to a subscription: where it begins, and the rows before that.

use crate::event::hub::Begun;
use crate::transport::envelope::page_metadata;
use bytes::Bytes;
use serde_json::{Value, json};

/// What is said of a subscription that has begun.
pub fn head(begun: &Begun) -> Value {
    json!({
        "subscription_id": &*begun.subscription_id,
        "schema": begun.schema,
        "entity": begun.entity,
        "position": begun.position,
    })
}

/// The `data` of the answer, with one more field that the transport has.
pub fn begun(begun: &Begun, more: Option<(&str, &str)>) -> Bytes {
    let mut head = head(begun);
    if let Some((name, value)) = more {
        head[name] = value.into();
    }
    let mut text = head.to_string().into_bytes();
    if let Some(page) = &begun.snapshot {
        let metadata = page_metadata(page.counts, page.rows.count, page.limit, page.offset);
        text.pop();
        for part in [b",\"snapshot\":[".as_slice(), &page.rows.joined, b"],\"metadata\":", metadata.as_bytes(), b"}"] {
            text.extend_from_slice(part);
        }
    }
    text.into()
}
