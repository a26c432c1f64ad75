//! Plans as SQL. The only place that makes statements; pure, no IO.
//!
//! Identifiers come from the catalog, values are binds. On PostgreSQL a row is `row_to_json` over a sub-select; on MySQL
//! and SQLite it is a text that the statement puts together column by column.

mod image;
mod json;
mod operand;
mod order;
pub(super) mod outbox;
mod predicate;
mod preload;
mod preload_mysql;
mod read;
pub mod trial;
mod value;
mod values;
pub(super) mod write;
mod writer;

pub use image::{Side, image};
pub use read::{page, record, summary};
