//! The texts of notifications, each made once for all who get the same bytes.
//!
//! A text begins with what happened, then says to what, and ends with where and when.

use super::mailbox::Told;
use super::part::Part;
use super::place::Place;
use super::shape::Shape;
use crate::catalog::Entity;
use crate::event::capture::Origin;
use crate::event::matcher::{Error as Unclear, Images, Told as What};
use crate::protocol::{Change, ChangeOperation, Error};
use bytes::Bytes;
use serde_json::{Value, json};
use std::fmt::Write;

/// Why a subscriber has to read again. The words are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resync {
    /// What came after the last position is not kept any more.
    ChangesLost,
    /// A change was too large to be carried.
    ChangeOmitted,
    /// A change is written in a way that can't be read, or was made under another catalog.
    ChangeUnreadable,
    /// Only the database can say whether a change concerns the subscription.
    Undecided,
    /// It is told something else than before: other rows, or other columns of them.
    CatalogChanged,
    /// A broker did not take a notification.
    NotificationRefused,
}

impl Resync {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Resync::ChangesLost,
        Resync::ChangeOmitted,
        Resync::ChangeUnreadable,
        Resync::Undecided,
        Resync::CatalogChanged,
        Resync::NotificationRefused,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Resync::ChangesLost => "changes_lost",
            Resync::ChangeOmitted => "change_omitted",
            Resync::ChangeUnreadable => "change_unreadable",
            Resync::Undecided => "undecided",
            Resync::CatalogChanged => "catalog_changed",
            Resync::NotificationRefused => "notification_refused",
        }
    }
}

/// Why a subscription has ended without its client's doing. The words are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It can't go on under the catalog that is served now.
    CatalogChanged,
    /// The changes of its entity are not captured any more.
    CaptureRemoved,
    /// Nothing was heard of its client, which is not connected to us, for as long as a subscription is kept.
    ClientUnheard,
}

impl Ending {
    /// Each of them.
    pub const ALL: [Self; 3] = [Ending::CatalogChanged, Ending::CaptureRemoved, Ending::ClientUnheard];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::CatalogChanged => "catalog_changed",
            Ending::CaptureRemoved => "capture_removed",
            Ending::ClientUnheard => "client_unheard",
        }
    }
}

/// A text, and what a mailbox has to know of it.
pub(super) struct Text {
    tail: Bytes,
    head: usize,
    key: String,
}

impl Text {
    pub(super) fn told(&self, place: Place, origin: Option<Origin>, part: Option<Part>) -> Told<'_> {
        Told { place, origin, part, key: &self.key, tail: &self.tail, head: self.head }
    }
}

/// What the texts at one place have in common.
pub(super) struct Common<'a> {
    pub(super) epoch: &'a str,
    pub(super) offset: u64,
}

impl Common<'_> {
    /// A change, as a shape tells it.
    pub(super) fn change(
        &self,
        shape: &Shape,
        what: What,
        change: &Change,
        [before, after]: &Images<'_>,
    ) -> Result<Text, Unclear> {
        let absent = || Unclear::Malformed("an image is not there".to_owned());
        let (before, after) = (before.as_ref(), after.as_ref());
        let image = after.or(before).ok_or_else(absent)?;
        let key = shape.key(image)?;
        let row = match what.operation {
            ChangeOperation::Delete => None,
            ChangeOperation::Create | ChangeOperation::Update => Some(shape.row(after.ok_or_else(absent)?)?),
        };
        let reason = what.reason.map_or_else(String::new, |reason| format!("\"reason\":\"{}\",", reason.as_str()));
        let mut text = String::with_capacity(key.len() * 2 + row.as_ref().map_or(0, String::len) + 256);
        put(&mut text, format_args!("\"operation\":\"{}\",{reason}", what.operation));
        let head = text.len();
        names(&mut text, &image.entity().schema, &image.entity().name);
        let (data, occurred) = (row.as_ref().unwrap_or(&key), Value::from(change.occurred_at.as_str()));
        put(&mut text, format_args!("\"key\":{key},\"data\":{data},\"occurred_at\":{occurred},"));
        self.end(&mut text);
        // A record of which nothing may be known is not held against others by what is told of it.
        let key = if shape.has_key() { key } else { Value::Object(change.key.clone()).to_string() };
        Ok(Text { tail: text.into(), head, key })
    }

    /// That an entity's rows have to be read again.
    pub(super) fn resync(&self, entity: &Entity, reason: Resync) -> Text {
        let mut text = format!("\"operation\":\"resync_required\",\"reason\":\"{}\",", reason.as_str());
        let head = text.len();
        names(&mut text, &entity.schema, &entity.name);
        self.end(&mut text);
        // Every one of them has a key of its own, that of no record.
        Text { tail: text.into(), head, key: format!("resync {}", self.offset) }
    }

    /// That a subscription has ended, with the code and the message of the reason.
    pub(super) fn ended(&self, schema: &str, entity: &str, ending: Ending, error: &Error) -> Text {
        let mut text = format!("\"operation\":\"ended\",\"reason\":\"{}\",", ending.as_str());
        let head = text.len();
        names(&mut text, schema, entity);
        put(&mut text, format_args!("\"error\":{},", json!(error)));
        self.end(&mut text);
        Text { tail: text.into(), head, key: "ended".to_owned() }
    }

    fn end(&self, text: &mut String) {
        let (epoch, offset, now) = (Value::from(self.epoch), self.offset, jiff::Timestamp::now());
        put(text, format_args!("\"position\":{{\"epoch\":{epoch},\"offset\":{offset}}},\"timestamp\":\"{now}\"}}"));
    }
}

fn names(text: &mut String, schema: &str, entity: &str) {
    let (schema, entity) = (Value::from(schema), Value::from(entity));
    put(text, format_args!("\"schema\":{schema},\"entity\":{entity},"));
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    // A text takes everything that is written into it.
    _ = text.write_fmt(part);
}
