//! Changes out of what the database recorded: triggers write each change into an outbox in its own transaction, and one
//! relay per database takes it from there to the bus.
//!
//! In reading order: `setup` makes the outbox and the triggers, `outbox` is what is asked of it, `change` makes what is
//! told out of its rows, `relay` carries them. The outbox is the truth: a row leaves it only after the bus has its change.

mod change;
mod floor;
mod image;
pub mod outbox;
mod relay;
pub mod setup;
mod sqlite_value;

pub use change::outbox_id;
pub use relay::{Relay, Settings};
