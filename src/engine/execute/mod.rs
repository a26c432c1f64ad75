//! Plans carried out: statements rendered, run, and their rows handed on as texts.

mod graph;
pub(super) mod idempotency;
pub(super) mod read;
mod run;
pub(super) mod snapshot;
pub(super) mod write;

pub(super) use run::Runner;
