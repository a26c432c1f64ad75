//! Changes out of what the database recorded: triggers or the engine write each change into an outbox in its own
//! transaction, or PostgreSQL's log has it, and one relay per database takes it from there to the bus.
//!
//! In reading order: `setup` makes what is needed, `outbox` is what is asked of it, `change` makes what is told out of what
//! was recorded, `relay` carries it, out of the log by way of `wal`. What the database recorded is the truth: it is given up
//! only after the bus has its change.

mod change;
mod floor;
mod image;
pub mod outbox;
mod relay;
pub mod setup;
mod sight;
mod sqlite_value;
mod standstill;
mod wal;

pub use change::outbox_id;
pub use relay::{Relay, Settings};
pub use sight::{Origin, Sight, Sighting, origin};
