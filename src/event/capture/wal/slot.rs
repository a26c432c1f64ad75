//! The slot: whether it is there, how much of the log it holds back, and a new one where it was lost.

use crate::database::{self, Database, Statement};
use crate::event::bus::{self, Bus};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

/// The publication's name within its database.
pub(in crate::event::capture) const PUBLICATION: &str = "resolvespec";

/// How many letters of the database's name are in the slot's.
const NAME_LENGTH: usize = 24;

/// A database's slot, whether it is there or not.
pub(in crate::event::capture) struct Slot<'d> {
    database: &'d Database,
    name: String,
}

/// What the server says of it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact, as the server tells it")]
pub(in crate::event::capture) struct Status {
    /// Whether the publication is there.
    pub(in crate::event::capture) published: bool,
    /// Whether the slot is there.
    pub(in crate::event::capture) found: bool,
    /// Whether a session has it.
    pub(in crate::event::capture) active: bool,
    /// Whether the server has thrown away what it needs.
    pub(in crate::event::capture) lost: bool,
    /// Whether a new slot was being made when somebody died.
    pub(in crate::event::capture) stray: bool,
    /// Bytes of the log that the server keeps for it.
    pub(in crate::event::capture) retained: u64,
    /// Bytes of the log that were written since what was confirmed last.
    pub(in crate::event::capture) unconfirmed: u64,
    /// Where the log ends.
    pub(in crate::event::capture) end: u64,
    /// Up to here the server tells nothing again.
    pub(in crate::event::capture) confirmed: u64,
    /// Slots that the server has left.
    pub(in crate::event::capture) free: i64,
    /// The number that the next transaction gets.
    pub(in crate::event::capture) next_transaction: u64,
}

impl Status {
    /// Why there has to be a new slot, if nobody has this one: it is lost, or would fill the server's disk.
    pub(super) fn fault(&self, most: u64) -> Option<&'static str> {
        match self {
            Self { active: true, .. } => None,
            Self { lost: true, .. } => Some("the server has thrown away what it needs"),
            Self { found: false, .. } => Some("it is not there"),
            Self { retained, .. } if *retained > most => {
                Some("it makes the server keep too much of its log, which can fill its disk")
            }
            _ => None,
        }
    }
}

/// Why a slot can't be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::event::capture) enum Error {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Bus(#[from] bus::Error),
    #[error("what the server says of the slot can't be read: {0}")]
    Unclear(#[from] serde_json::Error),
    #[error("a new slot takes the server's max_replication_slots two more for a moment, and there are fewer")]
    Full,
}

impl<'d> Slot<'d> {
    /// The slot of the connection's database. Slots are the server's, so the name tells the database.
    pub(in crate::event::capture) async fn of(database: &'d Database) -> Result<Self, Error> {
        let rows = database.fetch_texts(Statement::new("select to_json(current_database()::text)")).await?;
        let of: String = serde_json::from_str(rows.first().map_or("null", String::as_str))?;
        Ok(Self { database, name: slot_name(&of) })
    }

    pub(in crate::event::capture) fn name(&self) -> &str {
        &self.name
    }

    /// The one that is made in place of a lost one, until everybody was told.
    pub(in crate::event::capture) fn stray_name(&self) -> String {
        format!("{}_new", self.name)
    }

    pub(in crate::event::capture) async fn status(&self) -> Result<Status, Error> {
        let rows = self.database.fetch_texts(Statement::new(self.sql(STATUS))).await?;
        Ok(serde_json::from_str(rows.first().map_or("null", String::as_str))?)
    }

    /// Drops the slot that was being made.
    pub(super) async fn drop_stray(&self) -> Result<(), Error> {
        self.run(DROP_STRAY).await
    }

    /// Makes a new slot in place of a lost one, and a new epoch for what nobody can be told any more.
    ///
    /// The epoch begins when the new slot holds the log back already, so that whoever reads anew misses nothing after. The
    /// slot gets its name last: if somebody dies on the way, the next one finds no slot and does it again.
    pub(super) async fn renew(&self, bus: &dyn Bus) -> Result<(), Error> {
        self.run(DROP_STRAY).await?;
        // Else a new epoch would begin at each attempt, and one that works would go for none.
        let status = self.status().await?;
        if status.free + i64::from(status.found) < 2 {
            return Err(Error::Full);
        }
        self.run(DROP).await?;
        self.run(CREATE_STRAY).await?;
        bus.renew().await?;
        self.run(COPY_STRAY).await?;
        self.run(DROP_STRAY).await
    }

    async fn run(&self, text: &str) -> Result<(), Error> {
        self.database.fetch_texts(Statement::new(self.sql(text))).await?;
        Ok(())
    }

    fn sql(&self, text: &str) -> String {
        text.replace("{slot}", &self.name).replace("{stray}", &self.stray_name()).replace("{publication}", PUBLICATION)
    }
}

/// A slot's name has lower-case letters, digits and `_` only, so the hash tells alike names apart.
fn slot_name(database: &str) -> String {
    let plain = |character: char| if character.is_ascii_lowercase() || character.is_ascii_digit() { character } else { '_' };
    let readable: String = database.to_lowercase().chars().map(plain).take(NAME_LENGTH).collect();
    format!("resolvespec_{readable}_{:08x}", xxh3_64(database.as_bytes()) >> 32)
}

const STATUS: &str = "
select json_build_object(
  'published', exists (select from pg_publication where pubname = '{publication}'),
  'found', s.slot_name is not null,
  'active', coalesce(s.active, false),
  'lost', coalesce(s.wal_status = 'lost', false),
  'stray', exists (select from pg_replication_slots where slot_name = '{stray}'),
  'free', current_setting('max_replication_slots')::bigint - (select count(*) from pg_replication_slots),
  'retained', greatest(0, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0))::bigint,
  'unconfirmed', greatest(0, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0))::bigint,
  'end', pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
  'confirmed', coalesce(pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0'), 0)::bigint,
  'next_transaction', pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
from (select) one left join pg_replication_slots s on s.slot_name = '{slot}'";

const DROP: &str = "
select json_build_object('dropped', pg_drop_replication_slot(slot_name)::text)
from pg_replication_slots where slot_name = '{slot}'";

const DROP_STRAY: &str = "
select json_build_object('dropped', pg_drop_replication_slot(slot_name)::text)
from pg_replication_slots where slot_name = '{stray}'";

const CREATE_STRAY: &str = "
select json_build_object('created', slot_name) from pg_create_logical_replication_slot('{stray}', 'pgoutput')";

const COPY_STRAY: &str = "
select json_build_object('created', slot_name) from pg_copy_logical_replication_slot('{stray}', '{slot}')";

#[cfg(test)]
mod tests {
    use super::slot_name;

    #[test]
    fn names_are_what_slots_may_have_and_differ() {
        let names = ["shop", "Shop", "my-shop", "my_shop", &"x".repeat(63), "łódź"].map(slot_name);
        for name in &names {
            assert!(name.len() <= 59, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        }
        assert!(names[0].starts_with("resolvespec_shop_"));
        assert_ne!(names[2], names[3]);
        assert_ne!(names[0], names[1]);
    }
}
