//! The texts that are made here and not by the hub: about a subscription, and in the place of what a broker does not take.

use super::kept::Kept;
use super::lease::Progress;
use crate::event::hub::{Ending, Resync};
use crate::protocol::{Error, Position};
use bytes::Bytes;
use serde_json::{Value, json};

const POSITION: &[u8] = b"\"position\":";

/// A notification of a subscription, from what the hub says of all who are told the same. Up to where everything was told
/// before becomes a member of its position.
pub(super) fn notification(id: &str, tail: &[u8], complete: impl FnOnce(&Position) -> u64) -> Bytes {
    let head = [b"{\"type\":\"notification\",\"subscription_id\":\"".as_slice(), id.as_bytes(), b"\","].concat();
    let Some((told, end)) = position(tail) else {
        tracing::error!(subscription = id, "a notification has no position");
        return [&head, tail].concat().into();
    };
    let (before, after) = tail.split_at(end);
    [&head, before, format!(",\"complete\":{}", complete(&told)).as_bytes(), after].concat().into()
}

/// The position that a text of the hub has at its end, and where the members of it end.
fn position(tail: &[u8]) -> Option<(Position, usize)> {
    let begin = tail.windows(POSITION.len()).rposition(|window| window == POSITION)? + POSITION.len();
    let mut rest = serde_json::Deserializer::from_slice(&tail[begin..]).into_iter::<Position>();
    let told = rest.next()?.ok()?;
    Some((told, begin + rest.byte_offset() - 1))
}

/// That a subscription has ended, and the error if it is refused now.
pub(super) fn ended(id: &str, kept: &Kept, progress: &Progress, reason: Ending, error: Option<&Error>) -> Bytes {
    let mut text = json!({
        "type": "notification",
        "subscription_id": id,
        "operation": "ended",
        "reason": reason.as_str(),
        "schema": kept.schema,
        "entity": kept.entity,
        "position": progress.position.as_ref().unwrap_or(&kept.began),
        "timestamp": jiff::Timestamp::now().to_string(),
    });
    if let Some(error) = error {
        text["error"] = json!(error);
    }
    text.to_string().into()
}

/// In the place of a notification that the broker does not take: that the rows have to be read again.
pub(super) fn instead(payload: &[u8], reason: Resync) -> Option<Bytes> {
    let told: Value = serde_json::from_slice(payload).ok()?;
    let text = json!({
        "type": "notification",
        "subscription_id": told["subscription_id"],
        "operation": "resync_required",
        "reason": reason.as_str(),
        "schema": told["schema"],
        "entity": told["entity"],
        "position": told["position"],
        "timestamp": told["timestamp"],
    });
    Some(text.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_says_in_its_position_up_to_where_everything_was_told() {
        let tail = br#""operation":"create","data":{"text":"\"position\":{\"epoch\":\"x\",\"offset\":1}","position":{"epoch":"x"}},"position":{"epoch":"e","offset":7},"timestamp":"2026-01-01T00:00:00Z"}"#;
        let text = notification("s", tail, |told| {
            assert_eq!((told.epoch.as_str(), told.offset), ("e", 7));
            5
        });
        let mut told: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(told["position"], json!({"epoch": "e", "offset": 7, "complete": 5}));
        told["position"].as_object_mut().unwrap().remove("complete");
        let plain = [b"{\"type\":\"notification\",\"subscription_id\":\"s\",".as_slice(), tail].concat();
        assert_eq!(told, serde_json::from_slice::<Value>(&plain).unwrap());
        let instead: Value = serde_json::from_slice(&instead(&text, Resync::NotificationRefused).unwrap()).unwrap();
        assert_eq!(instead["position"]["complete"], 5);
    }
}
