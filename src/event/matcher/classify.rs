//! What a subscriber is told of a change, by whether the row matched before it and matches after it.

use crate::protocol::ChangeOperation;

/// Why an update is told as if the row had been added or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It matches now and did not before.
    Enter,
    /// It does not match any more.
    Leave,
}

impl Reason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Enter => "enter",
            Reason::Leave => "leave",
        }
    }
}

/// What a subscriber is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Told {
    /// What happened, as far as the subscriber is concerned.
    pub operation: ChangeOperation,
    /// Why, where something else happened to the row itself.
    pub reason: Option<Reason>,
}

/// Says what is told, if anything. Each side is whether the row matched; none where there was no row.
#[must_use]
pub fn classify(before: Option<bool>, after: Option<bool>) -> Option<Told> {
    let told = |operation, reason| Some(Told { operation, reason });
    match (before, after) {
        (None, Some(true)) => told(ChangeOperation::Create, None),
        (Some(true), None) => told(ChangeOperation::Delete, None),
        (Some(true), Some(true)) => told(ChangeOperation::Update, None),
        (Some(false), Some(true)) => told(ChangeOperation::Create, Some(Reason::Enter)),
        (Some(true), Some(false)) => told(ChangeOperation::Delete, Some(Reason::Leave)),
        (None | Some(false), None | Some(false)) => None,
    }
}
