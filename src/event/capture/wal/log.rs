//! The log as it is read: transactions one after the other, their rows as records for `change`.
//!
//! Pure. A row's place in the log, and when it was committed, make its id, so that what is told again after a failure is
//! told under the same one.

use super::super::change::{Record, Tables, What};
use super::super::image::{Image, Raw};
use super::message::{Happened, Layout, Malformed, Message, Old, Tuple, Value};
use crate::database::Frame;
use crate::protocol::{Change, ChangeOperation};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Whose messages in the log name the writer.
pub(in crate::event::capture) const SUBJECT: &str = "resolvespec.subject";

/// From 1970, where times begin here, to 2000, where PostgreSQL's do, in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What was read and not told yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) changes: Vec<Arc<Change>>,
    pub(super) bytes: usize,
    /// Up to here nothing is needed any more, once the changes are told.
    pub(super) end: Option<u64>,
    /// The row that the last of the changes is of.
    pub(super) last: Option<Place>,
    /// When the first of the changes was committed, in microseconds since 1970.
    pub(super) oldest: Option<i64>,
    /// Rows whose images can't be told: each is told as a change without them.
    pub(super) unreadable: Vec<Untold>,
}

/// A row that can't be told whole, and never will be.
#[derive(Debug, thiserror::Error)]
#[error("the row {id} of {table} can't be told: {reason}")]
pub(super) struct Untold {
    id: String,
    table: String,
    reason: serde_json::Error,
}

/// A row of a transaction. A server that was replaced by another may use the same places of the log again, but not at the
/// same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    commit: u64,
    committed_at: i64,
    row: u64,
}

/// What must be remembered while the log is read.
pub(super) struct Log {
    layouts: HashMap<u32, Layout>,
    open: Option<Open>,
    /// A transaction's number that is known whole; others are near to it.
    transaction: u64,
    /// What was told before the session was lost: it begins again with the transaction's first row.
    told: Option<Place>,
    /// A row that was told and that the server still has to tell again, if it is the one that told it. Until then nothing is told
    /// and nothing is done with: what comes before it was told as well, or is the log of a server that has lost it.
    awaited: Option<Place>,
    /// Tables whose old rows the log does not have, so that each is complained of once.
    partial: HashSet<u32>,
}

/// The transaction that is being read.
struct Open {
    place: Place,
    transaction: String,
    user: Option<String>,
    occurred_at: String,
}

/// A log that can't be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::event::capture) enum Unreadable {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("PostgreSQL's log names a table by the number {0}, which it has not described")]
    UnknownTable(u32),
    #[error("PostgreSQL's log has rows outside of a transaction")]
    OutsideTransaction,
    #[error("a row without images can't be told: {0}")]
    Untellable(#[from] serde_json::Error),
    #[error("the transaction at {0} was committed at a time that can't be written")]
    Time(u64),
    #[error("PostgreSQL's log has lost the latest change that was told")]
    Lost,
}

impl Log {
    pub(super) fn new(next_transaction: u64, told: Option<Place>) -> Self {
        let (layouts, partial) = (HashMap::new(), HashSet::new());
        Self { layouts, open: None, transaction: next_transaction, told, awaited: None, partial }
    }

    /// Objects to a log that is past the place of this row without it.
    pub(super) fn awaiting(self, awaited: Option<Place>) -> Self {
        Self { awaited, ..self }
    }

    /// Whether more of a transaction is to come.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes in what the slot told.
    pub(super) fn take(&mut self, frame: &Frame, tables: &Tables<'_>, pending: &mut Pending) -> Result<(), Unreadable> {
        match frame {
            Frame::Begin { commit, transaction, committed_at } => self.begin(*commit, *transaction, *committed_at)?,
            Frame::Row(bytes) => {
                pending.bytes += bytes.len();
                self.message(Message::read(bytes)?, tables, pending)?;
            }
            Frame::Said { prefix, content } if prefix == SUBJECT => {
                if let Some(open) = &mut self.open {
                    open.user = Some(String::from_utf8_lossy(content).into_owned());
                }
            }
            Frame::Said { .. } => {}
            Frame::End(end) => {
                self.open = None;
                if self.awaited.is_none() {
                    pending.end = Some(*end);
                }
            }
            // Within a transaction it says nothing of the rows that follow.
            Frame::Idle(_) if self.open.is_some() => {}
            Frame::Idle(end) => match self.awaited {
                Some(awaited) if awaited.commit < *end => return Err(Unreadable::Lost),
                Some(_) => {}
                None => pending.end = pending.end.max(Some(*end)),
            },
        }
        Ok(())
    }

