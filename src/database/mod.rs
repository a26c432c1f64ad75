//! How databases are reached: statements in, JSON texts out.
//!
//! The only place that knows tokio-postgres, pgwire-replication, sqlx and rusqlite. A statement is a text with values as binds; a row comes
//! back as one JSON text and, where asked for, some numbers beside it. Nothing here knows entities or requests.

pub mod connect;
pub mod dialect;
pub mod error;
mod home;
mod mysql;
mod mysql_error;
mod mysql_watch;
mod paced;
mod pool;
mod postgres;
mod postgres_lane;
mod postgres_replication;
mod postgres_row;
mod postgres_timestamp;
mod postgres_tls;
mod postgres_watch;
pub mod rows;
pub mod settings;
mod sqlite;
pub mod sqlite_real;
mod sqlite_row;
pub mod sqlite_timestamp;
mod sqlite_watch;
pub mod statement;
pub mod watch;

pub use connect::{Database, Executed, Opening, Transaction};
pub use dialect::{Dialect, Flavour};
pub use error::{Error, Violation};
pub use postgres_replication::{Frame, Replication};
pub use rows::Fetched;
pub use settings::{Settings, place_of};
pub use statement::{Bind, Placeholders, RowFields, RowForm, Statement, ValueForm};
pub use watch::Watch;
