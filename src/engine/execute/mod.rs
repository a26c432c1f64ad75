//! Plans carried out: statements rendered, run, and their rows handed on as texts.

mod graph;
mod idempotency;
pub mod read;
pub mod write;
