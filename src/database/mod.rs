//! How databases are reached: statements in, JSON texts out.
//!
//! The only place that knows tokio-postgres, sqlx and rusqlite. A statement is a text with values as binds; a row comes
//! back as one JSON text and, where asked for, some numbers beside it. Nothing here knows entities or requests.

pub mod connect;
pub mod dialect;
pub mod error;
mod mysql;
mod paced;
mod pool;
mod postgres;
mod postgres_lane;
mod postgres_tls;
pub mod rows;
pub mod settings;
mod sqlite;
mod sqlite_row;
pub mod statement;

pub use connect::{Database, Executed, Transaction};
pub use dialect::{Dialect, Flavour};
pub use error::{Error, Violation};
pub use rows::Fetched;
pub use settings::Settings;
pub use statement::{Bind, RowField, RowForm, Statement, ValueForm};
