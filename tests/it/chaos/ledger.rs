//! What writers have done: tried, seen acknowledged, or rolled back.

use serde_json::Value;
use std::collections::HashSet;
use std::sync::Mutex;

/// A row of the table, without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// A number that each writer counts up with every change.
    pub(super) version: i64,
    pub(super) kind: i64,
    pub(super) stock: i64,
}

impl Row {
    /// The key and the row of a JSON object.
    #[track_caller]
    pub(super) fn read(json: &Value) -> (i64, Self) {
        let number = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name} of {json}"));
        (number("id"), Self { version: number("version"), kind: number("kind"), stock: number("stock") })
    }
}

/// A change that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) source: usize,
    pub(super) id: i64,
    /// The row that is there since, or nothing since it was deleted. An id is never used again.
    pub(super) row: Option<Row>,
}

#[derive(Default)]
struct Pages {
    tried: HashSet<(usize, i64, i64)>,
    deleted: HashSet<(usize, i64)>,
    rolled_back: HashSet<(usize, i64, i64)>,
    done: Vec<Done>,
    unknown: usize,
}

/// What all writers have done.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Pages>);

impl Ledger {
    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().expect("no panic with the ledger in hand")
    }

    /// Before a row is written.
    pub(super) fn trying(&self, source: usize, id: i64, row: Option<Row>) {
        let mut pages = self.pages();
        match row {
            Some(row) => _ = pages.tried.insert((source, id, row.version)),
            None => _ = pages.deleted.insert((source, id)),
        }
    }

    /// Before a row is written that won't stay.
    pub(super) fn rolling_back(&self, source: usize, id: i64, version: i64) {
        self.pages().rolled_back.insert((source, id, version));
    }

    /// After an answer that says it is done.
    pub(super) fn done(&self, done: Done) {
        self.pages().done.push(done);
    }

    /// After an answer, or none, that leaves it open.
    pub(super) fn unknown(&self) {
        self.pages().unknown += 1;
    }

    /// How much was acknowledged until now.
    pub(super) fn length(&self) -> usize {
        self.pages().done.len()
    }

    /// What was acknowledged.
    pub(super) fn all(&self) -> Vec<Done> {
        self.pages().done.clone()
    }

    /// Why a told row can't be, if it can't.
    pub(super) fn objection(&self, source: usize, id: i64, row: Option<Row>) -> Option<&'static str> {
        let pages = self.pages();
        match row {
            Some(row) if pages.rolled_back.contains(&(source, id, row.version)) => Some("it was rolled back"),
            Some(row) if !pages.tried.contains(&(source, id, row.version)) => Some("nobody wrote it"),
            None if !pages.deleted.contains(&(source, id)) => Some("nobody deleted it"),
            Some(_) | None => None,
        }
    }

    pub(super) fn figures(&self) -> String {
        let pages = self.pages();
        let (done, open, undone) = (pages.done.len(), pages.unknown, pages.rolled_back.len());
        format!("{done} changes acknowledged, {open} with an unknown end, {undone} rolled back")
    }
}
