//! How databases are reached: statements in, JSON texts out.
//!
//! The only place that knows tokio-postgres, sqlx and rusqlite. A statement is a text with values as binds; a row comes
//! back as one JSON text and, where asked for, some numbers beside it. Nothing here knows entities or requests.

pub mod dialect;
pub mod error;
pub mod rows;
pub mod settings;
pub mod statement;
mod mysql;
mod postgres;
mod sqlite;

pub use dialect::{Dialect, Flavour};
pub use error::Error;
pub use rows::{Fetched, Transaction};
pub use settings::Settings;
pub use statement::{Bind, Statement};