    fn begin(&mut self, commit: u64, transaction: u32, committed_at: i64) -> Result<(), Unreadable> {
        self.transaction = near(self.transaction, transaction);
        let micros = committed_at.saturating_add(EPOCH_MICROS);
        let moment = Timestamp::from_microsecond(micros).map_err(|_| Unreadable::Time(commit))?;
        let place = Place { commit, committed_at: micros, row: 0 };
        if let Some(awaited) = self.awaited.take_if(|awaited| awaited.commit <= commit)
            && !place.is_told_by(awaited)
        {
            return Err(Unreadable::Lost);
        }
        self.open = Some(Open {
            place,
            transaction: self.transaction.to_string(),
            user: None,
            occurred_at: moment.strftime("%Y-%m-%dT%H:%M:%S%.f+00:00").to_string(),
        });
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, tables: &Tables<'_>, pending: &mut Pending) -> Result<(), Unreadable> {
        match message {
            Message::Table(number, layout) => _ = self.layouts.insert(number, layout),
            Message::Row(table, happened) => self.tell(table, Some(&happened), tables, pending)?,
            Message::Truncate(truncated) => {
                for table in truncated {
                    self.tell(table, None, tables, pending)?;
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Appends the changes of one row, or those of a table that was emptied, unless they were told already.
    fn tell(
        &mut self,
        number: u32,
        happened: Option<&Happened<'_>>,
        tables: &Tables<'_>,
        pending: &mut Pending,
    ) -> Result<(), Unreadable> {
        let open = self.open.as_mut().ok_or(Unreadable::OutsideTransaction)?;
        let layout = self.layouts.get(&number).ok_or(Unreadable::UnknownTable(number))?;
        open.place.row += 1;
        if self.awaited.is_some() || self.told.is_some_and(|told| open.place.is_told_by(told)) {
            return Ok(());
        }
        let (what, start) = (what(layout, happened), pending.changes.len());
        if happened.is_some() && matches!(what, What::Unknown(..)) && self.partial.insert(number) {
            let table = format!("{}.{}", layout.schema, layout.name);
            tracing::error!(
                table,
                "the log lacks the old rows of this table, so that its followers must read again each time; run `resolvespec capture install`"
            );
        }
        let Place { commit, committed_at, row } = open.place;
        let mut record = Record {
            id: format!("{commit:X}.{committed_at:x}-{row}"),
            schema: &layout.schema,
            table: &layout.name,
            what,
            transaction: Some(&open.transaction),
            user: open.user.as_deref(),
            occurred_at: &open.occurred_at,
        };
        if let Err(reason) = tables.tell(&record, &mut pending.changes) {
            // It would not be told the next time either, and keep all that follow it waiting.
            pending.changes.truncate(start);
            record.what = What::Unknown(record.what.operation(), None);
            tables.tell(&record, &mut pending.changes)?;
            let table = format!("{}.{}", layout.schema, layout.name);
            pending.unreadable.push(Untold { id: record.id, table, reason });
        }
        pending.last = Some(open.place);
        pending.oldest.get_or_insert(committed_at);
        Ok(())
    }
}

impl Place {
    /// The row that a change was made of, by the change's id.
    pub(super) fn of(change: &str) -> Option<Self> {
        let (commit, rest) = change.split(':').nth(1)?.split_once('.')?;
        let (committed_at, row) = rest.split_once('-')?;
        Some(Self {
            commit: u64::from_str_radix(commit, 16).ok()?,
            committed_at: i64::from_str_radix(committed_at, 16).ok()?,
            row: row.parse().ok()?,
        })
    }

    /// Where the commit of its transaction stands in the log.
    pub(super) fn commit(self) -> u64 {
        self.commit
    }

    /// Whether this row was told when the last one that was told is `last`.
    fn is_told_by(self, last: Place) -> bool {
        self.commit == last.commit && self.committed_at == last.committed_at && self.row <= last.row
    }
}

/// What is said of a row, as far as the log has it. Which rows a truncated table had is not known: that is told without
/// key and images, so that followers read again.
fn what<'r>(layout: &'r Layout, happened: Option<&Happened<'r>>) -> What<'r> {
    use ChangeOperation::{Create, Delete, Update};
    match happened {
        None => What::Unknown(Delete, None),
        Some(Happened::Inserted(new)) => image(layout, new, None).map_or(What::Unknown(Create, None), What::Created),
        Some(Happened::Deleted(Old::Whole(old))) => image(layout, old, None).map_or(What::Unknown(Delete, None), What::Deleted),
        Some(Happened::Deleted(Old::Key(key))) => What::Unknown(Delete, image(layout, key, None)),
        Some(Happened::Updated(Some(Old::Whole(old)), new)) => {
            match image(layout, old, None).zip(image(layout, new, Some(old))) {
                Some((before, after)) => What::Updated(before, after),
                None => What::Unknown(Update, None),
            }
        }
        Some(Happened::Updated(None, new)) => What::Unknown(Update, image(layout, new, None)),
        // The key is another one now, so that two records are meant.
        Some(Happened::Updated(Some(Old::Key(_)), _)) => What::Unknown(Update, None),
    }
}

/// A row by its columns' names; what it left unchanged is taken from the row before. None if something is not known.
fn image<'r>(layout: &'r Layout, row: &Tuple<'r>, before: Option<&Tuple<'r>>) -> Option<Image<'r>> {
    let value = |(place, value): (usize, &Value<'r>)| {
        let value = match (value, before) {
            (Value::Unchanged, Some(before)) => *before.get(place)?,
            (value, _) => *value,
        };
        let raw = match value {
            Value::Null => Raw::Null,
            Value::Text(text) => Raw::Text(text),
            Value::Unchanged => return None,
        };
        Some((Cow::Borrowed(layout.columns.get(place)?.as_str()), raw))
    };
    Some(Image::of(row.iter().enumerate().map(value).collect::<Option<_>>()?))
}

/// The number of a transaction of which the lower half is told.
fn near(known: u64, lower: u32) -> u64 {
    const HALF: u64 = 1 << 31;
    let candidate = known & !u64::from(u32::MAX) | u64::from(lower);
    if candidate > known + HALF {
        candidate.saturating_sub(2 * HALF)
    } else if candidate + HALF < known {
        candidate + 2 * HALF
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, Pending, Place, Unreadable, near};
    use crate::catalog::test_shop;
    use crate::database::Frame;
    use crate::event::capture::change::Tables;

    const TOLD: Place = Place { commit: 0x016B_3748, committed_at: 0x2f0c, row: 3 };

    #[test]
    fn a_change_leads_to_its_place() {
        for id in ["shop:16B3748.2f0c-3", "team/shop:16B3748.2f0c-3:public.orders:left"] {
            assert_eq!(Place::of(id), Some(TOLD), "{id}");
        }
        for id in ["", "shop", "shop:1764000000000001", "shop:16B3748.2f0c", "shop:x.2f0c-3"] {
            assert_eq!(Place::of(id), None, "{id}");
        }
    }

    #[test]
    fn a_log_that_is_past_what_was_told_without_it_has_lost_it() {
        let catalog = test_shop::catalog(&[]);
        let tables = Tables::of(&catalog, "shop");
        let begin =
            |commit, committed_at| Frame::Begin { commit, transaction: 7, committed_at: committed_at - super::EPOCH_MICROS };
        let log = || Log::new(7, None).awaiting(Some(TOLD));
        let (mut same, mut pending) = (log(), Pending::default());
        for frame in [
            Frame::Idle(TOLD.commit - 9),
            begin(TOLD.commit - 8, 1),
            Frame::End(TOLD.commit - 4),
            Frame::Idle(TOLD.commit),
            begin(TOLD.commit, TOLD.committed_at),
        ] {
            same.take(&frame, &tables, &mut pending).expect("it is the one that told it");
            assert_eq!(pending.end, None, "{frame:?}: nothing is done with before it is known");
        }
        for end in [TOLD.commit + 4, TOLD.commit + 400] {
            same.take(&Frame::End(end), &tables, &mut pending).expect("it is the one that told it");
            assert_eq!(pending.end, Some(end));
            same.take(&begin(end + 100, 0x2f0d), &tables, &mut pending).expect("and goes on");
        }
        for frame in [begin(TOLD.commit, TOLD.committed_at + 1), begin(TOLD.commit + 8, 0x2f0d), Frame::Idle(TOLD.commit + 8)] {
            let outcome = log().take(&frame, &tables, &mut Pending::default());
            assert!(matches!(outcome, Err(Unreadable::Lost)), "{frame:?}: {outcome:?}");
        }
    }

    #[test]
    fn a_transactions_number_is_the_nearest_with_its_lower_half() {
        let whole = 1_u64 << 32;
        for (known, lower, expected) in [
            (700, 698, 698),
            (700, 702, 702),
            (whole + 5, u32::MAX, whole - 1),
            (whole - 2, 3, whole + 3),
            (3 * whole + 10, 11, 3 * whole + 11),
        ] {
            assert_eq!(near(known, lower), expected, "{known} {lower}");
        }
    }
}
